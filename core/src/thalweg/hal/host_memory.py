"""Buffers and an allocator in host memory, for every device that computes where the host's memory is."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np

from thalweg.errors import InvalidArgument, PermissionDenied, ResourceExhausted
from thalweg.hal.buffer import Allocator, Buffer
from thalweg.hal.types import WHOLE_BUFFER, BufferParams, BufferUsage, MemoryAccess, MemoryType

HOST_MEMORY_TYPE = MemoryType.HOST_LOCAL | MemoryType.DEVICE_LOCAL | MemoryType.DEVICE_VISIBLE
"""What host memory is to a device that lives in it."""

MINIMUM_ALIGNMENT = 64
"""Bytes; the kernel ABI's alignment of constants and of the transient arena."""


class HostBuffer(Buffer):
    """Host memory as a buffer. ``memory`` is a uint8 array that owns, or keeps alive, the bytes."""

    memory_type = HOST_MEMORY_TYPE

    def __init__(
        self,
        memory: np.ndarray,
        usage: BufferUsage,
        access: MemoryAccess,
        released: deque[int] | None = None,
    ):
        self._memory = memory
        self._address = int(memory.__array_interface__["data"][0])
        self._released = released
        self.size = memory.nbytes
        self.usage = usage
        self.access = access

    def __del__(self) -> None:
        """Tell the allocator; appending to a deque is safe from whatever thread the collector runs on."""
        released = getattr(self, "_released", None)
        if released is not None:
            released.append(self.size)

    @property
    def host_address(self) -> int:
        """The first byte's address; valid while the buffer lives."""
        return self._address

    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        """Return a view of the bytes; see ``Buffer.map``. Asks for the usage ``MAPPING``."""
        self.require(BufferUsage.MAPPING, access)
        offset, length = self.resolve_range(offset, length)
        view = self._memory.data[offset : offset + length]
        return view if MemoryAccess.WRITE in access else view.toreadonly()


class HostAllocator(Allocator):
    """Allocates host memory aligned to 64 bytes or more. Thread-safe.

    :param capacity: the most bytes that may live at once; ``None``: what the machine gives.
    """

    def __init__(self, capacity: int | None = None):
        self._capacity = capacity
        self._lock = threading.Lock()
        self._released: deque[int] = deque()
        self._allocated = self._freed = self._peak = 0
        self._live = 0

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        """Allocate ``size`` bytes; see ``Allocator.allocate``."""
        if size < 0:
            raise InvalidArgument(f"a buffer of {size} bytes")
        alignment = max(params.alignment, MINIMUM_ALIGNMENT)
        if alignment & (alignment - 1):
            raise InvalidArgument(f"a buffer's alignment is a power of two; got {params.alignment}")
        self._reserve(size)
        try:
            block = np.empty(size + alignment, np.uint8)
        except (MemoryError, ValueError, OverflowError) as error:
            self._released.append(size)
            raise ResourceExhausted(f"no host memory for a buffer of {size} bytes: {error}") from None
        start = -int(block.__array_interface__["data"][0]) % alignment
        return HostBuffer(block[start : start + size], params.usage, params.access, self._released)

    def import_host(self, memory: Any, params: BufferParams = BufferParams()) -> HostBuffer:
        """Make a buffer over ``memory`` without a copy; see ``Allocator.import_host``.

        :raises InvalidArgument: the object has no buffer protocol or is not C-contiguous.
        :raises PermissionDenied: WRITE access was asked for alone, of a read-only object.
        """
        array = _as_bytes(memory)
        access = params.access
        if not array.flags.writeable:
            access &= ~MemoryAccess.WRITE
            if not access:
                raise PermissionDenied("a write-only buffer was asked for over read-only host memory")
        self._reserve(array.nbytes)
        return HostBuffer(array, params.usage, access, self._released)

    def statistics(self) -> dict[str, int]:
        """Return ``bytes_allocated`` and ``bytes_freed`` (since the start), ``bytes_peak`` and
        ``live_buffers``.
        """
        with self._lock:
            self._collect()
            return {
                "bytes_allocated": self._allocated,
                "bytes_freed": self._freed,
                "bytes_peak": self._peak,
                "live_buffers": self._live,
            }

    def _reserve(self, size: int) -> None:
        with self._lock:
            self._collect()
            live = self._allocated - self._freed + size
            if self._capacity is not None and live > self._capacity:
                raise ResourceExhausted(
                    f"a buffer of {size} bytes: {live - size} of {self._capacity} bytes are in use"
                )
            self._allocated += size
            self._peak = max(self._peak, live)
            self._live += 1

    def _collect(self) -> None:
        while self._released:
            self._freed += self._released.popleft()
            self._live -= 1


def _as_bytes(memory: Any) -> np.ndarray:
    if isinstance(memory, np.ndarray):
        if not memory.flags.c_contiguous:
            raise InvalidArgument(f"host memory to import is C-contiguous; got strides {memory.strides}")
        return memory.reshape(-1).view(np.uint8)
    try:
        view = memoryview(memory)
    except TypeError:
        raise InvalidArgument(f"cannot import {type(memory).__name__}: it has no buffer protocol") from None
    if not view.c_contiguous:
        raise InvalidArgument("host memory to import is C-contiguous; this is not")
    if view.nbytes == 0:
        return np.empty(0, np.uint8)
    return np.frombuffer(view, np.uint8)
