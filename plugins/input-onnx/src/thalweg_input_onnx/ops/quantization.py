"""Quantization: scales and zero points to and from small integers, and integer products."""

from __future__ import annotations

import numpy as np
from thalweg.dtypes import numpy_dtype

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node, element_dtype
from thalweg_input_onnx.ops.convolution import convolve
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor


def _along_axis(b: Emitter, node: Node, parameter: Tensor, x: Tensor) -> Tensor:
    """Shape a scale or zero point for broadcasting over ``x``: one number, one per index of ``axis``, or
    blocks.
    """
    if parameter.size == 1:
        return b.reshape(parameter, ())
    axis = node.attribute("axis", 1) % x.rank
    if node.attribute("block_size", 0):
        size = node.attribute("block_size")
        spread = b.reshape(parameter, (*parameter.shape[: axis + 1], 1, *parameter.shape[axis + 1 :]))
        shape = (*parameter.shape[: axis + 1], size, *parameter.shape[axis + 1 :])
        merged = (*parameter.shape[:axis], parameter.shape[axis] * size, *parameter.shape[axis + 1 :])
        return b.slice_axis(b.reshape(b.broadcast_to(spread, shape), merged), axis, 0, x.shape[axis])
    return b.reshape(parameter, (parameter.size, *[1] * (x.rank - axis - 1)))


@onnx_op("DequantizeLinear", since=(10, 13, 19, 21, 23, 24, 25, 28))
def dequantize(b: Emitter, node: Node, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    """``(x - zero_point) * scale``."""
    given = node.attribute("output_dtype", 0)
    dtype = element_dtype(given) if given else scale.dtype
    factor = _along_axis(b, node, scale, x)
    if zero_point is None:
        return b.map([x, factor], lambda v, s: v.cast(s.dtype) * s, dtype)
    zero = _along_axis(b, node, zero_point, x)
    return b.map([x, factor, zero], lambda v, s, z: (v.cast("i32") - z.cast("i32")).cast(s.dtype) * s, dtype)


@onnx_op("QuantizeLinear", since=(10, 13, 19, 21, 23, 24, 25, 28))
def quantize(b: Emitter, node: Node, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    """``round(x / scale) + zero_point``, ties to even, clamped to the result's range."""
    given = node.attribute("output_dtype", 0)
    dtype = zero_point.dtype if zero_point is not None else element_dtype(given) if given else "ui8"
    limits = np.iinfo(numpy_dtype(dtype))
    operands = [x, _along_axis(b, node, scale, x)]
    if zero_point is not None:
        operands.append(_along_axis(b, node, zero_point, x))

    def body(v: Scalar, s: Scalar, z: Scalar | None = None) -> Scalar:
        v = v.cast("f32") if not v.is_float else v
        level = (v / s.cast(v.dtype)).round_even()
        level = level if z is None else level + z.cast(v.dtype)
        return level.maximum(float(limits.min)).minimum(float(limits.max)).cast("i32").cast(dtype)

    return b.map(operands, body, dtype)


def _centered(b: Emitter, x: Tensor, zero_point: Tensor | None, per_row: bool = False) -> Tensor:
    """``x - zero_point`` as i32."""
    wide = b.cast(x, "i32")
    if zero_point is None:
        return wide
    zero = b.cast(zero_point, "i32")
    if zero.size == 1:
        zero = b.reshape(zero, ())
    elif per_row and zero.rank == 1:
        zero = b.reshape(zero, (zero.size, 1))
    return b.map([wide, zero], lambda v, z: v - z)


@onnx_op("MatMulInteger", since=(10,))
def matmul_integer(
    b: Emitter, node: Node, x: Tensor, y: Tensor, x_zero: Tensor | None = None, y_zero: Tensor | None = None
) -> Tensor:
    """The product of centred 8-bit integers, in i32."""
    return b.matmul(_centered(b, x, x_zero, per_row=True), _centered(b, y, y_zero))


@onnx_op("ConvInteger", since=(10,))
def conv_integer(
    b: Emitter, node: Node, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    """The convolution of centred 8-bit integers, in i32."""
    if w_zero is not None and w_zero.size > 1:
        w_zero = b.reshape(w_zero, (w_zero.size, *[1] * (w.rank - 1)))
    return convolve(b, node, _centered(b, x, x_zero), _centered(b, w, w_zero))


@onnx_op("DynamicQuantizeLinear", since=(11,))
def dynamic_quantize(b: Emitter, node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """8-bit levels with a scale and zero point from the tensor's own range, which always holds zero."""
    axes = list(range(x.rank))
    high = b.reduce_max(x, axes)
    low = b.reduce(x, axes, float("inf"), lambda v, least: v.minimum(least))
    scale = b.map([high, low], lambda h, l: (h.maximum(0.0) - l.minimum(0.0)) / 255.0)

    def zero_level(l: Scalar, s: Scalar) -> Scalar:
        return ((-l.minimum(0.0)) / s).maximum(0.0).minimum(255.0).round_even()

    zero = b.map([low, scale], zero_level)
    levels = b.map(
        [x, scale, zero],
        lambda v, s, z: ((v / s).round_even() + z).maximum(0.0).minimum(255.0).cast("i32").cast("ui8"),
        "ui8",
    )
    return levels, scale, b.map([zero], lambda z: z.cast("i32").cast("ui8"), "ui8")


@onnx_op("QLinearMatMul", since=(10, 21))
def qlinear_matmul(
    b: Emitter, node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor, y: Tensor, y_scale: Tensor, y_zero:
    Tensor, scale: Tensor, zero: Tensor,
) -> Tensor:  # fmt: skip
    """A product of quantized matrices, quantized again; scales per tensor."""
    if any(v.size > 1 for v in (x_scale, y_scale, scale)):
        raise UnsupportedForm("scales per row or column", "use one scale per matrix")
    product = b.matmul(_centered(b, x, x_zero), _centered(b, y, y_zero))
    return _requantized(b, product, x_scale, y_scale, scale, zero)


@onnx_op("QLinearConv", since=(10,))
def qlinear_conv(
    b: Emitter, node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero:
    Tensor, scale: Tensor, zero: Tensor, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A convolution of quantized tensors, quantized again; weights may have a scale per output channel."""
    if w_zero.size > 1:
        w_zero = b.reshape(w_zero, (w_zero.size, *[1] * (w.rank - 1)))
    total = convolve(b, node, _centered(b, x, x_zero), _centered(b, w, w_zero))
    channel = (-1, *[1] * (x.rank - 2))
    if bias is not None:
        total = b.map([total, b.reshape(bias, (bias.size, *channel[1:]))], lambda v, c: v + c)
    w_scale = b.reshape(w_scale, (w_scale.size, *channel[1:])) if w_scale.size > 1 else w_scale
    return _requantized(b, total, x_scale, w_scale, scale, zero)


def _requantized(b: Emitter, x: Tensor, left: Tensor, right: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    limits = np.iinfo(numpy_dtype(zero.dtype))
    parameters = [b.reshape(v, ()) if v.size == 1 else v for v in (left, right, scale, zero)]

    def body(v: Scalar, l: Scalar, r: Scalar, s: Scalar, z: Scalar) -> Scalar:
        level = (v.cast("f32") * (l.cast("f32") * r.cast("f32") / s.cast("f32"))).round_even() + z.cast("f32")
        return level.maximum(float(limits.min)).minimum(float(limits.max)).cast("i32").cast(zero.dtype)

    return b.map([x, *parameters], body, zero.dtype, widen=False)
