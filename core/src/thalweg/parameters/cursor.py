"""Reads little-endian records one after the other, never past the end."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

from thalweg.errors import ParameterError

NAME_LIMIT = 4096
"""The longest name of a tensor, in bytes."""


class Cursor:
    """A position in a file's bytes. ``where`` names the file in messages."""

    def __init__(self, data: memoryview, where: str, position: int = 0):
        self.data = data
        self.where = where
        self.position = position

    def fail(self, message: str) -> NoReturn:
        """Raise ``ParameterError`` saying that the file is damaged, and how."""
        raise ParameterError(f"{self.where} is truncated or damaged: {message}")

    def take(self, size: int, what: str) -> memoryview:
        """Return the next ``size`` bytes.

        :raises ParameterError: the file ends before.
        """
        start, end = self.position, self.position + size
        if end > len(self.data):
            self.fail(f"{what} takes {size} bytes at byte {start}; the file has {len(self.data)} bytes")
        self.position = end
        return self.data[start:end]

    def unpack(self, record: struct.Struct, what: str) -> tuple[Any, ...]:
        """Return the fields of the next record."""
        return record.unpack(self.take(record.size, what))

    def text(self, size: int, what: str) -> str:
        """Return the next ``size`` bytes as text.

        :raises ParameterError: more than ``NAME_LIMIT`` bytes, or not UTF-8.
        """
        if size > NAME_LIMIT:
            self.fail(f"{what} of {size} bytes; the limit is {NAME_LIMIT}")
        try:
            return bytes(self.take(size, what)).decode("utf-8")
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8")
