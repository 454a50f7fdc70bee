"""The transient arena: buffers with lifetimes share one allocation.

Greedy by size (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020): the
largest buffer first, each at the lowest offset where no buffer that lives at the same time stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True)
class Lifetime:
    """A buffer of ``size`` bytes that is live from epoch ``first`` to epoch ``last``, both included."""

    size: int
    first: int
    last: int


def aligned(size: int) -> int:
    """Round up to the arena's alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def place(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """Return each buffer's offset, and the arena's size in bytes."""
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    order = sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].size, lifetimes[i].first, i))
    for index in order:
        mine = lifetimes[index]
        busy = sorted(
            (offsets[other], offsets[other] + aligned(lifetimes[other].size))
            for other in placed
            if lifetimes[other].first <= mine.last and mine.first <= lifetimes[other].last
        )
        offsets[index] = _lowest_gap(busy, aligned(mine.size))
        placed.append(index)
    total = max((offsets[i] + aligned(lifetimes[i].size) for i in placed), default=0)
    return offsets, total


def _lowest_gap(busy: Sequence[tuple[int, int]], size: int) -> int:
    """Return the lowest offset where ``size`` bytes fit between the busy ranges (sorted by start)."""
    offset = 0
    for start, end in busy:
        if start - offset >= size:
            return offset
        offset = max(offset, end)
    return offset


def peak_live_bytes(lifetimes: Sequence[Lifetime]) -> int:
    """Return the largest sum of sizes that are live in one epoch: no arena can be smaller."""
    epochs = {lifetime.first for lifetime in lifetimes}
    return max((sum(aligned(b.size) for b in lifetimes if b.first <= e <= b.last) for e in epochs), default=0)
