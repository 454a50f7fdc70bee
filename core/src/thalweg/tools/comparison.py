"""Compare a result with what was expected of it, and say where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from thalweg.dtypes import dtype_name
from thalweg.tools.tensor_text import TensorType, format_tensor

DEFAULT_THRESHOLDS: Mapping[str, float] = {"f16": 1e-3, "f32": 1e-4, "f64": 1e-4, "bf16": 1e-2}
"""Element type → the largest absolute difference that passes."""


@dataclass(frozen=True)
class Tolerance:
    """A float passes if it differs by at most its type's threshold plus ``rtol`` times the expected value.

    ``exact`` asks for equality. A NaN equals a NaN. Integers are compared exactly always.
    """

    thresholds: Mapping[str, float] = field(default_factory=lambda: DEFAULT_THRESHOLDS)
    rtol: float = 1e-5
    exact: bool = False


def mismatch(actual: np.ndarray, expected: np.ndarray, tolerance: Tolerance) -> str | None:
    """Return where ``actual`` is not as ``expected``, or ``None`` if it is."""
    actual_type = TensorType(actual.shape, dtype_name(actual.dtype))
    expected_type = TensorType(expected.shape, dtype_name(expected.dtype))
    if actual_type != expected_type:
        return f"its type {actual_type} does not match the expected {expected_type}"
    wrong = np.flatnonzero(~_matches(actual, expected, tolerance, actual_type.dtype))
    if not wrong.size:
        return None
    index = int(wrong[0])
    found, wanted = _element(actual, index), _element(expected, index)
    return (
        f"element at index {index} ({found}) does not match the expected ({wanted});"
        f" {wrong.size} of {actual.size} elements differ"
    )


def _matches(actual: np.ndarray, expected: np.ndarray, tolerance: Tolerance, dtype: str) -> np.ndarray:
    if dtype not in tolerance.thresholds:
        return (actual == expected).reshape(-1)
    a, e = actual.astype(np.float64).reshape(-1), expected.astype(np.float64).reshape(-1)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    if tolerance.exact:
        return same
    limit = tolerance.thresholds[dtype] + tolerance.rtol * np.abs(e)
    with np.errstate(invalid="ignore"):  # inf - inf; the equal ones have passed already
        return same | (np.isfinite(e) & (np.abs(a - e) <= limit))


def _element(array: np.ndarray, index: int) -> str:
    return format_tensor(array.reshape(-1)[index]).partition("=")[2]
