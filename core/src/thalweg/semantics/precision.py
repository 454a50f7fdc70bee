"""In which type a result is computed, and how it gets back to its own: shared by all meanings."""

from __future__ import annotations

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16 = np.dtype(np.float16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
"""Also the type in which sums of products (matmul, conv) accumulate: rounded once at the end, a sum does not
depend on the order in which BLAS adds, so equal rows and columns give equal results on every machine."""

FLOATS = frozenset({BFLOAT16, FLOAT16, FLOAT32, FLOAT64})

EXACT_IN_FLOAT64 = 2**53
"""Integers up to this magnitude are exact in float64."""


def is_float(dtype: np.dtype) -> bool:
    """Return whether ``dtype`` is one of the float types, bfloat16 among them."""
    return np.dtype(dtype) in FLOATS


def stored(value: float | int, dtype: np.dtype) -> float | int:
    """Return a scalar as ``dtype`` holds it; integers modulo 2**bits."""
    if dtype == np.bool_:
        return bool(value)
    if dtype.kind in "iu":
        bits = np.array(int(value) & (1 << dtype.itemsize * 8) - 1, f"u{dtype.itemsize}")
        return bits.view(dtype).item()
    return float(np.float64(value).astype(dtype))


def wrap(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return integers reduced modulo 2**bits to ``dtype`` (``i1``: the lowest bit)."""
    if np.dtype(dtype) == np.bool_:
        return (values & 1).astype(np.bool_)
    return values.astype(dtype)
