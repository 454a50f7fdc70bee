"""Pooling: windows, and whole images."""

from __future__ import annotations

import numpy as np
from thalweg.dtypes import numpy_dtype
from thalweg.extents import is_static, static

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter, least
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor
from thalweg_input_onnx.window import Window, window_of


@onnx_op("MaxPool", since=(1, 8, 10, 11, 12, 22))
def max_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The maximum of each window; the indices (second output) are not made."""
    return _pool(b, x, _window(b, node, x), "max")


@onnx_op("AveragePool", since=(1, 7, 10, 11, 19, 22))
def average_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The sum of each window times the reciprocal of its count; over a dynamic dimension, divided by it."""
    window = _window(b, node, x)
    include_pad = bool(node.attribute("count_include_pad", 0))
    total = _pool(b, x, window, "sum")
    if not is_static((*window.extents, *window.low, *window.high)):
        return _divided_by_counts(b, total, window, include_pad)
    counts = _counts(window, include_pad)
    if np.all(counts == counts.flat[0]):
        return b.map([total], lambda v: v * (1.0 / float(counts.flat[0])))
    reciprocals = b.constant((1.0 / counts).astype(numpy_dtype(x.dtype)))
    return b.map([total, reciprocals], lambda v, r: v * r)


@onnx_op("LpPool", since=(2, 11, 18, 22))
def lp_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The p-norm of each window."""
    p = float(node.attribute("p", 2))
    total = _pool(b, b.map([x], lambda v: abs(v).power(p) if p != 2 else v * v), _window(b, node, x), "sum")
    return b.map([total], lambda v: v.power(1.0 / p) if p != 2 else v.sqrt())


def _window(b: Emitter, node: Node, x: Tensor) -> Window:
    ceil_mode = bool(node.attribute("ceil_mode", 0))
    return window_of(b, node, x.shape[2:], node.required("kernel_shape"), ceil_mode)


def _pool(b: Emitter, x: Tensor, window: Window, kind: str) -> Tensor:
    placed, low, high = window.placed(b, x, least(x.dtype) if kind == "max" else 0)
    return b.reduce_window(
        placed, kind, (*x.shape[:2], *window.output), (1, 1, *window.kernel), (1, 1, *window.strides),
        (1, 1, *window.dilations), (0, 0, *low), (0, 0, *high),
    )  # fmt: skip


def _divided_by_counts(b: Emitter, total: Tensor, window: Window, include_pad: bool) -> Tensor:
    """Divide by the number of elements that each window averages, which its place tells."""
    uniform, counted = 1, []
    for axis, (low, high) in enumerate(zip(window.low, window.high)):
        if window.fills(axis) and (include_pad or (low == 0 and high == 0)):
            uniform *= window.kernel[axis]
        else:
            counted.append(axis)

    def body(index, v: Scalar) -> Scalar:
        count = index(0).like(uniform)
        for axis in counted:
            step = window.dilations[axis]
            start = index(axis + 2) * window.strides[axis] - window.low[axis]
            before = start.like(0) if include_pad else ((step - 1 - start) / step).maximum(0)
            end = window.extents[axis] + (window.high[axis] if include_pad else 0)
            taps = ((start.like(end + step - 1) - start) / step).minimum(window.kernel[axis])
            count = count * (taps - before).maximum(1)
        return v / count.cast(v.dtype)

    if not counted:
        return b.map([total], lambda v: v * (1.0 / uniform))
    return b.map_indexed([total], body)


def _counts(window: Window, include_pad: bool) -> np.ndarray:
    """The number of elements that each window averages, of shape ``window.output``."""
    counts = np.ones((), np.float64)
    dimensions = zip(*map(static, (window.output, window.low, window.high, window.extents)))
    for axis, (outputs, low, high, extent) in enumerate(dimensions):
        starts = np.arange(outputs)[:, None] * window.strides[axis] - low
        places = starts + np.arange(window.kernel[axis]) * window.dilations[axis]
        first, last = (-low, extent + high) if include_pad else (0, extent)
        counts = np.multiply.outer(counts, ((places >= first) & (places < last)).sum(axis=1))
    return np.maximum(counts, 1)


def _spatial(x: Tensor) -> range:
    if x.rank < 3:
        raise UnsupportedForm(
            f"pooling of a tensor of {x.rank} dimensions", "give it batch, channels and an image"
        )
    return range(2, x.rank)


@onnx_op("GlobalAveragePool", since=(1, 22))
def global_average_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The mean of each channel."""
    return b.reduce_mean(x, _spatial(x), keepdims=True)


@onnx_op("GlobalMaxPool", since=(1, 22))
def global_max_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The maximum of each channel."""
    return b.reduce_max(x, _spatial(x), keepdims=True)


@onnx_op("GlobalLpPool", since=(2, 22))
def global_lp_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The p-norm of each channel."""
    p = float(node.attribute("p", 2))
    total = b.reduce_sum(b.map([x], lambda v: abs(v).power(p)), _spatial(x), keepdims=True)
    return b.map([total], lambda v: v.power(1.0 / p))
