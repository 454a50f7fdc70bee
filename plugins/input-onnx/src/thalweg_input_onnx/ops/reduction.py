"""Reductions over axes, arg-reductions and running sums."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import HALVES, Emitter, greatest
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor

Reduction = Callable[[Emitter, Tensor, list[int]], Tensor]
"""(emitter, x, axes) → the result with the reduced dimensions kept as 1."""


def _reduction(op: str, since: tuple[int, ...], axes_input_since: int, reduce: Reduction) -> None:
    """Register a reduction; ``axes`` is an attribute, and from ``axes_input_since`` on an input."""

    @onnx_op(op, since=since)
    def import_reduction(b: Emitter, node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        if node.version >= axes_input_since:
            given = None if axes is None else node.known_ints(axes, "axes")
        else:
            given = node.attribute("axes")
        if not given and node.attribute("noop_with_empty_axes", 0):
            return reduce(b, x, [])
        chosen = sorted({axis % x.rank for axis in given}) if given and x.rank else list(range(x.rank))
        result = reduce(b, x, chosen)
        if node.attribute("keepdims", 1):
            return result
        return b.reshape(result, [extent for axis, extent in enumerate(result.shape) if axis not in chosen])


def _sum(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    return b.reduce_sum(x, axes, keepdims=True)


def _mean(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    if prod(x.shape[axis] for axis in axes) == 0:
        raise UnsupportedForm("the mean of no elements", "remove the empty tensor from the model")
    return b.reduce_mean(x, axes, keepdims=True)


def _max(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    return b.reduce_max(x, axes, keepdims=True)


def _min(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    return b.reduce(x, axes, greatest(x.dtype), lambda v, low: v.minimum(low), keepdims=True)


def _product(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    return b.reduce(x, axes, 1, lambda v, total: v * total, keepdims=True)


def _norm1(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    return _sum(b, b.map([x], lambda v: abs(v)), axes)


def _square_sum(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    return _sum(b, b.map([x], lambda v: v * v), axes)


def _norm2(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    if x.is_float:
        return b.map([_square_sum(b, x, axes)], lambda v: v.sqrt())
    return b.cast(b.map([_square_sum(b, b.cast(x, "f64"), axes)], lambda v: v.sqrt()), x.dtype)


def _log_sum(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    wide = x if x.is_float else b.cast(x, "f64")
    return b.cast(b.map([_sum(b, wide, axes)], lambda v: v.log()), x.dtype)


def _log_sum_exp(b: Emitter, x: Tensor, axes: list[int]) -> Tensor:
    """Shifted by the maximum, so that it does not overflow; an infinite maximum is its own answer."""
    wide = x if x.is_float and x.dtype not in HALVES else b.cast(x, "f32" if x.is_float else "f64")
    top = _max(b, wide, axes)
    shift = b.map([top], lambda t: (abs(t).equal(float("inf"))).where(t.like(0.0), t))
    total = _sum(b, b.map([wide, shift], lambda v, t: (v - t).exp()), axes)
    return b.cast(b.map([total, shift], lambda s, t: s.log() + t), x.dtype)


_OLD = (1, 11, 13)
_reduction("ReduceSum", (1, 11, 13), 13, _sum)
_reduction("ReduceMean", (*_OLD, 18), 18, _mean)
_reduction("ReduceMax", (1, 11, 12, 13, 18, 20), 18, _max)
_reduction("ReduceMin", (1, 11, 12, 13, 18, 20), 18, _min)
_reduction("ReduceProd", (*_OLD, 18), 18, _product)
_reduction("ReduceL1", (*_OLD, 18), 18, _norm1)
_reduction("ReduceL2", (*_OLD, 18), 18, _norm2)
_reduction("ReduceSumSquare", (*_OLD, 18), 18, _square_sum)
_reduction("ReduceLogSum", (*_OLD, 18, 28), 18, _log_sum)
_reduction("ReduceLogSumExp", (*_OLD, 18, 28), 18, _log_sum_exp)


NOWHERE = 2**31 - 1
"""An index that no element has."""


def extreme_index(b: Emitter, x: Tensor, axis: int, largest: bool, last: bool) -> Tensor:
    """The index (i64) of the largest or smallest element along ``axis``, which is kept as 1. NaN counts as
    extreme.

    Two reductions: the extreme, then the first (or last) index where the element equals it.
    """
    if 0 in x.shape:
        raise UnsupportedForm(
            "the index of an extreme among no elements", "remove the empty tensor from the model"
        )
    reduce_extreme = _max if largest else _min
    wide = b.cast(x, "f32") if x.dtype in HALVES else x
    extreme = reduce_extreme(b, wide, [axis])
    nowhere = -1 if last else NOWHERE

    def place(index, v: Scalar, e: Scalar) -> Scalar:
        found = v.equal(e) | v.is_nan() if v.is_float else v.equal(e)
        return found.where(index(axis), nowhere)

    places = b.map_indexed([wide, extreme], place, "i64")
    return b.reduce(
        places, [axis], nowhere, lambda v, best: v.maximum(best) if last else v.minimum(best), keepdims=True
    )


def _arg_reduction(op: str, largest: bool) -> None:
    @onnx_op(op, since=(1, 11, 12, 13))
    def import_arg_reduction(b: Emitter, node: Node, x: Tensor) -> Tensor:
        axis = node.attribute("axis", 0) % x.rank
        result = extreme_index(b, x, axis, largest, bool(node.attribute("select_last_index", 0)))
        if node.attribute("keepdims", 1):
            return result
        return b.reshape(result, [extent for i, extent in enumerate(x.shape) if i != axis])


_arg_reduction("ArgMax", largest=True)
_arg_reduction("ArgMin", largest=False)


@onnx_op("CumSum", since=(11, 14))
def cumulative_sum(b: Emitter, node: Node, x: Tensor, axis: Tensor) -> Tensor:
    """A window sum over all elements before (``reverse``: after) each; a masked sum over a dynamic axis."""
    along = node.known_ints(axis, "axis")[0] % x.rank
    exclusive, reverse = bool(node.attribute("exclusive", 0)), bool(node.attribute("reverse", 0))
    extent = x.shape[along]
    if not isinstance(extent, int):
        return _masked_sum(b, x, along, exclusive, reverse)
    ones, zeros = [1] * x.rank, [0] * x.rank
    window, low, high = list(ones), list(zeros), list(zeros)
    window[along] = extent
    (high if reverse else low)[along] = extent - 1
    if exclusive:  # drop the element itself: shift by one, zero comes in
        x = _shifted(b, x, along, reverse)
    return b.reduce_window(x, "sum", x.shape, window, ones, ones, low, high)


def _masked_sum(b: Emitter, x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    """Sum for each place of ``axis`` the elements up to it (``reverse``: from it on)."""
    extent = x.shape[axis]
    apart = b.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))
    spread = b.broadcast_to(apart, (*x.shape[:axis], extent, *x.shape[axis:]))

    def body(index, v: Scalar) -> Scalar:
        distance = index(axis) - index(axis + 1)
        distance = -distance if reverse else distance
        return (distance > 0 if exclusive else distance >= 0).where(v, 0)

    return b.reduce_sum(b.map_indexed([spread], body), [axis + 1])


def _shifted(b: Emitter, x: Tensor, axis: int, reverse: bool) -> Tensor:
    kept = b.slice_axis(x, axis, 1 if reverse else 0, x.shape[axis] - 1)
    low, high = [0] * x.rank, [0] * x.rank
    (high if reverse else low)[axis] = 1
    if kept.size == 0:
        return b.full(x.shape, np.zeros((), kept.array.dtype if kept.array is not None else np.float32))
    return b.pad(kept, low, high)
