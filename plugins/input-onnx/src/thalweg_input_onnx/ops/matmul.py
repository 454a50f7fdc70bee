"""Matrix products."""

from __future__ import annotations

from math import prod

from thalweg.api import InvalidArgument
from thalweg.extents import Extent, format_shape

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.tensor import Tensor


@onnx_op("MatMul", since=(1, 9, 13))
def matmul(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
    """NumPy's ``matmul``: one-dimensional operands are a row or a column."""
    if x.rank == 0 or y.rank == 0:
        raise InvalidArgument(f"cannot multiply {format_shape(x.shape)} by {format_shape(y.shape)}")
    left = b.reshape(x, (1, *x.shape)) if x.rank == 1 else x
    right = b.reshape(y, (*y.shape, 1)) if y.rank == 1 else y
    product = b.matmul(left, right)
    shape = list(product.shape)
    if y.rank == 1:
        del shape[-1]
    if x.rank == 1:
        del shape[-1 if y.rank == 1 else -2]
    return b.reshape(product, shape)


@onnx_op("Gemm", since=(1, 6, 7, 9, 11, 13))
def gemm(b: Emitter, node: Node, x: Tensor, y: Tensor, c: Tensor | None = None) -> Tensor:
    """``alpha * x' * y' + beta * c``; ``c`` is broadcast to the product."""
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    x = b.transpose(x, (1, 0)) if node.attribute("transA", 0) else x
    y = b.transpose(y, (1, 0)) if node.attribute("transB", 0) else y
    product = b.matmul(x, y)
    if alpha != 1.0:
        product = b.map([product], lambda v: v * (alpha if v.is_float else int(alpha)))
    if c is None or beta == 0.0:
        return product
    if beta == 1.0:
        return b.map([product, c], lambda v, w: v + w)
    return b.map([product, c], lambda v, w: v + w * (beta if w.is_float else int(beta)))


@onnx_op("Einsum", since=(12, 28))
def einsum(b: Emitter, node: Node, *inputs: Tensor) -> Tensor:
    """Align the operands' dimensions, multiply, and sum what the output does not name; pairs become a
    ``matmul``.
    """
    terms, output = _equation(node.required("equation"), inputs)
    operand, labels = _diagonal_free(inputs[0], terms[0]), terms[0]
    for index, (other, term) in enumerate(zip(inputs[1:], terms[1:]), start=2):
        kept = set(output).union(*terms[index:])
        operand, labels = _contract(b, operand, labels, _diagonal_free(other, term), term, kept)
    summed = [axis for axis, label in enumerate(labels) if label not in output]
    operand = b.reduce_sum(operand, summed)
    labels = [label for label in labels if label in output]
    return b.transpose(operand, [labels.index(label) for label in output])


def _equation(text: str, inputs: tuple[Tensor, ...]) -> tuple[list[list[str]], list[str]]:
    """Return the labels of each operand and of the output; an ellipsis becomes labels of its own."""
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(inputs):
        raise InvalidArgument(f"equation {text!r} has {len(terms)} operands, the node {len(inputs)}")
    widths = [x.rank - len(term.replace("...", "")) for term, x in zip(terms, inputs) if "..." in term]
    batch = [f"...{i}" for i in range(max(widths, default=0))]

    def labels(term: str, rank: int | None) -> list[str]:
        before, dots, after = term.partition("...")
        width = len(batch) if rank is None else rank - len(before) - len(after)
        return [*before, *(batch[len(batch) - width :] if dots else []), *after]

    expanded = [labels(term, x.rank) for term, x in zip(terms, inputs)]
    if arrow:
        return expanded, labels(right, None)
    counts: dict[str, int] = {}
    for label in (label for term in expanded for label in term):
        counts[label] = counts.get(label, 0) + 1
    return expanded, batch + sorted(label for label, n in counts.items() if n == 1 and label not in batch)


def _diagonal_free(x: Tensor, term: list[str]) -> Tensor:
    if len(set(term)) != len(term):
        raise UnsupportedForm(
            "an operand that repeats a label (a diagonal)", "take the diagonal with GatherND first"
        )
    return x


def _contract(
    b: Emitter, x: Tensor, xs: list[str], y: Tensor, ys: list[str], kept: set[str]
) -> tuple[Tensor, list[str]]:
    """Multiply two operands and sum the labels that nothing else needs."""
    shared = [label for label in xs if label in ys]
    batch = [label for label in shared if label in kept]
    inner = [label for label in shared if label not in kept]
    rows = [label for label in xs if label not in ys]
    columns = [label for label in ys if label not in xs]
    extents = dict(zip(ys, y.shape)) | {l: n for l, n in zip(xs, x.shape) if n != 1 or l not in ys}
    left = _arranged(b, x, xs, [batch, rows, inner], extents)
    right = _arranged(b, y, ys, [batch, inner, columns], extents)
    product = b.matmul(left, right)
    labels = batch + rows + columns
    return b.reshape(product, [extents[label] for label in labels]), labels


def _arranged(
    b: Emitter, x: Tensor, labels: list[str], groups: list[list[str]], extents: dict[str, Extent]
) -> Tensor:
    """Transpose to the order of ``groups`` and collapse each group into one dimension."""
    order = [label for group in groups for label in group]
    moved = b.transpose(x, [labels.index(label) for label in order])
    moved = b.broadcast_to(moved, [extents[label] for label in order])
    return b.reshape(moved, [prod(extents[label] for label in group) for group in groups])
