"""Loop nests over parallel dimensions, and their division among workgroups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from thalweg_target_llvm_cpu.builder import Int, KernelBuilder

WORKGROUP_COST = 1 << 15
"""The least work, in bytes touched or their equivalent, that is worth a workgroup of its own."""
MAX_WORKGROUPS = 64


@dataclass(frozen=True)
class Level:
    """A loop over ``extent`` positions in steps of ``step`` ≤ ``extent``.

    The last step is moved back to end at ``extent``, so every step is whole; what is computed twice then is the same
    value, written twice.
    """

    extent: int
    step: int = 1

    @property
    def trips(self) -> int:
        """How many steps there are."""
        return -(-self.extent // self.step)

    def position(self, b: KernelBuilder, trip: Int) -> Int:
        """Return where a step begins."""
        position = b.mul(trip, self.step)
        return position if self.extent % self.step == 0 else b.minimum(position, self.extent - self.step)


@dataclass(frozen=True)
class Split:
    """The first ``leading`` levels of a nest, taken as one sequence, go to ``count`` workgroups, ``chunk`` each."""

    leading: int
    chunk: int
    count: int

    def parameters(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"leading": self.leading, "chunk": self.chunk, "count": self.count}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Split:
        """Read what ``parameters`` wrote."""
        return cls(parameters["leading"], parameters["chunk"], parameters["count"])


def split(levels: Sequence[Level], cost: float) -> Split:
    """Divide a nest whose whole work is ``cost`` (bytes touched or their equivalent)."""
    wanted = min(MAX_WORKGROUPS, int(cost) // WORKGROUP_COST)
    if wanted <= 1:
        return Split(0, 1, 1)
    leading, trips = 0, 1
    while trips < wanted and leading < len(levels):
        trips *= levels[leading].trips
        leading += 1
    chunk = -(-trips // min(wanted, trips)) if trips else 1
    return Split(leading, chunk, max(1, -(-trips // chunk)))


@contextmanager
def nest(b: KernelBuilder, levels: Sequence[Level], division: Split) -> Iterator[list[Int]]:
    """Write the loops of this workgroup's share; yields the position in each level."""
    with ExitStack() as loops:
        positions: list[Int] = []
        if division.leading:
            positions += _share(b, levels[: division.leading], division, loops)
        for level in levels[division.leading :]:
            trip = loops.enter_context(b.loop(0, level.trips))
            positions.append(level.position(b, trip))
        yield positions


def _share(b: KernelBuilder, levels: Sequence[Level], division: Split, loops: ExitStack) -> list[Int]:
    start = b.mul(b.workgroup_id(0), division.chunk)
    stop = b.minimum(b.add(start, division.chunk), prod(level.trips for level in levels))
    rest: Int = loops.enter_context(b.loop(start, stop))
    positions: list[Int] = []
    for index, level in reversed(list(enumerate(levels))):
        trip = b.urem(rest, level.trips) if index else rest
        rest = b.udiv(rest, level.trips)
        positions.insert(0, level.position(b, trip))
    return positions


def lanes_for(settings: Mapping[str, Any], element_bytes: int) -> int:
    """Return how many elements of a size fill a vector register of the target."""
    return int(settings["vector_bits"]) // (8 * element_bytes)


def fitting_lanes(lanes: int, extent: int) -> int:
    """Return the largest power of two that is at most ``lanes`` and ``extent``."""
    return min(lanes, 1 << (extent.bit_length() - 1)) if extent > 0 else 1


def vector_starts(extent: int, lanes: int) -> tuple[int, int]:
    """Return (how far whole vectors reach, where the last, overlapping vector begins or -1 for none)."""
    whole = extent // lanes * lanes
    return whole, extent - lanes if whole < extent else -1


def has_cheap_masks(settings: Mapping[str, Any], element_bytes: int) -> bool:
    """Return whether a masked load or store of whole vectors costs about as much as a plain one on the target."""
    features = settings["features"].split(",")
    return "+avx512vl" in features or ("+avx2" in features and element_bytes >= 4)
