"""Shape arithmetic of dynamic dimensions: nodes that compute on shapes are evaluated on extents while
importing.

What ``folding`` does where every element is a number, this does where elements are expressions of named
dimensions: the outputs of ``Shape`` and what models make of them on the way to ``Reshape``, ``Expand``,
``Slice`` and ``Range``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from thalweg.extents import Extent, floor_divide, is_static, lower_bound, maximum, minimum

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.tensor import Tensor

Elements = np.ndarray
"""An array of extents: dtype object, of the tensor's shape."""


def fold_extents(node: Node, inputs: Sequence[Tensor | None]) -> Elements | None:
    """Return a node's one output as extents; ``None`` where an input is not known, or the op is none of
    shapes.

    :param inputs: in the node's order; ``None`` for an input that is left out.
    """
    rule = _RULES.get(node.proto.op_type)
    if rule is None or node.proto.domain not in ("", "ai.onnx"):
        return None
    if not any(x is not None and x.extents is not None for x in inputs):
        return None
    known = [None if x is None else elements_of(x) for x in inputs]
    if any(x is not None and values is None for x, values in zip(inputs, known)):
        return None
    result = rule(node, *known)
    return None if result is None else np.asarray(result, object)


def elements_of(x: Tensor) -> Elements | None:
    """Return the elements of an integer tensor as extents, where they are known."""
    if x.extents is not None:
        return x.extents
    if x.array is None or x.array.dtype.kind not in "iub":
        return None
    elements = np.empty(x.array.shape, object)
    for place, value in np.ndenumerate(x.array):
        elements[place] = int(value)
    return elements


def clamp(value: Extent, extent: Extent) -> Extent:
    """Return a slice's bound as ONNX reads it: from the end where it is negative, and within ``[0,
    extent]``.
    """
    if isinstance(value, int) and value < 0:
        return maximum(extent + value, 0)
    if isinstance(value, int) and value >= 2**31 - 1:
        return extent
    if lower_bound(value) < 0:
        raise UnsupportedForm(f"a bound of {value}, which may be negative", "make the bound a constant")
    return minimum(value, extent)


def _elementwise(function: Callable[..., Any]) -> Callable[..., Elements]:
    def rule(node: Node, *operands: Elements) -> Elements:
        arrays = np.broadcast_arrays(*operands)
        result = np.empty(arrays[0].shape, object)
        for place in np.ndindex(result.shape):
            result[place] = function(*(array[place] for array in arrays))
        return result

    return rule


def _divided(a: Extent, b: Extent) -> Extent:
    """ONNX's integer division rounds towards zero; both are at least 0 here, or numbers."""
    if isinstance(a, int) and isinstance(b, int):
        return int(a / b) if b else 0
    if lower_bound(a) < 0:
        raise UnsupportedForm(f"a division of {a}, which may be negative", "divide sizes only")
    return floor_divide(a, b)


def _same(node: Node, x: Elements) -> Elements:
    return x


def _cast(node: Node, x: Elements) -> Elements | None:
    return x if node.required("to") in (6, 7) else None  # INT32, INT64


def _gather(node: Node, data: Elements, indices: Elements) -> Elements | None:
    return (
        np.take(data, indices.astype(np.int64), node.attribute("axis", 0))
        if is_static(indices.ravel())
        else None
    )


def _slice(
    node: Node, data: Elements, starts: Elements, ends: Elements, axes=None, steps=None
) -> Elements | None:
    bounds = [x.ravel() for x in (starts, ends, axes, steps) if x is not None]
    if not all(map(is_static, bounds)):
        return None
    chosen = range(len(starts)) if axes is None else [int(axis) for axis in axes]
    slices = [slice(None)] * data.ndim
    for i, axis in enumerate(chosen):
        slices[axis] = slice(int(starts[i]), int(ends[i]), 1 if steps is None else int(steps[i]))
    return data[tuple(slices)]


def _concat(node: Node, *inputs: Elements) -> Elements:
    return np.concatenate(inputs, node.attribute("axis", 0))


def _axes(node: Node, axes: Elements | None) -> tuple[int, ...] | None:
    given = node.attribute("axes") if axes is None else [int(axis) for axis in axes.ravel()]
    return None if given is None else tuple(given)


def _squeeze(node: Node, x: Elements, axes: Elements | None = None) -> Elements:
    return np.squeeze(x, _axes(node, axes))


def _unsqueeze(node: Node, x: Elements, axes: Elements | None = None) -> Elements:
    return np.expand_dims(x, _axes(node, axes) or ())


def _reshape(node: Node, x: Elements, shape: Elements) -> Elements | None:
    return x.reshape([int(extent) for extent in shape]) if is_static(shape.ravel()) else None


def _product(node: Node, x: Elements, axes: Elements | None = None) -> Elements | None:
    if x.ndim != 1:
        return None
    total = prod(x.tolist())
    return np.array([total] if node.attribute("keepdims", 1) else total, object)


def _where(condition: Any, a: Extent, b: Extent) -> Extent:
    return a if condition else b


_RULES: dict[str, Callable[..., Elements | None]] = {
    "Identity": _same,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "ReduceProd": _product,
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
    "Div": _elementwise(_divided),
    "Min": _elementwise(minimum),
    "Max": _elementwise(maximum),
    "Equal": _elementwise(lambda a, b: int(a == b)),
    "Where": _elementwise(_where),
}
"""Op → its meaning on extents, with the node first."""
