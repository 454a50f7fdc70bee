"""Pooling: windows, and whole images."""

from __future__ import annotations

import numpy as np
from thalweg.dtypes import numpy_dtype

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.tensor import Tensor
from thalweg_input_onnx.window import Window, window_of


@onnx_op("MaxPool", since=(1, 8, 10, 11, 12, 22))
def max_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The maximum of each window; the indices (second output) are not made."""
    window = _window(node, x)
    return _pool(b, x, window, "max")


@onnx_op("AveragePool", since=(1, 7, 10, 11, 19, 22))
def average_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The sum of each window times the reciprocal of its count."""
    window = _window(node, x)
    counts = _counts(window, bool(node.attribute("count_include_pad", 0)))
    total = _pool(b, x, window, "sum")
    if np.all(counts == counts.flat[0]):
        return b.map([total], lambda v: v * (1.0 / float(counts.flat[0])))
    reciprocals = b.constant((1.0 / counts).astype(numpy_dtype(x.dtype)))
    return b.map([total, reciprocals], lambda v, r: v * r)


@onnx_op("LpPool", since=(2, 11, 18, 22))
def lp_pool(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The p-norm of each window."""
    p = float(node.attribute("p", 2))
    total = _pool(b, b.map([x], lambda v: abs(v).power(p) if p != 2 else v * v), _window(node, x), "sum")
    return b.map([total], lambda v: v.power(1.0 / p) if p != 2 else v.sqrt())


def _window(node: Node, x: Tensor) -> Window:
    return window_of(node, x.shape[2:], node.required("kernel_shape"), bool(node.attribute("ceil_mode", 0)))


def _pool(b: Emitter, x: Tensor, window: Window, kind: str) -> Tensor:
    return b.reduce_window(
        x, kind, (*x.shape[:2], *window.output), (1, 1, *window.kernel), (1, 1, *window.strides),
        (1, 1, *window.dilations), (0, 0, *window.low), (0, 0, *window.high_needed),
    )  # fmt: skip


def _counts(window: Window, include_pad: bool) -> np.ndarray:
    """The number of elements that each window averages, of shape ``window.output``."""
    counts = np.ones((), np.float64)
    for axis, outputs in enumerate(window.output):
        starts = np.arange(outputs)[:, None] * window.strides[axis] - window.low[axis]
        places = starts + np.arange(window.kernel[axis]) * window.dilations[axis]
        extent = window.extents[axis]
        first, last = (-window.low[axis], extent + window.high[axis]) if include_pad else (0, extent)
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
