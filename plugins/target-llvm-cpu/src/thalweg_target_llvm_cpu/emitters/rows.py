"""Rows: a contiguous run of elements, walked by whole vectors and one overlapping vector at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from thalweg_target_llvm_cpu.builder import Int, KernelBuilder, Value
from thalweg_target_llvm_cpu.emitters.nest import vector_starts

Combine = Callable[[Value, Value], Value]


@dataclass(frozen=True)
class Row:
    """``extent`` elements in vectors of ``lanes`` ≤ ``extent``."""

    extent: int
    lanes: int

    @property
    def whole(self) -> int:
        """How far whole vectors reach."""
        return vector_starts(self.extent, self.lanes)[0]

    @property
    def last(self) -> int:
        """Where the overlapping last vector begins; -1 for none."""
        return vector_starts(self.extent, self.lanes)[1]

    def fresh(self, b: KernelBuilder) -> Value:
        """Return the mask of the last vector's lanes that no whole vector covers."""
        return b.mask([self.last + lane >= self.whole for lane in range(self.lanes)])

    @contextmanager
    def vectors(self, b: KernelBuilder) -> Iterator[Int]:
        """Loop over the whole vectors; yields where each begins."""
        with b.loop(0, self.whole, self.lanes) as position:
            yield position


def accumulate(
    b: KernelBuilder, row: Row, count: int, neutral: Value, term: Callable[[Int], Value], combine: Combine
) -> Value:
    """Combine ``term(position)`` over a row by up to ``count`` independent accumulators; returns one vector.

    ``neutral`` leaves the other operand of ``combine`` unchanged.
    """
    count = max(1, min(count, row.whole // row.lanes))
    cells = [b.variable(neutral) for _ in range(count)]
    step = row.lanes * count
    unrolled = row.whole // step * step
    with b.loop(0, unrolled, step) as position:
        for u, cell in enumerate(cells):
            cell.set(combine(cell.get(), term(b.add(position, u * row.lanes))))
    for cell, position in zip(cells, range(unrolled, row.whole, row.lanes)):
        cell.set(combine(cell.get(), term(position)))
    if row.last >= 0:
        cells[-1].set(combine(cells[-1].get(), b.select(row.fresh(b), term(row.last), neutral)))
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
