"""Resizing: each axis is a gather (nearest) or a product with a matrix of interpolation weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from thalweg.dtypes import numpy_dtype

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import HALVES, Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.tensor import Tensor


@dataclass(frozen=True)
class AxisResize:
    """One axis: from ``extent`` to ``output`` elements by ``scale``; ``start``, ``end`` are its region of
    interest.
    """

    extent: int
    output: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    def positions(self, mode: str) -> np.ndarray:
        """Where each output element lies on the input axis (``coordinate_transformation_mode``)."""
        i = np.arange(self.output, dtype=np.float64)
        last = self.extent - 1
        if mode == "half_pixel":
            return (i + 0.5) / self.scale - 0.5
        if mode == "half_pixel_symmetric":
            adjustment = self.output / (self.scale * self.extent)
            return self.extent / 2 * (1 - adjustment) + (i + 0.5) / self.scale - 0.5
        if mode == "pytorch_half_pixel":
            return (i + 0.5) / self.scale - 0.5 if self.output > 1 else np.zeros(1)
        if mode == "align_corners":
            return i * last / (self.output - 1) if self.output > 1 else np.zeros(1)
        if mode == "tf_crop_and_resize":
            if self.output == 1:
                return np.full(1, 0.5 * (self.start + self.end) * last)
            return self.start * last + i * (self.end - self.start) * last / (self.output - 1)
        if mode == "tf_half_pixel_for_nn":
            return (i + 0.5) / self.scale
        return i / self.scale


_ROUND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: np.floor(p + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@onnx_op("Upsample", since=(7, 9))
def upsample(b: Emitter, node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Resize as ONNX did before opset 10: asymmetric, rounding down."""
    factors = node.attribute("scales") if scales is None else [float(v) for v in node.known(scales, "scales")]
    axes = [AxisResize(n, math.floor(n * s), s) for n, s in zip(x.shape, factors)]
    return _resized(b, x, axes, node.attribute("mode", "nearest"), "asymmetric", "floor", -0.75, False, False)


@onnx_op("Resize", since=(10,))
def resize_10(b: Emitter, node: Node, x: Tensor, scales: Tensor) -> Tensor:
    """Asymmetric, rounding down."""
    return upsample(b, node, x, scales)


@onnx_op("Resize", since=(11, 13, 18, 19))
def resize(
    b: Emitter,
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """Resize some axes by scales or to sizes, both known."""
    transformation = node.attribute("coordinate_transformation_mode", "half_pixel")
    chosen = [axis % x.rank for axis in node.attribute("axes", range(x.rank))]
    axes = [AxisResize(extent, extent, 1.0) for extent in x.shape]
    outputs, factors = _targets(node, [x.shape[axis] for axis in chosen], scales, sizes)
    regions = [(0.0, 1.0)] * len(chosen)
    if transformation == "tf_crop_and_resize":
        if roi is None:
            raise UnsupportedForm("tf_crop_and_resize without a region", "give the node its roi input")
        bounds = node.known(roi, "roi").astype(np.float64)
        regions = [(float(bounds[i]), float(bounds[len(chosen) + i])) for i in range(len(chosen))]
    for axis, output, factor, region in zip(chosen, outputs, factors, regions):
        axes[axis] = AxisResize(x.shape[axis], output, factor, *region)
    return _resized(
        b,
        x,
        axes,
        node.attribute("mode", "nearest"),
        transformation,
        node.attribute("nearest_mode", "round_prefer_floor"),
        node.attribute("cubic_coeff_a", -0.75),
        bool(node.attribute("exclude_outside", 0)),
        bool(node.attribute("antialias", 0)),
        float(node.attribute("extrapolation_value", 0.0)) if transformation == "tf_crop_and_resize" else None,
    )


def _targets(
    node: Node, extents: Sequence[int], scales: Tensor | None, sizes: Tensor | None
) -> tuple[list[int], list[float]]:
    """Return the output extents and the scales of the chosen axes."""
    if scales is not None and scales.size:
        factors = [float(v) for v in node.known(scales, "scales").reshape(-1)]
        return [math.floor(n * s) for n, s in zip(extents, factors)], factors
    if sizes is None:
        raise UnsupportedForm("neither scales nor sizes", "give the node one of the two")
    outputs = node.known_ints(sizes, "sizes")
    factors = [out / n for out, n in zip(outputs, extents)]
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        factor = min(factors) if policy == "not_larger" else max(factors)
        return [math.floor(factor * n + 0.5) for n in extents], [factor] * len(factors)
    return outputs, factors


def _resized(
    b: Emitter,
    x: Tensor,
    axes: Sequence[AxisResize],
    mode: str,
    transformation: str,
    rounding: str,
    cubic: float,
    exclude_outside: bool,
    antialias: bool,
    outside: float | None = None,
) -> Tensor:
    dtype = x.dtype
    for number, axis in enumerate(axes):
        positions = axis.positions(transformation)
        if axis.extent == axis.output and np.array_equal(positions, np.arange(axis.extent)):
            continue
        if mode == "nearest":
            source = np.clip(_ROUND[rounding](positions), 0, axis.extent - 1).astype(np.int64)
            x = b.gather(x, b.constant(source), number)
        else:
            weights = interpolation(axis, positions, mode, cubic, exclude_outside, antialias)
            x = _along(b, x, number, weights)
        if outside is not None:
            inside = (positions >= 0) & (positions <= axis.extent - 1)
            kept = b.constant(inside.reshape(-1, *[1] * (x.rank - number - 1)))
            x = b.map([kept, x], lambda k, v: k.where(v, outside), x.dtype)
    return b.cast(x, dtype)


def _along(b: Emitter, x: Tensor, axis: int, weights: np.ndarray) -> Tensor:
    """Multiply the elements along ``axis`` by ``weights`` [output, extent]."""
    wide = b.cast(x, "f32") if x.dtype in HALVES or not x.is_float else x
    order = [i for i in range(x.rank) if i != axis] + [axis]
    matrix = b.constant(np.ascontiguousarray(weights.T.astype(numpy_dtype(wide.dtype))), "interpolation")
    last = b.transpose(wide, order)
    flat = b.reshape(last, (last.size // x.shape[axis], x.shape[axis]))
    product = b.reshape(b.matmul(flat, matrix), (*last.shape[:-1], weights.shape[0]))
    return b.transpose(product, [order.index(i) for i in range(x.rank)])


def interpolation(
    axis: AxisResize, positions: np.ndarray, mode: str, cubic: float, exclude_outside: bool, antialias: bool
) -> np.ndarray:
    """Return the weights [output, extent] of linear or cubic interpolation; neighbours outside repeat the
    edge.
    """
    if mode not in ("linear", "cubic"):
        raise UnsupportedForm(f"mode {mode!r}", "use nearest, linear or cubic")
    stretch = max(1.0, 1.0 / axis.scale) if antialias else 1.0
    reach = (1.0 if mode == "linear" else 2.0) * stretch
    weights = np.zeros((axis.output, axis.extent))
    for row, position in enumerate(positions):
        places = np.arange(math.floor(position - reach) + 1, math.ceil(position + reach) + 1)
        distance = np.abs(position - places) / stretch
        values = np.maximum(0.0, 1.0 - distance) if mode == "linear" else _cubic(distance, cubic)
        if exclude_outside or antialias:
            if exclude_outside:
                values = np.where((places >= 0) & (places < axis.extent), values, 0.0)
            values = values / values.sum()
        np.add.at(weights[row], np.clip(places, 0, axis.extent - 1), values)
    return weights


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' convolution kernel (Cubic Convolution Interpolation for Digital Image Processing, 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
