"""A parameter file that is open: its tensors, and their bytes where the file is mapped."""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from thalweg.errors import InvalidArgument, ParameterError, ResourceExhausted

ALIGNMENT = 64
"""Bytes to which the kernel ABI aligns constants; a tensor that lies otherwise in its file is copied once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a parameter file: ``size`` bytes at ``offset``, C-contiguous, little-endian.

    ``dtype`` (``f32``, …) and ``shape`` are ``None`` where the format does not tell them (irpa). ``pattern``:
    what the tensor repeats instead of having bytes in the file. ``refusal``: why it cannot be read, as
    ``has the quantized type Q4_K``; empty if it can.
    """

    name: str
    dtype: str | None
    shape: tuple[int, ...] | None
    offset: int
    size: int
    pattern: bytes = b""
    refusal: str = ""


class ParameterFile:
    """A mapped file and its tensors by name. Programs that share one share its pages and its copies.

    Thread-safe. The file must not change while it is in use.
    """

    def __init__(self, where: str, format_name: str, data: memoryview, tensors: Sequence[StoredTensor]):
        """Take what a reader found.

        :param where: the path, for messages.
        :raises ParameterError: two tensors have one name, or one lies outside the file.
        """
        self.where = where
        self.format = format_name
        self.tensors = MappingProxyType({tensor.name: tensor for tensor in tensors})
        self._data = data
        self._lock = threading.Lock()
        self._copies: dict[str, np.ndarray] = {}
        if len(self.tensors) != len(tensors):
            raise ParameterError(f"{where} is damaged: two tensors have one name")
        for tensor in tensors:
            if not tensor.pattern and tensor.offset + tensor.size > len(data):
                raise ParameterError(
                    f"{where} is truncated or damaged: tensor {tensor.name!r} takes {tensor.size} bytes"
                    f" at byte {tensor.offset}; the file has {len(data)} bytes"
                )

    def content(self, tensor: StoredTensor) -> np.ndarray:
        """Return the bytes (uint8, read-only), aligned for kernels: mapped where they are so in the file.

        :raises ResourceExhausted: no memory for a copy.
        """
        if not tensor.size:
            return _read_only(np.empty(0, np.uint8))
        if not tensor.pattern:
            view = self.mapped(tensor)
            if view.ctypes.data % ALIGNMENT == 0:
                return view
        with self._lock:
            if tensor.name not in self._copies:
                self._copies[tensor.name] = _read_only(self._copy(tensor))
            return self._copies[tensor.name]

    def mapped(self, tensor: StoredTensor) -> np.ndarray:
        """Return the bytes (uint8, read-only) where they lie in the file, whatever their alignment."""
        return np.frombuffer(self._data, np.uint8, tensor.size, tensor.offset)

    def _copy(self, tensor: StoredTensor) -> np.ndarray:
        try:
            memory = np.empty(tensor.size + ALIGNMENT, np.uint8)
        except (MemoryError, ValueError) as error:
            raise ResourceExhausted(
                f"no memory for tensor {tensor.name!r} of {self.where}, {tensor.size} bytes: {error}"
            ) from None
        start = -memory.ctypes.data % ALIGNMENT
        target = memory[start : start + tensor.size]
        if tensor.pattern:
            target.reshape(-1, len(tensor.pattern))[:] = np.frombuffer(tensor.pattern, np.uint8)
        else:
            _log.info("%s: tensor %r is copied: it lies at byte %d", self.where, tensor.name, tensor.offset)
            target[:] = self.mapped(tensor)
        return target


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def map_file(path: str | os.PathLike[str]) -> memoryview:
    """Map a file for reading.

    :raises InvalidArgument: no such file, or it cannot be read. :raises ParameterError: it is empty.
    """
    where = os.fspath(path)
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ParameterError(f"{where} is not a parameter file: it is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise InvalidArgument(f"no such parameter file: {where}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArgument(f"cannot read the parameter file {where}: {reason}") from None
