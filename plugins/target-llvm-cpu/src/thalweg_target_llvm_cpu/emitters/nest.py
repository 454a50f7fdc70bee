"""Loop nests over parallel dimensions, and their division among workgroups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any

from thalweg.extents import (
    Extent,
    as_json,
    ceil_divide,
    evaluate,
    floor_divide,
    from_json,
    is_multiple,
    is_static,
    lower_bound,
    maximum,
    minimum,
    names_in,
    upper_bound,
)

from thalweg_target_llvm_cpu.builder import Int, KernelBuilder

WORKGROUP_COST = 1 << 15
"""The least work, in bytes touched or their equivalent, that is worth a workgroup of its own."""
MAX_WORKGROUPS = 64
TRIP_COST = 1 << 11
"""The least work, in the same measure, of a trip that is found by dividing by dynamic extents."""


@dataclass(frozen=True)
class Level:
    """A loop over ``extent`` positions in steps of ``step`` ≤ ``extent``.

    The last step is moved back to end at ``extent``, so every step is ``whole``; what is computed twice then
    is the same value, written twice. Where the extent may be smaller than the step, steps are not whole: who
    writes the body ends a step with ``stop``.
    """

    extent: Extent
    step: int = 1
    whole: bool = True

    @property
    def trips(self) -> Extent:
        """How many steps there are."""
        return ceil_divide(self.extent, self.step)

    def position(self, b: KernelBuilder, trip: Int) -> Int:
        """Return where a step begins."""
        position = b.mul(trip, self.step)
        if not self.whole or is_multiple(self.extent, self.step):
            return position
        return b.minimum(position, b.sub(self.extent, self.step))

    def stop(self, b: KernelBuilder, position: Int) -> Int:
        """Return where the step that begins at ``position`` ends, for steps that are not whole."""
        return b.minimum(b.add(position, self.step), self.extent)


@dataclass(frozen=True)
class Split:
    """The first ``leading`` levels of a nest, taken as one sequence, go to ``count`` workgroups, ``chunk``
    each.
    """

    leading: int
    chunk: Extent
    count: Extent

    def parameters(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"leading": self.leading, "chunk": as_json(self.chunk), "count": as_json(self.count)}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Split:
        """Read what ``parameters`` wrote."""
        chunk, count = from_json(parameters["chunk"]), from_json(parameters["count"])
        return cls(parameters["leading"], chunk, count)


def split(levels: Sequence[Level], cost: Extent) -> Split:
    """Divide a nest whose whole work is ``cost`` (bytes touched or their equivalent)."""
    if not is_static([cost, *(level.extent for level in levels)]):
        return _dynamic_split(levels, cost)
    cost = index(cost)
    wanted = min(MAX_WORKGROUPS, int(cost) // WORKGROUP_COST)
    if wanted <= 1:
        return Split(0, 1, 1)
    leading, trips = 0, 1
    while trips < wanted and leading < len(levels):
        trips *= index(levels[leading].trips)
        leading += 1
    chunk = -(-trips // min(wanted, trips)) if trips else 1
    return Split(leading, chunk, max(1, -(-trips // chunk)))


TYPICAL_EXTENT = 128
"""What a dynamic dimension is taken to be where a choice needs a number."""


def typical(extent: Extent) -> int:
    """Return what an extent is when every dimension is typical."""
    return evaluate(extent, dict.fromkeys(names_in(extent), TYPICAL_EXTENT))


def workgroups_for(cost: Extent) -> Extent:
    """Return how many workgroups a cost that depends on the call is worth, at least 1."""
    return maximum(1, minimum(MAX_WORKGROUPS, floor_divide(cost, WORKGROUP_COST)))


def leading_levels(levels: Sequence[Level], cost: Extent) -> int:
    """Return how many leading levels of a dynamic nest to divide: until they make enough trips for all
    workgroups, whatever the call, as long as a typical trip is worth the division by which it is found.
    """
    trips: Extent = 1
    for count, level in enumerate(levels):
        more = trips * level.trips
        fine = typical(cost) < TRIP_COST * typical(more)
        if lower_bound(trips) >= MAX_WORKGROUPS or (upper_bound(trips) >= MAX_WORKGROUPS and fine):
            return count
        trips = more
    return len(levels)


def _dynamic_split(levels: Sequence[Level], cost: Extent) -> Split:
    """Divide leading levels; among how many workgroups follows from the cost at the call."""
    leading = leading_levels(levels, cost)
    trips = prod(level.trips for level in levels[:leading])
    chunk = maximum(1, ceil_divide(trips, workgroups_for(cost)))
    return Split(leading, chunk, ceil_divide(trips, chunk))


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
    for number, level in reversed(list(enumerate(levels))):
        trip = b.urem(rest, level.trips) if number else rest
        rest = b.udiv(rest, level.trips)
        positions.insert(0, level.position(b, trip))
    return positions


def lanes_for(settings: Mapping[str, Any], element_bytes: int) -> int:
    """Return how many elements of a size fill a vector register of the target."""
    return int(settings["vector_bits"]) // (8 * element_bytes)


def fitting_lanes(lanes: int, extent: Extent) -> int:
    """Return the largest power of two that is at most ``lanes`` and ``extent``.

    A dynamic extent may turn out smaller than what comes back; see ``by_lanes``.
    """
    if not isinstance(extent, int):
        return lanes
    return min(lanes, 1 << (extent.bit_length() - 1)) if extent > 0 else 1


def vector_starts(extent: int, lanes: int) -> tuple[int, int]:
    """Return (how far whole vectors reach, where the last, overlapping vector begins or -1 for none)."""
    whole = extent // lanes * lanes
    return whole, extent - lanes if whole < extent else -1


def by_lanes(b: KernelBuilder, extent: Extent, lanes: int, write: Callable[[int], None]) -> None:
    """Write code for rows of ``extent``: ``write(lanes)``, and where the extent may be smaller, ``write(1)``
    beside it.
    """
    if lanes == 1 or lower_bound(extent) >= lanes:
        write(lanes)
        return
    fits = b.icmp("sge", b.integer(extent), b.integer(lanes))
    b.choose(fits, lambda: write(lanes), lambda: write(1))


def vectors(b: KernelBuilder, length: Int, lanes: int, write: Callable[[Int], None]) -> None:
    """Write a loop over ``[0, length)`` by vectors of ``lanes``; a last vector that ends at ``length`` may
    overlap.

    Of a run shorter than ``lanes`` it begins before 0: the run has to be the end of a longer one.
    """
    rest = b.urem(length, lanes)
    with b.loop(0, b.sub(length, rest), lanes) as offset:
        write(offset)
    if isinstance(rest, int):
        if rest:
            write(b.sub(length, lanes))
        return
    with b.when(b.icmp("ne", b.integer(rest), b.integer(0))):
        write(b.sub(length, lanes))


def vector_nest(
    b: KernelBuilder,
    outer: Sequence[Level],
    extent: Extent,
    lanes: int,
    division: Split,
    write: Callable[[list[Int], int], None],
) -> None:
    """Write a nest whose innermost level, of ``extent``, goes by vectors that overlap at the end.

    ``write(positions, lanes)``; element by element (one lane) where the extent turns out smaller than a
    vector.
    """

    def whole() -> None:
        with nest(b, [*outer, Level(extent, lanes)], division) as place:
            write(place, lanes)

    def single() -> None:
        level = Level(extent, lanes, whole=False)
        with ExitStack() as loops:
            *place, start = loops.enter_context(nest(b, [*outer, level], division))
            position = loops.enter_context(b.loop(start, level.stop(b, start)))
            write([*place, position], 1)

    by_lanes(b, extent, lanes, lambda fitting: whole() if fitting == lanes else single())


def has_cheap_masks(settings: Mapping[str, Any], element_bytes: int) -> bool:
    """Return whether a masked load or store of whole vectors costs about as much as a plain one on the
    target.
    """
    features = settings["features"].split(",")
    return "+avx512vl" in features or ("+avx2" in features and element_bytes >= 4)
