"""Tensors in files: chains of ``.npy`` arrays and raw bytes, read or written piece by piece."""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.errors import InvalidArgument
from thalweg.tools.tensor_text import TensorType


class TensorReader:
    """Files opened for reading; each keeps its place, so that ``+FILE`` goes on where the last read ended.

    A context manager: closes what it opened.
    """

    def __init__(self) -> None:
        self._streams: dict[str, BinaryIO] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read_array(self, path: str, *, restart: bool) -> np.ndarray:
        """Return the next array of a ``.npy`` file, or its first with ``restart``.

        :raises InvalidArgument: no such file, not a ``.npy`` file, or no array left.
        """
        stream = self._open(path, restart)
        if self._at_end(stream):
            raise InvalidArgument(f"{path} holds no further array")
        try:
            return np.lib.format.read_array(stream, allow_pickle=False)
        except (ValueError, EOFError, SyntaxError) as error:
            raise InvalidArgument(f"{path} is not a .npy file of numbers: {error}") from error

    def read_remaining(self, path: str) -> list[np.ndarray]:
        """Return all arrays of a ``.npy`` file that were not read yet.

        :raises InvalidArgument: see ``read_array``.
        """
        arrays = []
        stream = self._open(path, restart=False)
        while not self._at_end(stream):
            arrays.append(self.read_array(path, restart=False))
        return arrays

    def read_raw(self, path: str, tensor_type: TensorType, *, restart: bool) -> np.ndarray:
        """Return the next bytes of a file as a tensor, or its first with ``restart``.

        :raises InvalidArgument: no such file, or too few bytes left.
        """
        stream = self._open(path, restart)
        data = stream.read(tensor_type.nbytes)
        if len(data) != tensor_type.nbytes:
            raise InvalidArgument(
                f"{path} has {len(data)} bytes left; a {tensor_type} takes {tensor_type.nbytes}"
            )
        return np.frombuffer(bytearray(data), numpy_dtype(tensor_type.dtype)).reshape(tensor_type.shape)

    def _open(self, path: str, restart: bool) -> BinaryIO:
        if path not in self._streams:
            try:
                stream = open(path, "rb")  # noqa: SIM115  (closed with the stack)
                self._streams[path] = self._stack.enter_context(stream)
            except OSError as error:
                raise InvalidArgument(f"cannot read {path}: {error.strerror}") from error
        if restart:
            self._streams[path].seek(0)
        return self._streams[path]

    @staticmethod
    def _at_end(stream: BinaryIO) -> bool:
        return stream.tell() == os.fstat(stream.fileno()).st_size


def check_writable(path: str) -> None:
    """Check, before any work, that a file can be written.

    :raises InvalidArgument: it cannot; says why.
    """
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise InvalidArgument(f"cannot write {path!r}: it is a folder")
    if not os.path.isdir(folder):
        raise InvalidArgument(f"cannot write {path!r}: there is no folder {folder!r}")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise InvalidArgument(f"cannot write {path!r}: permission denied")


def write_array(path: str, array: np.ndarray, *, append: bool) -> None:
    """Write ``array`` to a ``.npy`` file, or as raw bytes to any other.

    :param append: after what the file holds, instead of replacing it.
    :raises InvalidArgument: the file cannot be written.
    """
    check_writable(path)
    with open(path, "ab" if append else "wb") as stream:
        if path.endswith(".npy"):
            np.save(stream, array, allow_pickle=False)
        else:
            stream.write(np.ascontiguousarray(array).tobytes())
