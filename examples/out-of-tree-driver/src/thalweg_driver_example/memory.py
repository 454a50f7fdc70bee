"""Buffers in the card's memory, and the allocator that makes them."""

from __future__ import annotations

import weakref

from thalweg.api import InvalidArgument, NotSupported, ResourceExhausted
from thalweg.hal.buffer import Allocator, Buffer
from thalweg.hal.types import WHOLE_BUFFER, BufferParams, BufferUsage, MemoryAccess, MemoryType

from thalweg_driver_example.vendor import Card, Memory, Span, VendorError

CARD_MEMORY = MemoryType.DEVICE_LOCAL | MemoryType.DEVICE_VISIBLE
PINNED_MEMORY = MemoryType.HOST_LOCAL | MemoryType.DEVICE_LOCAL | MemoryType.DEVICE_VISIBLE


class CardBuffer(Buffer):
    """A piece of a card's memory."""

    def __init__(self, memory: Memory, size: int, memory_type: MemoryType, params: BufferParams):
        self._memory = memory
        self.size = size
        self.memory_type = memory_type
        self.usage = params.usage
        self.access = params.access

    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        """Return a view of pinned memory; see ``Buffer.map``."""
        if MemoryType.HOST_VISIBLE not in self.memory_type:
            raise NotSupported(
                "mapping", "this buffer is in the card's memory; copy it to a host-visible one"
            )
        self.require(BufferUsage.MAPPING, access)
        offset, length = self.resolve_range(offset, length)
        view = self._memory.host_view()[offset : offset + length]
        return view if MemoryAccess.WRITE in access else view.toreadonly()

    def span(self, offset: int, length: int) -> Span:
        """Return a checked range as the vendor's library names it."""
        return self._memory, offset, length


class CardAllocator(Allocator):
    """Allocates from one card: pinned memory if it should be host-visible, else the card's own."""

    def __init__(self, card: Card):
        self._card = card

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> CardBuffer:
        """Allocate ``size`` bytes; see ``Allocator.allocate``."""
        if size < 0:
            raise InvalidArgument(f"a buffer of {size} bytes")
        pinned = MemoryType.HOST_VISIBLE in params.memory_type
        try:
            memory = self._card.allocate(size, params.alignment, pinned)
        except VendorError as error:
            raise ResourceExhausted(f"no memory for a buffer of {size} bytes: {error}") from error
        buffer = CardBuffer(memory, size, PINNED_MEMORY if pinned else CARD_MEMORY, params)
        weakref.finalize(buffer, self._card.free, size)
        return buffer
