"""Trigonometric and hyperbolic functions, made of the few that every target has."""

from __future__ import annotations

import math
from collections.abc import Callable

from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor


def _function(op: str, since: tuple[int, ...], body: Callable[[Scalar], Scalar]) -> None:
    @onnx_op(op, since=since)
    def import_function(b: Emitter, node: Node, x: Tensor) -> Tensor:
        return b.map([x], body)


def _with_sign_of(magnitude: Scalar, x: Scalar) -> Scalar:
    return (x < 0).where(-magnitude, magnitude)


def _log1p(x: Scalar) -> Scalar:
    """``log(1 + x)``; the rounding of ``1 + x`` is divided out (W. Kahan, HP-15C Advanced Functions
    Handbook).
    """
    one_more = 1.0 + x
    return one_more.equal(1.0).where(x, one_more.log() * (x / (one_more - 1.0)))


def _sinh(x: Scalar) -> Scalar:
    """``tanh(x) * cosh(x)``: no cancellation near zero."""
    return x.tanh() * _cosh(x)


def _cosh(x: Scalar) -> Scalar:
    root = (0.5 * abs(x)).exp()
    return 0.5 * root * root + 0.5 / root / root


def _asinh(x: Scalar) -> Scalar:
    size = abs(x)
    near = _log1p(size + size * size / (1.0 + (size * size + 1.0).sqrt()))
    far = size.log() + math.log(2.0)
    return _with_sign_of((size > 1e4).where(far, near), x)


def _acosh(x: Scalar) -> Scalar:
    above = x - 1.0
    near = _log1p(above + (above * (above + 2.0)).sqrt())
    return (x > 1e4).where(x.log() + math.log(2.0), near)


def _atanh(x: Scalar) -> Scalar:
    size = abs(x)
    return _with_sign_of(0.5 * _log1p(2.0 * size / (1.0 - size)), x)


def _atan(x: Scalar) -> Scalar:
    """Halve the angle twice (tan(t/2) = tan t / (1 + sqrt(1 + tan² t))), then the Taylor series: below
    tan(pi/16).
    """
    size = abs(x)
    inverted = size > 1.0
    t = inverted.where(1.0 / size, size)
    for _ in range(2):
        t = t / (1.0 + (1.0 + t * t).sqrt())
    square = t * t
    terms = 12 if x.dtype == "f64" else 6
    series = t.like((-1.0) ** terms / (2 * terms + 1))
    for k in range(terms - 1, -1, -1):
        series = series * square + (-1.0) ** k / (2 * k + 1)
    angle = 4.0 * (t * series)
    return _with_sign_of(inverted.where(math.pi / 2 - angle, angle), x)


def _asin(x: Scalar) -> Scalar:
    """``2 atan(x / (1 + sqrt(1 - x²)))``: stays finite at ±1."""
    return 2.0 * _atan(x / (1.0 + ((1.0 - x) * (1.0 + x)).sqrt()))


def _acos(x: Scalar) -> Scalar:
    """``2 atan(sqrt((1 - x) / (1 + x)))``: no cancellation near 1."""
    return 2.0 * _atan(((1.0 - x) / (1.0 + x)).sqrt())


_function("Sin", (7, 22), lambda x: x.sin())
_function("Cos", (7, 22), lambda x: x.cos())
_function("Tan", (7, 22), lambda x: x.sin() / x.cos())
_function("Asin", (7, 22), _asin)
_function("Acos", (7, 22), _acos)
_function("Atan", (7, 22), _atan)
_function("Sinh", (9, 22), _sinh)
_function("Cosh", (9, 22), _cosh)
_function("Tanh", (1, 6, 13), lambda x: x.tanh())
_function("Asinh", (9, 22), _asinh)
_function("Acosh", (9, 22), _acosh)
_function("Atanh", (9, 22), _atanh)
