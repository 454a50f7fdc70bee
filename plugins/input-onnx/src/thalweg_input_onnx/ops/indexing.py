"""Ops that pick elements by index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from thalweg.api import InvalidArgument
from thalweg.extents import Expression, Extent, format_shape, lower_bound, static

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.ops.shape import table_name
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.shape_arithmetic import elements_of
from thalweg_input_onnx.tensor import Tensor


@onnx_op("Gather", since=(1, 11, 13))
def gather(b: Emitter, node: Node, data: Tensor, indices: Tensor) -> Tensor:
    """Slices along an axis; a single known index is a slice."""
    axis = node.attribute("axis", 0) % data.rank
    if (place := _place(b, data, indices, axis)) is not None:
        picked = b.slice_axis(data, axis, place, 1)
        return b.reshape(picked, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))
    if indices.counts is not None and isinstance(data.shape[axis], int):
        b.builder.limit(indices.counts, data.shape[axis], table_name(data, axis))
        picked = b.slice_axis(data, axis, 0, indices.counts)
        return b.reshape(picked, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))
    return b.gather(data, indices, axis)


def _place(b: Emitter, data: Tensor, indices: Tensor, axis: int) -> Extent | None:
    """Return the one known index, counted from the start."""
    extent = data.shape[axis]
    elements = elements_of(indices)
    if elements is None or elements.size != 1 or extent == 0:
        return None
    place: Extent = elements.reshape(-1)[0]
    where = f"index {place} of dimension {axis} of {format_shape(data.shape)}"
    if isinstance(place, int):
        place = place + extent if place < 0 else place
        if isinstance(extent, int) and not 0 <= place < extent:
            raise InvalidArgument(f"{where} is out of range")
    if lower_bound(place) < 0 and isinstance(elements.reshape(-1)[0], Expression):
        return None  # it may count from the end: the kernel finds out
    b.at_least(place, 0, where)
    b.at_least(extent - place, 1, where)
    return place


def _wrapped(index: Scalar, extent: Extent) -> Scalar:
    """Count a negative index from the end."""
    return (index < 0).where(index + extent, index)


@onnx_op("GatherElements", since=(11, 13))
def gather_elements(b: Emitter, node: Node, data: Tensor, indices: Tensor) -> Tensor:
    """One element per index: the position in row-major order is computed, then gathered."""
    axis = node.attribute("axis", 0) % data.rank
    strides = [prod(data.shape[i + 1 :]) for i in range(data.rank)]

    def position(index, value: Scalar) -> Scalar:
        total = _wrapped(value, data.shape[axis]) * strides[axis]
        for i in range(data.rank):
            if i != axis:
                total = total + index(i) * strides[i]
        return total

    positions = b.map_indexed([b.cast(indices, "i64")], position, "i64")
    return b.gather(b.reshape(data, (data.size,)), positions, 0)


@onnx_op("GatherND", since=(11, 12, 13))
def gather_nd(b: Emitter, node: Node, data: Tensor, indices: Tensor) -> Tensor:
    """Each row of ``indices`` names a slice of ``data`` (after ``batch_dims`` shared leading dimensions)."""
    batch = node.attribute("batch_dims", 0)
    depth = indices.shape[-1]
    lead, rest = data.shape[: batch + depth], data.shape[batch + depth :]
    strides = [prod(lead[i + 1 :]) for i in range(batch + depth)]
    rows = b.cast(indices, "i64")
    places = [b.reshape(b.slice_axis(rows, indices.rank - 1, i, 1), indices.shape[:-1]) for i in range(depth)]

    def position(index, *values: Scalar) -> Scalar:
        terms = [_wrapped(v, lead[batch + i]) * strides[batch + i] for i, v in enumerate(values)]
        total = terms[0]
        for term in [*terms[1:], *(index(i) * strides[i] for i in range(batch))]:
            total = total + term
        return total

    positions = b.map_indexed(places, position, "i64")
    return b.gather(b.reshape(data, (prod(lead), *rest)), positions, 0)


def _flat(places: Sequence[np.ndarray] | np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Positions in row-major order (i64) of the elements at ``places``, one array per dimension.

    :raises InvalidArgument: a place outside ``shape``.
    """
    try:
        return np.asarray(np.ravel_multi_index(tuple(places), tuple(shape)), np.int64)
    except ValueError:
        raise InvalidArgument(f"an index is out of range for {list(shape)}") from None


# -- scatter at known places ---------------------------------------------------------------------------------
# Where each element of the result comes from is then known: one gather from the data followed by the updates.


