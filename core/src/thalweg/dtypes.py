"""Element types: the names MLIR prints and the NumPy dtypes that hold them in memory.

``i1`` is stored as one byte (0 or 1). Signless integers map to NumPy's signed ones; ``ui8`` and friends are
unsigned.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from thalweg.errors import InvalidArgument

DTYPES: dict[str, np.dtype] = {
    "i1": np.dtype(np.bool_),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "ui8": np.dtype(np.uint8),
    "ui16": np.dtype(np.uint16),
    "ui32": np.dtype(np.uint32),
    "ui64": np.dtype(np.uint64),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
}

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def numpy_dtype(name: str) -> np.dtype:
    """Return the NumPy dtype that stores elements named ``name`` (``f32``, ``i64``, …).

    :raises InvalidArgument: for a name that is not in the table.
    """
    try:
        return DTYPES[name]
    except KeyError:
        raise InvalidArgument(f"no element type named {name!r}; known: {', '.join(DTYPES)}") from None


def dtype_name(dtype: np.dtype | type) -> str:
    """Return the name of a NumPy dtype (``float32`` → ``f32``).

    :raises InvalidArgument: for a dtype that has no name here (complex, object, big-endian).
    """
    try:
        return _NAMES[np.dtype(dtype)]
    except KeyError:
        raise InvalidArgument(
            f"no element type for NumPy dtype {dtype}; known: {', '.join(DTYPES)}"
        ) from None
