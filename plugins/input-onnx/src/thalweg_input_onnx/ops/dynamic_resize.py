"""Resizing along a dimension that is known at the call only: source places and shares are computed for each
output element.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from thalweg.extents import Extent, UnknownOrder, floor_divide

from thalweg_input_onnx.emitter import HALVES, Emitter
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor

MAX_DENOMINATOR = 64


def scaled(extent: Extent, scale: float) -> Extent:
    """Return ``floor(extent * scale)``.

    :raises UnknownOrder: the extent is dynamic, and the scale no fraction that floats hold exactly.
    """
    ratio = Fraction(scale)
    if ratio.denominator > MAX_DENOMINATOR and not isinstance(extent, int):
        raise UnknownOrder(f"{extent} scaled by {scale}, which is no multiple of 1/{MAX_DENOMINATOR}")
    return floor_divide(extent * ratio.numerator, ratio.denominator)


def resize_dynamic(
    b: Emitter, x: Tensor, axis: int, output: Extent, scale: float | None, mode: str, transformation: str,
    rounding: str,
) -> Tensor:  # fmt: skip
    """Resize one dimension to ``output`` elements, by ``scale`` (by what the two extents make, if left out).

    :raises UnknownOrder: a mode that is made for static dimensions only.
    """
    extent = x.shape[axis]
    if mode not in ("nearest", "linear"):
        raise UnknownOrder(f"mode {mode!r} over {extent} elements; nearest and linear take any number")

    def position(index, v: Scalar) -> Scalar:
        i = index(0).cast("f64")
        size, count = i.extent(extent), i.extent(output)
        factor = count / size if scale is None else i.like(scale)
        return _position(i, size, count, factor, transformation)

    def at(offset: int) -> Tensor:
        """The elements at the rounded-down place, or one after it, within the dimension."""

        def place(index, v: Scalar) -> Scalar:
            place = _rounded(position(index, v), "floor" if mode == "linear" else rounding).cast("i64")
            return (place + offset).maximum(0).minimum(extent - 1)

        return b.gather(x, b.map_indexed([zeros], place, "i64"), axis)

    zeros = b.full((output,), np.zeros((), np.int64))
    if mode == "nearest":
        return at(0)
    wide = "f64" if x.dtype == "f64" else "f32"

    def share(index, v: Scalar) -> Scalar:
        exact = position(index, v)
        return exact - exact.floor()

    shares = b.map_indexed([zeros], share, wide)
    spread = b.reshape(shares, (output, *[1] * (x.rank - axis - 1)))
    near, far = (b.cast(v, wide) if v.dtype in HALVES or not v.is_float else v for v in (at(0), at(1)))
    return b.map([near, far, spread], lambda n, f, s: n * (1.0 - s) + f * s)


def _position(i: Scalar, size: Scalar, count: Scalar, scale: Scalar, transformation: str) -> Scalar:
    """Where output element ``i`` lies on the input's axis (``coordinate_transformation_mode``)."""
    if transformation == "half_pixel":
        return (i + 0.5) / scale - 0.5
    if transformation == "half_pixel_symmetric":
        adjustment = count / (scale * size)
        return size / 2.0 * (1.0 - adjustment) + (i + 0.5) / scale - 0.5
    if transformation == "pytorch_half_pixel":
        return (count > 1.0).where((i + 0.5) / scale - 0.5, 0.0)
    if transformation == "align_corners":
        return (count > 1.0).where(i * (size - 1.0) / (count - 1.0).maximum(1.0), 0.0)
    if transformation == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if transformation == "asymmetric":
        return i / scale
    raise UnknownOrder(f"coordinates by {transformation!r}, which are made for numbers only")


def _rounded(position: Scalar, rounding: str) -> Scalar:
    if rounding == "round_prefer_floor":
        return (position - 0.5).ceil()
    if rounding == "round_prefer_ceil":
        return (position + 0.5).floor()
    return position.ceil() if rounding == "ceil" else position.floor()
