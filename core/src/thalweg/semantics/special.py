"""Special functions that NumPy lacks, in float64."""

from __future__ import annotations

from math import factorial, pi, sqrt

import numpy as np

_SERIES = [2 / sqrt(pi) * (-1) ** n / (factorial(n) * (2 * n + 1)) for n in range(19)]
"""erf(x)/x in powers of x², the Maclaurin series (DLMF 7.6.1): complete in float64 for |x| ≤ 1."""

_SCALED = (
    0.17900115118138904,
    -0.32623356004299353,
    0.2456038017129068,
    -0.15011593650722868,
    0.07166583713720745,
    -0.02439249907947617,
    0.004269138669177822,
    0.0007077441091475741,
    -0.000597101956119289,
    4.523283241798151e-05,
    6.435829107072543e-05,
    -1.237257768041241e-05,
    -8.655549185206172e-06,
)
"""erfc(x)·exp(x²) in powers of (x - 3)/(x + 3) for 1 ≤ x ≤ 6: Chebyshev interpolation of ``math.erfc``."""

_BLOCK = 1 << 14


def _horner(coefficients, x: np.ndarray) -> np.ndarray:
    result = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result *= x
        result += coefficient
    return result


def _erf_block(x: np.ndarray) -> np.ndarray:
    magnitude = np.minimum(np.abs(x), 6.0)
    result = magnitude * _horner(_SERIES, np.minimum(magnitude, 1.0) ** 2)
    large = magnitude > 1.0
    if large.any():
        y = magnitude[large]
        result[large] = 1.0 - _horner(_SCALED, (y - 3.0) / (y + 3.0)) * np.exp(-y * y)
    return np.copysign(result, x)


def erf(x: np.ndarray) -> np.ndarray:
    """Return the error function of a float64 array, to a few units in the last place; NaN stays NaN."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    result = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):  # blocks that stay in the cache
        result[start : start + _BLOCK] = _erf_block(flat[start : start + _BLOCK])
    return result.reshape(np.shape(x))
