"""DLPack in and out, through NumPy; with bfloat16, which NumPy's own DLPack does not know.

The source of the structures is DLPack's ``dlpack.h``, version 1.0.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

CPU = (1, 0)
"""``kDLCPU``, device 0."""

EXTENSION = (12, 0)
"""``kDLExtDev``: a device that DLPack has no number for."""

_UINT, _BFLOAT = 1, 4
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_NUMPY_HAS_VERSIONS = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


class _Tensor(ctypes.Structure):
    """``DLTensor``."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


_TENSOR_OFFSETS = {b"dltensor": 0, b"dltensor_versioned": 32}
"""A capsule's name → where its managed tensor has the ``DLTensor`` (64-bit machines)."""

_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype = ctypes.c_char_p
_capsule_name.argtypes = [ctypes.py_object]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _tensor(capsule: Any) -> _Tensor:
    name = _capsule_name(capsule)
    if name not in _TENSOR_OFFSETS:
        raise BufferError(f"not a fresh DLPack capsule: {name!r}")
    return _Tensor.from_address(_capsule_pointer(capsule, name) + _TENSOR_OFFSETS[name])


class _CapsuleHolder:
    """An object that gives a capsule away, once."""

    def __init__(self, capsule: Any):
        self._capsule = capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule


def import_array(value: Any) -> np.ndarray:
    """Return a NumPy array over the memory of an object with ``__dlpack__``.

    :raises BufferError: its memory is not the host's, or its dtype has no equal in NumPy or ml_dtypes.
    """
    device = tuple(value.__dlpack_device__())
    if device[0] != CPU[0]:
        raise BufferError(f"it lies on DLPack device {device}, not in host memory")
    capsule = _ask(value)
    tensor = _tensor(capsule)
    bfloat16 = (tensor.code, tensor.bits, tensor.lanes) == (_BFLOAT, 16, 1)
    if bfloat16:
        tensor.code = _UINT  # the capsule is ours now, and NumPy reads 16-bit integers
    array = np.from_dlpack(_CapsuleHolder(capsule))
    return array.view(_BFLOAT16) if bfloat16 else array


def _ask(value: Any) -> Any:
    if _NUMPY_HAS_VERSIONS:
        try:
            return value.__dlpack__(max_version=(1, 0))  # says so if memory is read-only
        except TypeError:  # a producer of DLPack 0
            pass
    return value.__dlpack__()


def export_array(array: np.ndarray, stream: Any, max_version: tuple[int, int] | None) -> Any:
    """Return a capsule over a NumPy array's memory, which it keeps alive."""
    settings: dict[str, Any] = {} if stream is None else {"stream": stream}
    if max_version is not None and _NUMPY_HAS_VERSIONS:
        settings["max_version"] = max_version  # an older NumPy makes a capsule of DLPack 0, which all read
    if array.dtype != _BFLOAT16:
        return array.__dlpack__(**settings)
    capsule = array.view(np.uint16).__dlpack__(**settings)
    _tensor(capsule).code = _BFLOAT
    return capsule
