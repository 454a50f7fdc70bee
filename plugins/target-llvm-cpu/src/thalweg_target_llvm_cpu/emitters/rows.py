"""Rows: a contiguous run of elements, walked by whole vectors and one overlapping vector at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thalweg.extents import Extent, floor_divide

from thalweg_target_llvm_cpu.builder import Int, KernelBuilder, Value
from thalweg_target_llvm_cpu.emitters.nest import by_lanes, vectors

Combine = Callable[[Value, Value], Value]


@dataclass(frozen=True)
class Row:
    """``extent`` elements in vectors of ``lanes`` ≤ ``extent`` (see ``by_widths`` for dynamic extents)."""

    extent: Extent
    lanes: int

    @property
    def whole(self) -> Extent:
        """How far whole vectors reach."""
        return floor_divide(self.extent, self.lanes) * self.lanes

    @property
    def rest(self) -> Extent:
        """How many elements no whole vector covers: those of the overlapping last vector."""
        return self.extent - self.whole

    @property
    def last(self) -> Extent:
        """Where the overlapping last vector begins, if ``rest`` is not 0."""
        return self.extent - self.lanes

    def fresh(self, b: KernelBuilder) -> Value:
        """Return the mask of the last vector's lanes that no whole vector covers."""
        covered = self.lanes - self.rest
        if isinstance(covered, int):
            return b.mask([lane >= covered for lane in range(self.lanes)])
        return b.icmp("sge", b.iota(self.lanes), b.integer(covered, f"<{self.lanes} x i64>"))

    def vectors(self, b: KernelBuilder, write: Callable[[Int], None]) -> None:
        """Write ``write(position)`` for all vectors, the overlapping one last."""
        vectors(b, self.extent, self.lanes, write)

    def interleaved(self, b: KernelBuilder, count: int, write: Callable[[int, Int], None]) -> None:
        """Write ``write(number, position)`` for the whole vectors; ``number`` counts modulo ``count``."""
        step = self.lanes * count
        unrolled = floor_divide(self.extent, step) * step
        with b.loop(0, unrolled, step) as position:
            for number in range(count):
                write(number, b.add(position, number * self.lanes))
        if isinstance(self.extent, int):
            starts = range(unrolled.__index__(), self.whole.__index__(), self.lanes)
            for number, position in enumerate(starts):
                write(number, position)
        elif unrolled != self.whole:
            with b.loop(unrolled, self.whole, self.lanes) as position:
                write(0, position)

    def accumulators(self, most: int) -> int:
        """Return how many independent accumulators the row is worth, from 1 to ``most``."""
        whole = self.whole
        return max(1, min(most, whole // self.lanes)) if isinstance(whole, int) else most

    def tail(self, b: KernelBuilder, write: Callable[[], None]) -> None:
        """Write ``write()`` for the case that there is an overlapping last vector."""
        if not isinstance(self.rest, int):
            with b.when(b.icmp("ne", b.integer(self.rest), b.integer(0))):
                write()
        elif self.rest:
            write()


def by_widths(b: KernelBuilder, extent: Extent, lanes: int, write: Callable[[int], None]) -> None:
    """Write ``write(n)`` for rows of ``extent``: ``n`` is ``lanes``, or fewer where the extent turns out
    smaller.

    Unlike ``by_lanes``, there are widths between ``lanes`` and 1: for rows that are short and cost much.
    """

    def narrower(fitting: int) -> None:
        if fitting == lanes or lanes <= 4:
            write(fitting)
        else:
            by_widths(b, extent, max(4, lanes // 4), write)

    by_lanes(b, extent, lanes, narrower)


def accumulate(
    b: KernelBuilder, row: Row, count: int, neutral: Value, term: Callable[[Int], Value], combine: Combine
) -> Value:
    """Combine ``term(position)`` over a row by up to ``count`` independent accumulators; returns one vector.

    ``neutral`` leaves the other operand of ``combine`` unchanged.
    """
    cells = [b.variable(neutral) for _ in range(row.accumulators(count))]

    def add(number: int, position: Int) -> None:
        cells[number].set(combine(cells[number].get(), term(position)))

    def add_fresh() -> None:
        cells[-1].set(combine(cells[-1].get(), b.select(row.fresh(b), term(row.last), neutral)))

    row.interleaved(b, len(cells), add)
    row.tail(b, add_fresh)
    return combine_all([cell.get() for cell in cells], combine)


def combine_all(values: Sequence[Value], combine: Combine) -> Value:
    """Combine values pairwise into one."""
    values = list(values)
    while len(values) > 1:
        pairs = [combine(*values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
        values = [*pairs, *values[2 * len(pairs) :]]
    return values[0]


def combine_lanes(b: KernelBuilder, value: Value, combine: Combine) -> Value:
    """Combine the lanes of a vector (a power of two) into a scalar, halving it each time."""
    while value.lanes > 2:
        half = value.lanes // 2
        low, high = (b.shuffle(value, value, range(first, first + half)) for first in (0, half))
        value = combine(low, high)
    return value if value.lanes == 1 else combine(b.extract(value, 0), b.extract(value, 1))
