"""How much arithmetic a dispatch does, as an extent: what GF/s are counted from."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from xdsl.dialects import arith, math
from xdsl.ir import Operation

from thalweg.extents import Extent
from thalweg.ir.attributes import ints
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.dispatch import Dispatch
from thalweg.ir.types import extents_of

_FREE = (
    arith.ConstantOp, arith.IndexCastOp, arith.ExtFOp, arith.TruncFOp, arith.ExtSIOp, arith.ExtUIOp,
    arith.TruncIOp, arith.SIToFPOp, arith.UIToFPOp, arith.FPToSIOp, arith.FPToUIOp, arith.BitcastOp,
)  # fmt: skip
"""Scalar operations that are no arithmetic: constants and conversions."""

SOFTMAX_OPERATIONS = 5
"""For each element: maximum, difference, exponential, sum, quotient."""
LAYER_NORM_OPERATIONS = 8
"""For each element: sum, difference, square, sum, quotient, scale, bias, and the mean's share."""


def count_operations(dispatch: Dispatch) -> Extent:
    """Return how many arithmetic operations on elements a dispatch does.

    A multiply-add is two; a comparison, a selection or a call such as ``exp`` is one. Conversions, copies and
    index arithmetic of windows count nothing. Integers count as floats do.
    """
    total: Extent = 0
    for op in dispatch.structured_ops():
        if isinstance(op, linalg.GenericOp):
            total = total + _generic(op)
        else:
            count = _COUNTS.get(type(op))
            total = total + (count(op) if count is not None else 0)
    return total


def _generic(op: linalg.GenericOp) -> Extent:
    extents: dict[int, Extent] = {}
    for value, map_ in zip((*op.inputs, *op.outputs), op.indexing_maps.data):
        for extent, expression in zip(extents_of(value), map_.data.results):
            position = getattr(expression, "position", None)
            if position is not None:
                extents.setdefault(position, extent)
    points = prod((extents.get(axis, 1) for axis in range(len(op.iterator_types.data))), start=1)
    return points * sum(_is_arithmetic(inner) for inner in op.body.block.ops)


def _is_arithmetic(op: Operation) -> bool:
    dialect = op.name.partition(".")[0]
    return dialect in (arith.Arith.name, math.Math.name) and not isinstance(op, _FREE)


def _elements(op: Operation) -> Extent:
    return prod(extents_of(op.results[0]), start=1)


def _matmul(op: tw.MatmulOp) -> Extent:
    return 2 * _elements(op) * extents_of(op.a)[-1]


def _conv(op: tw.ConvOp) -> Extent:
    return 2 * _elements(op) * prod(extents_of(op.w)[1:])


def _reduce_window(op: tw.ReduceWindowOp) -> Extent:
    return _elements(op) * prod(ints(op.window))


_COUNTS: dict[type, Callable[[Any], Extent]] = {
    tw.MatmulOp: _matmul,
    tw.ConvOp: _conv,
    tw.ReduceWindowOp: _reduce_window,
    tw.SoftmaxOp: lambda op: SOFTMAX_OPERATIONS * _elements(op),
    tw.LayerNormOp: lambda op: LAYER_NORM_OPERATIONS * _elements(op),
}
"""Op → its count; ops that only move data are not in it."""
