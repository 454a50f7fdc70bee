"""Normalizations, and softmax."""

from __future__ import annotations

from math import prod

import numpy as np
from thalweg.api import InvalidArgument
from thalweg.dtypes import numpy_dtype
from thalweg.extents import Extent

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import HALVES, Emitter
from thalweg_input_onnx.node import Node, element_dtype
from thalweg_input_onnx.ops.convolution import per_channel
from thalweg_input_onnx.ops.reduction import extreme_index
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor


@onnx_op("BatchNormalization", since=(1, 6, 7, 9, 14, 15))
def batch_norm(
    b: Emitter, node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    """Inference: ``x * factor + offset`` per channel, both made of the running statistics."""
    if node.version >= 14 and node.attribute("training_mode", 0):
        raise UnsupportedForm("training mode", "export the model for inference (torch: model.eval())")
    if node.version < 9 and node.attribute("spatial", 1) == 0:
        raise UnsupportedForm("statistics per element (spatial=0)", "export the model with opset 9 or later")
    epsilon = float(node.attribute("epsilon", 1e-5))
    wide = b.cast(x, "f32") if x.dtype in HALVES else x
    scale, bias, mean, var = (b.cast(v, wide.dtype) for v in (scale, bias, mean, var))
    factor, offset = _affine(b, scale, bias, mean, var, epsilon)
    factor, offset = (per_channel(b, v, x.rank) if x.rank > 1 else v for v in (factor, offset))
    return b.cast(b.map([wide, factor, offset], lambda v, f, o: v * f + o), x.dtype)


def _affine(
    b: Emitter, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    arrays = [v.array for v in (scale, bias, mean, var)]
    if all(array is not None for array in arrays):
        s, o, m, v = (np.asarray(array, np.float64) for array in arrays)
        with np.errstate(all="ignore"):
            factor = s / np.sqrt(v + epsilon)
            offset = o - m * factor
        dtype = numpy_dtype(scale.dtype)
        return b.constant(factor.astype(dtype), scale.name), b.constant(offset.astype(dtype), bias.name)
    factor = b.map([scale, var], lambda s, v: s / (v + epsilon).sqrt())
    return factor, b.map([bias, mean, factor], lambda o, m, f: o - m * f)


@onnx_op("InstanceNormalization", since=(1, 6, 22))
def instance_norm(b: Emitter, node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Normalize each channel of each image."""
    normal = normalize(b, x, range(2, x.rank), float(node.attribute("epsilon", 1e-5)))
    scale, bias = per_channel(b, scale, x.rank), per_channel(b, bias, x.rank)
    return b.map([normal, scale, bias], lambda v, s, o: v * s + o)


@onnx_op("GroupNormalization", since=(18, 21))
def group_norm(b: Emitter, node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Normalize each group of channels; until opset 20 there is one scale and bias per group."""
    groups = node.required("num_groups")
    channels = x.shape[1]
    if not isinstance(channels, int) or channels % groups:
        raise InvalidArgument(f"{channels} channels do not make {groups} groups")
    grouped = b.reshape(x, (x.shape[0], groups, channels // groups * prod(x.shape[2:])))
    normal = normalize(b, grouped, [2], float(node.attribute("epsilon", 1e-5)))
    if node.version < 21:
        scale, bias = (
            b.reshape(b.broadcast_to(b.reshape(v, (groups, 1)), (groups, channels // groups)), (channels,))
            for v in (scale, bias)
        )
    scale, bias = per_channel(b, scale, x.rank), per_channel(b, bias, x.rank)
    return b.map([b.reshape(normal, x.shape), scale, bias], lambda v, s, o: v * s + o)


@onnx_op("LayerNormalization", since=(17,))
def layer_norm(
    b: Emitter, node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> Tensor | tuple[Tensor, ...]:
    """Normalize over the dimensions from ``axis`` on; mean and reciprocal deviation where asked for."""
    axis = node.attribute("axis", -1) % x.rank
    epsilon = float(node.attribute("epsilon", 1e-5))
    stage = element_dtype(node.attribute("stash_type", 1))
    wide = b.cast(x, stage) if x.dtype in HALVES else x
    shape = x.shape[axis:]
    scale, bias = _parameters(b, scale, bias, shape, wide.dtype)
    result = b.cast(b.layer_norm(wide, scale, bias, axis, epsilon), x.dtype)
    if node.outputs == 1:
        return result
    axes = range(axis, x.rank)
    mean = b.reduce_mean(wide, axes, keepdims=True)
    deviation = b.map([wide, mean], lambda v, m: (v - m) * (v - m))
    inverse = b.map([b.reduce_mean(deviation, axes, keepdims=True)], lambda v: 1.0 / (v + epsilon).sqrt())
    return result, mean, inverse


def _parameters(
    b: Emitter, scale: Tensor, bias: Tensor | None, shape: tuple[Extent, ...], dtype: str
) -> tuple[Tensor, Tensor]:
    while scale.rank > len(shape) and scale.shape[0] == 1:
        scale = b.reshape(scale, scale.shape[1:])
    if bias is None:
        bias = b.full(shape, np.zeros((), numpy_dtype(dtype)))
    while bias.rank > len(shape) and bias.shape[0] == 1:
        bias = b.reshape(bias, bias.shape[1:])
    if scale.rank > len(shape) or bias.rank > len(shape):
        raise UnsupportedForm(
            "a scale or bias that varies over dimensions before axis", "multiply and add separately"
        )
    return b.broadcast_to(b.cast(scale, dtype), shape), b.broadcast_to(b.cast(bias, dtype), shape)


def normalize(b: Emitter, x: Tensor, axes, epsilon: float) -> Tensor:
    """``(x - mean) / sqrt(variance + epsilon)`` over the trailing ``axes``."""
    axes = list(axes)
    wide = b.cast(x, "f32") if x.dtype in HALVES else x
    lead = x.shape[: axes[0]]
    inner = prod(x.shape[axes[0] :])
    flat = b.reshape(wide, (*lead, inner))
    one = b.full((inner,), np.ones((), numpy_dtype(wide.dtype)))
    zero = b.full((inner,), np.zeros((), numpy_dtype(wide.dtype)))
    return b.cast(b.reshape(b.layer_norm(flat, one, zero, len(lead), epsilon), x.shape), x.dtype)


@onnx_op("RMSNormalization", since=(23,))
def rms_norm(b: Emitter, node: Node, x: Tensor, scale: Tensor) -> Tensor:
    """Divide by the root of the mean square over the dimensions from ``axis`` on."""
    axis = node.attribute("axis", -1) % x.rank
    epsilon = float(node.attribute("epsilon", 1e-5))
    wide = b.cast(x, element_dtype(node.attribute("stash_type", 1))) if x.dtype in HALVES else x
    square = b.reduce_mean(b.map([wide], lambda v: v * v), range(axis, x.rank), keepdims=True)
    normal = b.map([wide, square], lambda v, m: v / (m + epsilon).sqrt())
    return b.map([b.cast(normal, x.dtype), scale], lambda v, s: v * s)


@onnx_op("LRN", since=(1, 13))
def local_response_norm(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Divide by a power of the sum of squares over neighbouring channels."""
    size = node.required("size")
    alpha, beta = float(node.attribute("alpha", 1e-4)), float(node.attribute("beta", 0.75))
    bias = float(node.attribute("bias", 1.0))
    ones, zeros = [1] * x.rank, [0] * x.rank
    window, low, high = list(ones), list(zeros), list(zeros)
    window[1], low[1], high[1] = size, (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = b.map([x], lambda v: v * v)
    total = b.reduce_window(squares, "sum", x.shape, window, ones, ones, low, high)
    return b.map([x, total], lambda v, t: v / (bias + (alpha / size) * t).power(beta))


@onnx_op("LpNormalization", since=(1, 22))
def lp_norm(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Divide by the 1- or 2-norm along an axis; zero where the norm is zero."""
    axis = [node.attribute("axis", -1)]
    if node.attribute("p", 2) == 1:
        norm = b.reduce_sum(b.map([x], lambda v: abs(v)), axis, keepdims=True)
    else:
        norm = b.map([b.reduce_sum(b.map([x], lambda v: v * v), axis, keepdims=True)], lambda v: v.sqrt())
    return b.map([x, norm], lambda v, n: n.equal(0.0).where(v.like(0.0), v / n))


@onnx_op("MeanVarianceNormalization", since=(9, 13))
def mean_variance_norm(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """``(x - mean) / (sqrt(mean(x²) - mean²) + 1e-9)`` over ``axes``."""
    axes = node.attribute("axes", [0, 2, 3])
    mean = b.reduce_mean(x, axes, keepdims=True)
    centered = b.map([x, mean], lambda v, m: v - m)
    variance = b.reduce_mean(b.map([centered], lambda v: v * v), axes, keepdims=True)
    return b.map([centered, variance], lambda v, s: v / (s.sqrt() + 1e-9))


# -- softmax -------------------------------------------------------------------------------------------------


@onnx_op("Softmax", since=(1, 11))
def softmax_flattened(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Until opset 12: over all dimensions from ``axis`` on, as one."""
    flat = _matrix(b, x, node.attribute("axis", 1))
    return b.reshape(b.softmax(flat, 1), x.shape)


@onnx_op("Softmax", since=(13,))
def softmax(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Along one axis."""
    return b.softmax(x, node.attribute("axis", -1))


@onnx_op("LogSoftmax", since=(1, 11))
def log_softmax_flattened(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Until opset 12: over all dimensions from ``axis`` on, as one."""
    flat = _matrix(b, x, node.attribute("axis", 1))
    return b.reshape(_log_softmax(b, flat, 1), x.shape)


@onnx_op("LogSoftmax", since=(13,))
def log_softmax(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Along one axis."""
    return _log_softmax(b, x, node.attribute("axis", -1))


def _matrix(b: Emitter, x: Tensor, axis: int) -> Tensor:
    axis = axis + x.rank if axis < 0 else axis
    return b.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def _log_softmax(b: Emitter, x: Tensor, axis: int) -> Tensor:
    wide = b.cast(x, "f32") if x.dtype in HALVES else x
    top = b.reduce_max(wide, [axis], keepdims=True)
    total = b.reduce_sum(b.map([wide, top], lambda v, t: (v - t).exp()), [axis], keepdims=True)

    def body(v: Scalar, t: Scalar, s: Scalar) -> Scalar:
        return (v - t) - s.log()

    return b.cast(b.map([wide, top, total], body), x.dtype)


@onnx_op("Hardmax", since=(1, 11))
def hardmax_flattened(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Until opset 12: over all dimensions from ``axis`` on, as one."""
    return b.reshape(_hardmax(b, _matrix(b, x, node.attribute("axis", 1)), 1), x.shape)


@onnx_op("Hardmax", since=(13,))
def hardmax(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """One at the first maximum along an axis, zero elsewhere."""
    return _hardmax(b, x, node.attribute("axis", -1))


def _hardmax(b: Emitter, x: Tensor, axis: int) -> Tensor:
    axis %= x.rank
    first = extreme_index(b, x, axis, largest=True, last=False)
    spread = b.broadcast_to(first, x.shape)
    return b.map_indexed([spread], lambda index, i: i.equal(index(axis)).cast(x.dtype), x.dtype)
