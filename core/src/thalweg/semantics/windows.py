"""The meanings of the windowed ops: convolution and window reductions, of any spatial rank."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np

from thalweg.semantics.precision import EXACT_IN_FLOAT64, FLOAT64, is_float, wrap

COLUMN_BYTES = 1 << 24
"""About how many bytes of unfolded windows a convolution holds at a time."""


def output_extents(
    extents: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_low: Sequence[int],
    pads_high: Sequence[int],
) -> tuple[int, ...]:
    """Return how many window positions there are in each dimension; 0 where the window does not fit."""
    return tuple(
        max(0, (extent + low + high - (size - 1) * dilation - 1) // stride + 1)
        for extent, size, stride, dilation, low, high in zip(
            extents, window, strides, dilations, pads_low, pads_high
        )
    )


def _tap(starts: Sequence[int], counts: Sequence[int], strides: Sequence[int]) -> tuple[slice, ...]:
    """Return what one tap of the window reads at all positions."""
    return tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, counts, strides))


def _padded(x: np.ndarray, low: Sequence[int], high: Sequence[int], value) -> np.ndarray:
    if not any(low) and not any(high):
        return x
    result = np.full([a + n + b for a, n, b in zip(low, x.shape, high)], value, x.dtype)
    result[tuple(slice(a, a + n) for a, n in zip(low, x.shape))] = x
    return result


def conv(
    x: np.ndarray,
    w: np.ndarray,
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_low: Sequence[int],
    pads_high: Sequence[int],
    groups: int,
    dtype: np.dtype | None = None,
) -> np.ndarray:
    """Convolve ``x`` [n, c, spatial…] with ``w`` [o, c/groups, kernel…] → [n, o, out…].

    Floats accumulate in float64; integers are exact and wrap to the result.
    :param dtype: the result's type; that of ``x`` if left out.
    """
    result_dtype = np.dtype(dtype or x.dtype)
    wide = _accumulator(x.dtype, w.dtype, prod(w.shape[1:]), result_dtype)
    counts = output_extents(x.shape[2:], w.shape[2:], strides, dilations, pads_low, pads_high)
    x = _padded(x.astype(wide, copy=False), (0, 0, *pads_low), (0, 0, *pads_high), 0)
    n, o = x.shape[0], w.shape[0]
    x = x.reshape(n, groups, x.shape[1] // groups, *x.shape[2:])
    w = w.astype(wide, copy=False).reshape(groups, o // groups, *w.shape[1:])
    form = _depthwise if w.shape[2] == 1 and groups > 1 else _by_columns
    result = form(x, w, counts, tuple(strides), tuple(dilations)).reshape(n, o, *counts)
    if is_float(result_dtype):
        return result.astype(result_dtype, copy=False)
    return wrap(result.astype(np.int64, copy=False), result_dtype)


def _accumulator(x: np.dtype, w: np.dtype, terms: int, result: np.dtype) -> np.dtype:
    if is_float(x):
        return FLOAT64
    exact = terms << 8 * (x.itemsize + w.itemsize) < EXACT_IN_FLOAT64
    return FLOAT64 if exact else np.dtype(np.int64)


def _depthwise(x: np.ndarray, w: np.ndarray, counts, strides, dilations) -> np.ndarray:
    """One input channel per group: ``x`` [n, g, 1, spatial…], ``w`` [g, m, 1, kernel…]; tap after tap."""
    rank = len(counts)
    result = np.zeros((x.shape[0], w.shape[0], w.shape[1], *counts), x.dtype)
    for tap in product(*(range(extent) for extent in w.shape[3:])):
        part = _tap([t * d for t, d in zip(tap, dilations)], counts, strides)
        weight = w[(slice(None), slice(None), 0, *tap)]
        result += x[(..., *part)] * weight.reshape(*weight.shape, *(1,) * rank)
    return result


def _by_columns(x: np.ndarray, w: np.ndarray, counts, strides, dilations) -> np.ndarray:
    """Unfold windows to columns and multiply: ``x`` [n, g, c, spatial…], ``w`` [g, m, c, kernel…].

    Columns are made for some positions of the first spatial dimension at a time, so memory stays bounded.
    """
    n, groups, channels = x.shape[:3]
    kernel = w.shape[3:]
    rows = w.reshape(groups, w.shape[1], -1)
    result = np.empty((n, groups, w.shape[1], *counts), x.dtype)
    if result.size == 0:
        return result
    per_position = n * groups * channels * prod(kernel) * prod(counts[1:]) * x.itemsize
    step = max(1, COLUMN_BYTES // max(1, per_position))
    for start in range(0, counts[0], step):
        here = (min(step, counts[0] - start), *counts[1:])
        origin = (start * strides[0], *(0,) * (len(counts) - 1))
        columns = np.empty((n, groups, channels, *kernel, *here), x.dtype)
        for tap in product(*(range(extent) for extent in kernel)):
            part = _tap([a + t * d for a, t, d in zip(origin, tap, dilations)], here, strides)
            columns[(slice(None), slice(None), slice(None), *tap)] = x[(..., *part)]
        flat = np.matmul(rows, columns.reshape(n, groups, channels * prod(kernel), prod(here)))
        result[:, :, :, start : start + here[0]] = flat.reshape(n, groups, w.shape[1], *here)
    return result


def reduce_window(
    x: np.ndarray,
    *,
    kind: str,
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads_low: Sequence[int],
    pads_high: Sequence[int],
) -> np.ndarray:
    """Reduce a window over every dimension; a box is separable, so one dimension is done after the other."""
    combine = np.maximum if kind == "max" else np.add
    result = x if kind == "max" else x.astype(_sum_dtype(x.dtype), copy=False)
    padding = least_value(x.dtype) if kind == "max" else 0
    counts = output_extents(x.shape, window, strides, dilations, pads_low, pads_high)
    for axis in range(x.ndim):
        parameters = (window[axis], strides[axis], dilations[axis], pads_low[axis], pads_high[axis])
        if parameters != (1, 1, 1, 0, 0):
            result = _reduce_axis(result, axis, combine, padding, counts[axis], *parameters)
    if kind == "max" or is_float(x.dtype):
        return result.astype(x.dtype, copy=False)
    return wrap(result, x.dtype)


def least_value(dtype: np.dtype):
    """Return the least value of ``dtype``: what max windows are padded with."""
    if is_float(dtype):
        return -np.inf
    return False if dtype == np.bool_ else np.iinfo(dtype).min


def _sum_dtype(dtype: np.dtype) -> np.dtype:
    if is_float(dtype):
        return FLOAT64 if dtype.itemsize >= 4 else np.dtype(np.float32)
    return np.dtype(np.int64)


def _reduce_axis(x, axis, combine, padding, count, window, stride, dilation, low, high) -> np.ndarray:
    before = [0] * x.ndim
    after = list(before)
    before[axis], after[axis] = low, high
    x = np.moveaxis(_padded(x, before, after, padding), axis, -1)
    if count <= window:  # few positions: reduce each window whole
        result = np.empty((*x.shape[:-1], count), x.dtype)
        for position in range(count):
            start = position * stride
            part = x[..., start : start + (window - 1) * dilation + 1 : dilation]
            result[..., position] = combine.reduce(part, axis=-1)
    else:
        (first,) = _tap((0,), (count,), (stride,))
        result = x[..., first].copy()
        for tap in range(1, window):
            (part,) = _tap((tap * dilation,), (count,), (stride,))
            combine(result, x[..., part], out=result)
    return np.moveaxis(result, -1, axis)
