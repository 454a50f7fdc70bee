"""Arithmetic on each element: binary, unary and variadic ops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor

Binary = Callable[[Scalar, Scalar], Scalar]


def align_legacy(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
    """Return ``y`` shaped for broadcasting as ONNX did before opset 7: aligned at ``axis`` of ``x``."""
    if node.version >= 7 or not node.attribute("broadcast", 0) or not node.has("axis"):
        return y
    axis = node.attribute("axis") % x.rank
    return b.reshape(y, y.shape + (1,) * (x.rank - axis - y.rank))


def _binary(op: str, since: tuple[int, ...], body: Binary) -> None:
    @onnx_op(op, since=since)
    def import_binary(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
        return b.map([x, align_legacy(b, node, x, y)], body)


_binary("Add", (1, 6, 7, 13, 14), lambda x, y: x + y)
_binary("Sub", (1, 6, 7, 13, 14), lambda x, y: x - y)
_binary("Mul", (1, 6, 7, 13, 14), lambda x, y: x * y)
_binary("Div", (1, 6, 7, 13, 14), lambda x, y: x / y)


def _unary(op: str, since: tuple[int, ...], body: Callable[[Scalar], Scalar]) -> None:
    @onnx_op(op, since=since)
    def import_unary(b: Emitter, node: Node, x: Tensor) -> Tensor:
        return b.map([x], body)


def _sign(x: Scalar) -> Scalar:
    positive = (x > 0).where(x.like(1), 0)
    if x.is_unsigned:
        return positive
    signed = (x < 0).where(x.like(-1), positive)
    return x.is_nan().where(x, signed) if x.is_float else signed


_unary("Abs", (1, 6, 13), abs)
_unary("Neg", (1, 6, 13), lambda x: -x)
_unary("Sign", (9, 13), _sign)
_unary("Ceil", (1, 6, 13), lambda x: x.ceil())
_unary("Floor", (1, 6, 13), lambda x: x.floor())
_unary("Round", (11, 22), lambda x: x.round_even())
_unary("Exp", (1, 6, 13), lambda x: x.exp())
_unary("Log", (1, 6, 13), lambda x: x.log())
_unary("Sqrt", (1, 6, 13), lambda x: x.sqrt())
_unary("Reciprocal", (1, 6, 13), lambda x: 1.0 / x)
_unary("Erf", (9, 13), lambda x: x.erf())


@onnx_op("Pow", since=(1, 7, 12, 13, 15))
def power(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
    """The result has the base's dtype; integer bases go through f64."""
    y = align_legacy(b, node, x, y)
    if (
        y.array is not None
        and y.size == 1
        and len(y.shape) <= x.rank
        and float(y.array.reshape(())) in (1.0, 2.0, 3.0)
    ):
        exponent = int(y.array.reshape(()))
        return b.map([x], lambda v: v if exponent == 1 else v * v if exponent == 2 else v * v * v)
    if x.is_float:
        return b.map([x, y], lambda v, e: v.power(e.cast(v.dtype)))
    return b.map([x, y], lambda v, e: v.cast("f64").power(e.cast("f64")).cast(x.dtype))


@onnx_op("Mod", since=(10, 13, 28))
def modulo(b: Emitter, node: Node, x: Tensor, y: Tensor) -> Tensor:
    """``fmod=1``: the sign of the dividend, as C; else the sign of the divisor, as Python."""
    truncated = bool(node.attribute("fmod", 0))
    if x.is_float:
        return b.map(
            [x, y], lambda v, d: _float_remainder(v.cast("f64"), d.cast("f64"), truncated).cast(v.dtype)
        )

    def remainder(v: Scalar, d: Scalar) -> Scalar:
        r = v.remainder(d)
        if truncated or x.is_unsigned:
            return r
        return (r.not_equal(0) & ((r < 0) ^ (d < 0))).where(r + d, r)

    return b.map([x, y], remainder)


def _float_remainder(v: Scalar, d: Scalar, truncated: bool) -> Scalar:
    """C's fmod (or, floored, Python's) in f64: exact for f32 operands while the quotient is below 2**29."""
    quotient = v / d
    whole = (quotient < 0).where(quotient.ceil(), quotient.floor())
    r = v - whole * d
    size = abs(d)
    r = ((r < 0) & (v >= 0)).where(r + size, r)  # the quotient was rounded up to the next whole number
    r = ((r > 0) & (v < 0)).where(r - size, r)
    r = (abs(r) >= size).where((v < 0).where(r + size, r - size), r)
    infinite_divisor = size.equal(float("inf")) & (abs(v) < float("inf"))
    r = infinite_divisor.where(v, r)
    if truncated:
        return r
    return (r.not_equal(0) & ((r < 0) ^ (d < 0))).where(r + d, r)


def _variadic(op: str, since: tuple[int, ...], combine: Binary) -> None:
    @onnx_op(op, since=since)
    def import_variadic(b: Emitter, node: Node, *inputs: Tensor) -> Tensor:
        return combine_all(b, inputs, combine)


def combine_all(b: Emitter, inputs: tuple[Tensor, ...], combine: Binary) -> Tensor:
    """Combine tensors from the left, broadcast against each other."""

    def body(*values: Scalar) -> Scalar:
        total = values[0]
        for value in values[1:]:
            total = combine(total, value)
        return total

    return b.map(inputs, body)


_variadic("Max", (1, 6, 8, 12, 13), lambda x, y: x.maximum(y))
_variadic("Min", (1, 6, 8, 12, 13), lambda x, y: x.minimum(y))
_variadic("Sum", (1, 6, 8, 13), lambda x, y: x + y)


@onnx_op("Mean", since=(1, 6, 8, 13))
def mean(b: Emitter, node: Node, *inputs: Tensor) -> Tensor:
    """The mean of the inputs."""
    return b.map([combine_all(b, inputs, lambda x, y: x + y)], lambda v: v * (1.0 / len(inputs)))


@onnx_op("Clip", since=(1, 6))
def clip_by_attributes(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Bounds as attributes, until opset 10."""
    low, high = node.attribute("min"), node.attribute("max")
    return b.map([x], lambda v: _clamp(v, low, high))


@onnx_op("Clip", since=(11, 12, 13))
def clip(b: Emitter, node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Bounds as optional scalars; known ones become constants of the body."""
    if all(bound is None or (bound.array is not None and not x.is_unsigned) for bound in (low, high)):
        return b.map([x], lambda v: _clamp(v, _number(low), _number(high)))
    operands = [x, *(bound for bound in (low, high) if bound is not None)]

    def body(v: Scalar, *bounds: Scalar) -> Scalar:
        remaining = list(bounds)
        v = v.maximum(remaining.pop(0)) if low is not None else v
        return v.minimum(remaining.pop(0)) if high is not None else v

    return b.map(operands, body)


def _number(bound: Tensor | None) -> float | int | None:
    return None if bound is None or bound.array is None else np.asarray(bound.array).reshape(()).item()


def _clamp(v: Scalar, low: float | int | None, high: float | int | None) -> Scalar:
    v = v if low is None else v.maximum(low)
    return v if high is None else v.minimum(high)
