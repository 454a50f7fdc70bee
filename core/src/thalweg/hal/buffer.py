"""Buffers and allocators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from thalweg.errors import NotSupported, OutOfRange, PermissionDenied
from thalweg.hal.types import WHOLE_BUFFER, BufferParams, BufferUsage, MemoryAccess, MemoryType


class Buffer(ABC):
    """A range of a device's memory.

    ``size`` is in bytes. ``memory_type``, ``usage`` and ``access`` are what the allocation has.
    """

    size: int
    memory_type: MemoryType
    usage: BufferUsage
    access: MemoryAccess

    @abstractmethod
    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        """Return a view of the bytes (format ``B``), writable if ``access`` has WRITE; valid while it is
        referenced.

        :raises NotSupported: the memory is not host-visible.
        :raises PermissionDenied: the buffer lacks that access.
        :raises OutOfRange: the range is outside the buffer.
        """

    @property
    def host_address(self) -> int:
        """The first byte's host address (capability ``host-addressable``)."""
        raise NotSupported("host-addressable")

    def resolve_range(self, offset: int, length: int) -> tuple[int, int]:
        """Return (offset, length) with ``WHOLE_BUFFER`` resolved.

        :raises OutOfRange: the range is outside the buffer.
        """
        if length == WHOLE_BUFFER:
            length = self.size - offset
        if offset < 0 or length < 0 or offset + length > self.size:
            raise OutOfRange(f"range [{offset}, {offset + length}) is outside a buffer of {self.size} bytes")
        return offset, length

    def require(self, usage: BufferUsage | None = None, access: MemoryAccess | None = None) -> None:
        """Check that the buffer allows a use.

        :raises PermissionDenied: naming what was asked and what the buffer has.
        """
        if usage is not None and usage not in self.usage:
            raise PermissionDenied(f"buffer used as {usage.name} but allocated for {self.usage}")
        if access is not None and access not in self.access:
            raise PermissionDenied(f"buffer accessed for {access.name} but allows {self.access}")


class Allocator(ABC):
    """Makes buffers."""

    @abstractmethod
    def allocate(self, size: int, params: BufferParams = BufferParams()) -> Buffer:
        """Allocate ``size`` bytes (0 is legal). The content is undefined.

        :raises ResourceExhausted: not enough memory; the message says how much was asked for.
        """

    def import_host(self, memory: Any, params: BufferParams = BufferParams()) -> Buffer:
        """Make a buffer over host memory (a C-contiguous object with the buffer protocol), without a copy.

        The buffer keeps ``memory`` alive. A read-only object gives a buffer without WRITE access.
        :raises NotSupported: capability ``import-host``.
        """
        raise NotSupported("import-host")

    def statistics(self) -> dict[str, int]:
        """Return ``bytes_allocated``, ``bytes_freed``, ``bytes_peak`` and ``live_buffers``."""
        raise NotSupported("allocator-statistics")
