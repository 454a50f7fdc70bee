"""The meaning of each ``tw`` op but the windowed ones (see ``windows``)."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from thalweg.errors import OutOfRange
from thalweg.semantics.precision import EXACT_IN_FLOAT64, FLOAT64, is_float, stored, wrap
from thalweg.semantics.windows import conv, reduce_window


def integer_product_dtype(a: np.dtype, b: np.dtype, terms: int) -> np.dtype:
    """Return float64 (and so BLAS) where sums of ``terms`` integer products are exact in it, else int64."""
    bits = 8 * (np.dtype(a).itemsize + np.dtype(b).itemsize)
    return FLOAT64 if terms << bits < EXACT_IN_FLOAT64 else np.dtype(np.int64)


def matmul(a: np.ndarray, b: np.ndarray, *, dtype: np.dtype | None = None) -> np.ndarray:
    """Multiply ``a`` [..., m, k] by ``b`` [..., k, n]; leading dimensions broadcast.

    :param dtype: the result's type; that of ``a`` if left out. Integers wrap to it.
    """
    result = np.dtype(dtype or a.dtype)
    if is_float(a.dtype):
        return np.matmul(a.astype(FLOAT64), b.astype(FLOAT64)).astype(result)
    wide = integer_product_dtype(a.dtype, b.dtype, a.shape[-1])
    product = np.matmul(a.astype(wide), b.astype(wide))
    return wrap(product.astype(np.int64, copy=False), result)


def softmax(x: np.ndarray, *, axis: int) -> np.ndarray:
    """Return ``exp(x - max) / sum(exp(x - max))`` along ``axis``."""
    wide = x.astype(FLOAT64)
    wide -= np.max(wide, axis=axis, keepdims=True, initial=-np.inf)
    np.exp(wide, out=wide)
    wide /= np.sum(wide, axis=axis, keepdims=True)
    return wide.astype(x.dtype)


def layer_norm(
    x: np.ndarray, scale: np.ndarray, bias: np.ndarray, *, axis: int, epsilon: float
) -> np.ndarray:
    """Normalize over the dimensions from ``axis`` on, then scale and shift; ``scale`` has their shape."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    wide = x.astype(FLOAT64)
    wide -= np.mean(wide, axis=axes, keepdims=True)
    wide /= np.sqrt(np.mean(np.square(wide), axis=axes, keepdims=True) + epsilon)
    wide *= scale.astype(FLOAT64)
    wide += bias.astype(FLOAT64)
    return wide.astype(x.dtype)


def gather(data: np.ndarray, indices: np.ndarray, *, axis: int) -> np.ndarray:
    """Take slices of ``data`` along ``axis``; a negative index counts from the end.

    :raises OutOfRange: naming the first index outside the dimension.
    """
    extent = data.shape[axis]
    outside = (indices < -extent) | (indices >= extent)
    if outside.any():
        raise OutOfRange(f"gather index {int(indices[outside].flat[0])} is outside a dimension of {extent}")
    return np.take(data, np.where(indices < 0, indices + extent, indices), axis=axis)


def concat(*inputs: np.ndarray, axis: int) -> np.ndarray:
    """Concatenate along ``axis``."""
    return np.concatenate(inputs, axis=axis)


def slice(
    x: np.ndarray, *, offsets: Sequence[int], strides: Sequence[int], shape: Sequence[int]
) -> np.ndarray:
    """View ``x[offset : offset + size·stride : stride]`` in every dimension, ``size`` from ``shape``."""
    return x[tuple(_part(*entry) for entry in zip(offsets, shape, strides))]


def _part(offset: int, size: int, stride: int) -> builtins.slice:
    if size == 0:
        return builtins.slice(0, 0)
    stop = offset + (size - 1) * stride + (1 if stride > 0 else -1)
    return builtins.slice(offset, None if stop < 0 else stop, stride)


def pad(x: np.ndarray, *, low: Sequence[int], high: Sequence[int], value: float | int) -> np.ndarray:
    """Add ``low`` and ``high`` elements of ``value`` around each dimension."""
    result = np.full([a + n + b for a, n, b in zip(low, x.shape, high)], value, x.dtype)
    result[tuple(builtins.slice(a, a + n) for a, n in zip(low, x.shape))] = x
    return result


def reshape(x: np.ndarray, *, shape: Sequence[int]) -> np.ndarray:
    """Reshape, row-major."""
    return x.reshape(tuple(shape))


def splat(*, value: float | int, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Return a read-only view of one repeated value; an integer is taken modulo 2**bits."""
    return np.broadcast_to(np.asarray(stored(value, np.dtype(dtype)), dtype), tuple(shape))


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "matmul": matmul,
    "conv": conv,
    "reduce_window": reduce_window,
    "softmax": softmax,
    "layer_norm": layer_norm,
    "gather": gather,
    "concat": concat,
    "slice": slice,
    "pad": pad,
    "reshape": reshape,
    "splat": splat,
}
"""Name of a ``tw`` op, without the dialect → its meaning."""

_TAKES_SHAPE = frozenset({"slice", "reshape", "splat"})
_TAKES_DTYPE = frozenset({"matmul", "conv", "splat"})


def evaluate_structured(
    name: str,
    operands: Sequence[np.ndarray],
    parameters: Mapping[str, Any],
    shape: Sequence[int],
    dtype: np.dtype,
) -> np.ndarray:
    """Evaluate the ``tw`` op ``name``.

    :param parameters: as ``StructuredOp.parameters()`` gives them.
    :param shape: the result's shape; :param dtype: its type.
    """
    more: dict[str, Any] = {}
    if name in _TAKES_SHAPE:
        more["shape"] = tuple(shape)
    if name in _TAKES_DTYPE:
        more["dtype"] = np.dtype(dtype)
    with np.errstate(all="ignore"):  # infinities and NaN are values
        return np.asarray(OPERATIONS[name](*operands, **parameters, **more))
