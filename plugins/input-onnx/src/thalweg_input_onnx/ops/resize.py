"""Resizing: each axis is a gather (nearest) or a product with a matrix of interpolation weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from thalweg.dtypes import numpy_dtype
from thalweg.extents import Extent, UnknownOrder, is_static, static

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import HALVES, Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.ops.dynamic_resize import resize_dynamic, scaled
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.tensor import Tensor


@dataclass(frozen=True)
class AxisResize:
    """One axis: from ``extent`` to ``output`` elements by ``scale``; ``start``, ``end`` are its region of
    interest. No scale is what the two extents make.
    """

    extent: Extent
    output: Extent
    scale: float | None
    start: float = 0.0
    end: float = 1.0

    def positions(self, mode: str) -> np.ndarray:
        """Where each output element lies on the input axis (``coordinate_transformation_mode``)."""
        extent, output = static((self.extent, self.output))
        scale = output / extent if self.scale is None else self.scale
        i = np.arange(output, dtype=np.float64)
        last = extent - 1
        if mode == "half_pixel":
            return (i + 0.5) / scale - 0.5
        if mode == "half_pixel_symmetric":
            adjustment = output / (scale * extent)
            return extent / 2 * (1 - adjustment) + (i + 0.5) / scale - 0.5
        if mode == "pytorch_half_pixel":
            return (i + 0.5) / scale - 0.5 if output > 1 else np.zeros(1)
        if mode == "align_corners":
            return i * last / (output - 1) if output > 1 else np.zeros(1)
        if mode == "tf_crop_and_resize":
            if output == 1:
                return np.full(1, 0.5 * (self.start + self.end) * last)
            return self.start * last + i * (self.end - self.start) * last / (output - 1)
        if mode == "tf_half_pixel_for_nn":
            return (i + 0.5) / scale
        return i / scale


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
    axes = [AxisResize(n, _scaled(n, s), s) for n, s in zip(x.shape, factors)]
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
    node: Node, extents: Sequence[Extent], scales: Tensor | None, sizes: Tensor | None
) -> tuple[list[Extent], list[float | None]]:
    """Return the output extents and the scales of the chosen axes."""
    if scales is not None and scales.size:
        given = [float(v) for v in node.known(scales, "scales").reshape(-1)]
        return [_scaled(n, s) for n, s in zip(extents, given)], list(given)
    if sizes is None:
        raise UnsupportedForm("neither scales nor sizes", "give the node one of the two")
    outputs = node.known_extents(sizes, "sizes")
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        old = static(extents)
        factors = [out / n for out, n in zip(static(outputs), old)]
        factor = min(factors) if policy == "not_larger" else max(factors)
        return [math.floor(factor * n + 0.5) for n in old], [factor] * len(factors)
    return outputs, [None] * len(outputs)


def _scaled(extent: Extent, scale: float) -> Extent:
    return math.floor(extent * scale) if isinstance(extent, int) else scaled(extent, scale)


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
        if not is_static((axis.extent, axis.output)):
            x = _resized_dynamic(b, x, number, axis, mode, transformation, rounding, antialias)
            continue
        positions = axis.positions(transformation)
        (extent,) = static([axis.extent])
        if axis.extent == axis.output and np.array_equal(positions, np.arange(extent)):
            continue
        if mode == "nearest":
            source = np.clip(_ROUND[rounding](positions), 0, extent - 1).astype(np.int64)
            x = b.gather(x, b.constant(source), number)
        else:
            weights = interpolation(axis, positions, mode, cubic, exclude_outside, antialias)
            x = _along(b, x, number, weights)
        if outside is not None:
            inside = (positions >= 0) & (positions <= extent - 1)
            kept = b.constant(inside.reshape(-1, *[1] * (x.rank - number - 1)))
            x = b.map([kept, x], lambda k, v: k.where(v, outside), x.dtype)
    return b.cast(x, dtype)


def _resized_dynamic(
    b: Emitter, x: Tensor, number: int, axis: AxisResize, mode: str, transformation: str, rounding: str,
    antialias: bool,
) -> Tensor:  # fmt: skip
    if axis.extent == axis.output and axis.scale in (None, 1.0) and transformation != "tf_crop_and_resize":
        return x
    if antialias and (axis.scale is None or axis.scale < 1.0):
        raise UnknownOrder(f"antialias from {axis.extent} to {axis.output} elements")
    return resize_dynamic(b, x, number, axis.output, axis.scale, mode, transformation, rounding)


def _along(b: Emitter, x: Tensor, axis: int, weights: np.ndarray) -> Tensor:
    """Multiply the elements along ``axis`` by ``weights`` [output, extent]."""
    wide = b.cast(x, "f32") if x.dtype in HALVES or not x.is_float else x
    order = [i for i in range(x.rank) if i != axis] + [axis]
    matrix = b.constant(np.ascontiguousarray(weights.T.astype(numpy_dtype(wide.dtype))), "interpolation")
    last = b.transpose(wide, order)
    flat = b.reshape(last, (prod(last.shape[:-1]), x.shape[axis]))
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
    extent, output = static((axis.extent, axis.output))
    scale = output / extent if axis.scale is None else axis.scale
    stretch = max(1.0, 1.0 / scale) if antialias else 1.0
    reach = (1.0 if mode == "linear" else 2.0) * stretch
    weights = np.zeros((output, extent))
    for row, position in enumerate(positions):
        places = np.arange(math.floor(position - reach) + 1, math.ceil(position + reach) + 1)
        distance = np.abs(position - places) / stretch
        values = np.maximum(0.0, 1.0 - distance) if mode == "linear" else _cubic(distance, cubic)
        if exclude_outside or antialias:
            if exclude_outside:
                values = np.where((places >= 0) & (places < extent), values, 0.0)
            values = values / values.sum()
        np.add.at(weights[row], np.clip(places, 0, extent - 1), values)
    return weights


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' convolution kernel (Cubic Convolution Interpolation for Digital Image Processing, 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