def _placed(b: Emitter, node: Node, data: Tensor, updates: Tensor, positions: np.ndarray) -> Tensor:
    """Replace the elements of ``data`` at flat ``positions`` by ``updates``, or combine the two as the node's
    ``reduction`` says; the last of equal positions wins.
    """
    reduction = node.attribute("reduction", "none")
    if reduction != "none":
        return b.reshape(_combined(b, data, updates, positions.reshape(-1), COMBINE[reduction]), data.shape)
    size, more = static((data.size, updates.size))
    source = np.arange(size, dtype=np.int64)
    source[positions.reshape(-1)] = size + np.arange(more)
    pool = b.concat([b.reshape(data, (data.size,)), b.reshape(updates, (updates.size,))], 0)
    return b.reshape(b.gather(pool, b.constant(source), 0), data.shape)


COMBINE: dict[str, Callable[[Scalar, Scalar], Scalar]] = {
    "add": lambda v, u: v + u,
    "mul": lambda v, u: v * u,
    "max": lambda v, u: v.maximum(u),
    "min": lambda v, u: v.minimum(u),
}
ROUNDS = 64
"""How many updates of one element are unrolled."""


def _combined(
    b: Emitter,
    data: Tensor,
    updates: Tensor,
    positions: np.ndarray,
    combine: Callable[[Scalar, Scalar], Scalar],
) -> Tensor:
    """Combine the elements at ``positions`` with ``updates``: one round for each time a position recurs."""
    result, pool = b.reshape(data, (data.size,)), b.reshape(updates, (updates.size,))
    (size,) = static([data.size])
    rounds = _recurrence(positions)
    count = int(rounds.max(initial=-1)) + 1
    if count > ROUNDS:
        raise UnsupportedForm(f"{count} updates of one element", f"give each element at most {ROUNDS}")
    for number in range(count):
        chosen = np.flatnonzero(rounds == number)
        source, touched = np.zeros(size, np.int64), np.zeros(size, np.bool_)
        source[positions[chosen]], touched[positions[chosen]] = chosen, True
        operands = [result, b.gather(pool, b.constant(source), 0), b.constant(touched)]
        result = b.map(operands, lambda v, u, here: here.where(combine(v, u), v))
    return result


def _recurrence(positions: np.ndarray) -> np.ndarray:
    """Return how often each position occurred before."""
    order = np.argsort(positions, kind="stable")
    ranked = positions[order]
    first = np.searchsorted(ranked, ranked, side="left")
    counts = np.empty(len(positions), np.int64)
    counts[order] = np.arange(len(positions)) - first
    return counts


@onnx_op("Scatter", since=(9, 11))
@onnx_op("ScatterElements", since=(11, 13, 16, 18))
def scatter_elements(b: Emitter, node: Node, data: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """One element per known index."""
    axis = node.attribute("axis", 0) % data.rank
    known = node.known(indices, "indices").astype(np.int64)
    places = [np.asarray(p) for p in np.indices(known.shape)]
    places[axis] = np.where(known < 0, known + static(data.shape)[axis], known)
    return _placed(b, node, data, updates, _flat(places, static(data.shape)))


@onnx_op("ScatterND", since=(11, 13, 16, 18))
def scatter_nd(b: Emitter, node: Node, data: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Each row of the known ``indices`` names the slice that an update replaces."""
    known = node.known(indices, "indices").astype(np.int64)
    depth = known.shape[-1]
    shape = static(data.shape)
    lead, inner = shape[:depth], prod(shape[depth:])
    wrapped = np.where(known < 0, known + np.array(lead), known)
    rows = _flat(np.moveaxis(wrapped, -1, 0), lead)
    return _placed(b, node, data, updates, rows[..., None] * inner + np.arange(inner))


@onnx_op("ReverseSequence", since=(10, 28))
def reverse_sequence(b: Emitter, node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the first ``lengths[i]`` elements of the ``i``-th sequence, for known lengths."""
    batch, time = node.attribute("batch_axis", 1), node.attribute("time_axis", 0)
    known = node.known(lengths, "lengths")
    places = np.indices(static(x.shape))
    limit = known[places[batch]]
    places[time] = np.where(places[time] < limit, limit - 1 - places[time], places[time])
    return b.gather(b.reshape(x, (x.size,)), b.constant(_flat(places, static(x.shape))), 0)


@onnx_op("Compress", since=(9, 11, 28))
def compress(b: Emitter, node: Node, x: Tensor, condition: Tensor) -> Tensor:
    """The slices along an axis (or the elements) where a known condition holds."""
    chosen = np.flatnonzero(node.known(condition, "condition"))
    if not node.has("axis"):
        return b.gather(b.reshape(x, (x.size,)), b.constant(chosen), 0)
    return b.gather(x, b.constant(chosen), node.attribute("axis"))
