"""Faults of allocators and mappings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from thalweg.hal.host_memory import HostAllocator, HostBuffer
from thalweg.hal.types import (
    WHOLE_BUFFER,
    BufferParams,
    BufferUsage,
    MemoryAccess,
)

# Allocators


class OverlappingAllocator(HostAllocator):
    """Every buffer starts in the last bytes of the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self._pool = np.zeros(1 << 23, np.uint8)
        self._next = 0

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        if self._next + size > self._pool.size:
            return super().allocate(size, params)
        start, self._next = self._next, self._next + max(size - 8, 0)
        return HostBuffer(self._pool[start : start + size], params.usage, params.access)


class RoundingAllocator(HostAllocator):
    """A buffer has the size that the memory manager found handy."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        return super().allocate(-(-size // 64) * 64, params)


class PermissiveAllocator(HostAllocator):
    """A buffer may be used for everything, whatever it was asked for."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        return super().allocate(size, replace(params, usage=BufferUsage.DEFAULT | BufferUsage.MAPPING))


class MisaligningAllocator(HostAllocator):
    """A buffer starts 4 bytes past the alignment."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        memory = np.empty(size + 2 * params.alignment, np.uint8)
        start = -int(memory.__array_interface__["data"][0]) % params.alignment + 4
        return HostBuffer(memory[start : start + size], params.usage, params.access)


class LeakingAllocator(HostAllocator):
    """Every buffer is remembered for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._remembered: list[HostBuffer] = []

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        buffer = super().allocate(size, params)
        self._remembered.append(buffer)
        return buffer


class CopyingAllocator(HostAllocator):
    """Imported memory is copied."""

    def import_host(self, memory: object, params: BufferParams = BufferParams()) -> HostBuffer:
        return super().import_host(np.frombuffer(memory, np.uint8).copy(), params)  # type: ignore[call-overload]  # whatever has the buffer protocol


class AbruptAllocator(HostAllocator):
    """What does not fit ends in Python's own error."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        if size > 1 << 40:
            raise MemoryError(f"{size} bytes")
        return super().allocate(size, params)


class BufferAllocator(HostAllocator):
    """Makes buffers of ``buffer_class``."""

    buffer_class: type[HostBuffer] = HostBuffer

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        memory = np.empty(size, np.uint8)
        return self.buffer_class(memory, params.usage, params.access)


# Mappings


class MapsFromTheStart(HostBuffer):
    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        offset, length = self.resolve_range(offset, length)
        return super().map(access, 0, length)


class MapsWritably(HostBuffer):
    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        super().map(access, offset, length)
        return super().map(MemoryAccess.ALL, offset, length)


class MapsSnapshots(HostBuffer):
    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        view = super().map(access, offset, length)
        return view if MemoryAccess.WRITE in access else memoryview(bytes(view))


class MapsWithoutAsking(HostBuffer):
    def require(self, usage: BufferUsage | None = None, access: MemoryAccess | None = None) -> None:
        super().require(None if usage is BufferUsage.MAPPING else usage, None if usage else access)
