"""Comparisons, boolean and bitwise logic, and choice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from thalweg.dtypes import numpy_dtype

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.ops.elementwise import align_legacy
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor


def _predicate(op: str, since: tuple[int, ...], body: Callable[[Scalar, Scalar], Scalar]) -> None:
    @onnx_op(op, since=since)
    def import_predicate(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
        return b.map([x, align_legacy(b, node, x, y)], body, "i1")


_predicate("Equal", (1, 7, 11, 13, 19), lambda x, y: x.equal(y))
_predicate("Less", (1, 7, 9, 13), lambda x, y: x < y)
_predicate("LessOrEqual", (12, 16), lambda x, y: x <= y)
_predicate("Greater", (1, 7, 9, 13), lambda x, y: x > y)
_predicate("GreaterOrEqual", (12, 16), lambda x, y: x >= y)
_predicate("And", (1, 7), lambda x, y: x & y)
_predicate("Or", (1, 7), lambda x, y: x | y)
_predicate("Xor", (1, 7), lambda x, y: x ^ y)


@onnx_op("Not", since=(1,))
def logical_not(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Negate a boolean."""
    return b.map([x], lambda v: ~v)


def _bitwise(op: str, body: Callable[[Scalar, Scalar], Scalar]) -> None:
    @onnx_op(op, since=(18,))
    def import_bitwise(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
        return b.map([x, y], body)


_bitwise("BitwiseAnd", lambda x, y: x & y)
_bitwise("BitwiseOr", lambda x, y: x | y)
_bitwise("BitwiseXor", lambda x, y: x ^ y)


@onnx_op("BitwiseNot", since=(18,))
def bitwise_not(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Invert every bit."""
    if x.dtype == "ui64":
        raise UnsupportedForm("BitwiseNot of uint64", "cast to int64 first")
    if x.is_unsigned:
        return b.map([x], lambda v: v.like(2**v.bits - 1) - v)
    return b.map([x], lambda v: ~v)


@onnx_op("Where", since=(9, 16))
def where(b: Emitter, node: Node, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``x`` where the condition holds, else ``y``."""
    return b.map([condition, x, y], lambda c, v, w: c.where(v, w), x.dtype, widen=False)


@onnx_op("IsNaN", since=(9, 13, 20))
def is_nan(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Whether each element is NaN."""
    return b.map([x], lambda v: v.is_nan(), "i1")


@onnx_op("IsInf", since=(10, 20))
def is_infinite(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Whether each element is infinite, of the signs asked for."""
    negative, positive = node.attribute("detect_negative", 1), node.attribute("detect_positive", 1)

    def body(v: Scalar) -> Scalar:
        if negative and positive:
            return abs(v).equal(float("inf"))
        if not negative and not positive:
            return v.not_equal(v) & v.equal(v)
        return v.equal(float("inf" if positive else "-inf"))

    return b.map([x], body, "i1")


@onnx_op("BitShift", since=(11, 28))
def bit_shift(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
    """Shift by products and quotients with two powers of two of at most half the bits, so that both fit.

    The right shift of a negative number fills with ones; amounts outside the width leave only the filling.
    """
    if x.dtype == "ui64":
        raise UnsupportedForm("shifts of uint64", "cast to int64 first")
    kind = numpy_dtype(x.dtype)
    width = kind.itemsize * 8
    amount = b.cast(y, "i64")
    inside = b.map([amount], lambda n: (n >= 0) & (n < width), "i1")
    first = b.map([amount], lambda n: n.maximum(0).minimum(width - 1) / 2)
    second = b.map([amount, first], lambda n, half: n.maximum(0).minimum(width - 1) - half)
    powers = b.constant((2 ** np.arange(width // 2 + 1)).astype(kind))
    operands = [x, b.gather(powers, first, 0), b.gather(powers, second, 0), inside]

    def left(v: Scalar, p: Scalar, q: Scalar, fits: Scalar) -> Scalar:
        return fits.where(v * p * q, 0)

    def right(v: Scalar, p: Scalar, q: Scalar, fits: Scalar) -> Scalar:
        if v.is_unsigned:
            return fits.where(v / p / q, 0)
        size = (v < 0).where(~v, v)
        shifted = fits.where(size / p / q, 0)
        return (v < 0).where(~shifted, shifted)

    return b.map(operands, left if node.required("direction") == "LEFT" else right)
