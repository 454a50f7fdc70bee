"""Stands for the vendor's library. Replace it by yours: an extension module, or one called by ctypes.

The pretend card has memory that the host cannot see, *pinned* memory that both can, and runs one command at a
time. A kernel is a Python function of memoryviews, because the card is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

CAPACITY = 1 << 34
"""Bytes of a card."""

Kernel = Callable[[Sequence[memoryview], tuple[int, ...], tuple[int, int, int], tuple[int, int, int]], None]
"""Called as ``kernel(arguments, constants, workgroup, workgroup_count)``, once for each workgroup."""


class VendorError(Exception):
    """What the library reports an error with."""


class Memory:
    """A piece of the card's memory; ``pinned`` memory the host can see."""

    def __init__(self, size: int, alignment: int, pinned: bool):
        block = np.empty(size + alignment, np.uint8)
        start = -block.ctypes.data % alignment
        self._bytes = block[start : start + size]
        self._pinned = pinned

    def host_view(self) -> memoryview:
        """Return what the host sees of it. :raises VendorError: it is not pinned."""
        if not self._pinned:
            raise VendorError("the host cannot see this memory")
        return self._bytes.data

    def _card_view(self, offset: int, length: int) -> memoryview:
        return self._bytes.data[offset : offset + length]


Span = tuple[Memory, int, int]
"""(memory, offset, length)."""


class Card:
    """One card."""

    def __init__(self, number: int):
        self.number = number
        self._used = 0

    def allocate(self, size: int, alignment: int, pinned: bool) -> Memory:
        """Allocate. :raises VendorError: the card's memory is used up."""
        if self._used + size > CAPACITY:
            raise VendorError(f"out of memory: {self._used} of {CAPACITY} bytes are in use")
        self._used += size
        return Memory(size, alignment, pinned)

    def free(self, size: int) -> None:
        """Give memory back."""
        self._used -= size

    def fill(self, target: Span, pattern: bytes) -> None:
        """Repeat ``pattern`` over ``target``."""
        memory, offset, length = target
        memory._card_view(offset, length)[:] = pattern * (length // len(pattern))

    def write(self, data: bytes, target: Span) -> None:
        """Send the host's bytes to the card."""
        memory, offset, length = target
        memory._card_view(offset, length)[:] = data

    def copy(self, source: Span, target: Span) -> None:
        """Copy within the card."""
        target[0]._card_view(*target[1:])[:] = source[0]._card_view(*source[1:])

    def launch(
        self,
        kernel: Kernel,
        arguments: Sequence[tuple[Span, bool]],
        constants: tuple[int, ...],
        workgroup_count: tuple[int, int, int],
    ) -> None:
        """Run a kernel. ``arguments`` are spans, and whether the kernel writes them."""
        views = []
        for (memory, offset, length), writable in arguments:
            view = memory._card_view(offset, length)
            views.append(view if writable else view.toreadonly())
        columns, rows, layers = workgroup_count
        for z, y, x in product(range(layers), range(rows), range(columns)):
            kernel(views, constants, (x, y, z), workgroup_count)


def cards() -> list[Card]:
    """Return the cards of this machine; a real library asks the bus."""
    return [Card(0), Card(1)]
