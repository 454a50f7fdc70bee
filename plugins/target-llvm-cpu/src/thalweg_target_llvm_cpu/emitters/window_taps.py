"""Two-dimensional windows whose rows or columns are known at the call only: row by row, tap by tap.

Columns whose taps are all inside of the row go by vectors, those at its two ends one by one.
"""

from __future__ import annotations

from contextlib import ExitStack

from thalweg.extents import Extent

from thalweg_target_llvm_cpu.builder import Int, KernelBuilder, Value, vector_type
from thalweg_target_llvm_cpu.emitters.access import Tensors, literal, read
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.nest import Level, Split, by_lanes, fitting_lanes, nest, vectors
from thalweg_target_llvm_cpu.emitters.window_problem import Axis, Problem
from thalweg_target_llvm_cpu.emitters.window_rows import Window


def levels_of(problem: Problem) -> list[Level]:
    """Return the nest: planes and rows of the output."""
    return [Level(problem.planes), Level(problem.rows.output)]


class WindowTaps(Window):
    """Writes the kernel of one problem."""

    def __init__(self, b: KernelBuilder, problem: Problem, lanes: int, epilogue: Epilogue, tensors: Tensors):
        super().__init__(b, problem, epilogue, tensors)
        self.lanes = lanes

    def emit(self, division: Split) -> None:
        """Write the nest."""
        b = self.b
        first, stop = self.problem.columns.interior
        inner: Extent = stop - first
        with nest(b, levels_of(self.problem), division) as (plane, row):
            with b.loop(0, first) as column:
                self._vector(plane, row, column, 1, True)

            def interior(lanes: int) -> None:
                vectors(b, inner, lanes, lambda at: self._vector(plane, row, b.add(first, at), lanes, False))

            by_lanes(b, inner, fitting_lanes(self.lanes, inner), interior)
            with b.loop(stop, self.problem.columns.output) as column:
                self._vector(plane, row, column, 1, True)

    def _vector(self, plane: Int, row: Int, column: Int, lanes: int, checked: bool) -> None:
        """Compute and store ``lanes`` outputs; ``checked``: column taps may be outside."""
        b, problem = self.b, self.problem
        rows, columns = problem.rows, problem.columns
        total = b.variable(literal(b, self.neutral(), vector_type(self.scalar, lanes)))
        source_plane = b.mul(b.udiv(plane, problem.multiplier), rows.size)
        with ExitStack() as loops:
            row_tap = loops.enter_context(b.loop(0, rows.window))
            y = self._tap(rows, row, row_tap, True, loops)
            column_tap = loops.enter_context(b.loop(0, columns.window))
            x = self._tap(columns, column, column_tap, checked, loops)
            index = b.add(b.mul(b.add(source_plane, y), columns.size), x)
            value = self.widen(self._read(index, lanes))
            weight = None
            if self.w is not None:
                channel = plane if problem.planes == problem.channels else b.urem(plane, problem.channels)
                tap = b.add(b.mul(row_tap, columns.window), column_tap)
                place = b.add(b.mul(channel, problem.taps), tap)
                weight = b.broadcast(self.widen(read(b, self.w, place, 1)), lanes)
            total.set(self.combine(total.get(), value, weight))
        self.store(total.get(), [plane, row, column])

    def _read(self, index: Int, lanes: int) -> Value:
        """Read lanes as far apart as the outputs' taps are; every second one out of two vectors, and no
        element behind the last.
        """
        b, stride = self.b, self.problem.columns.stride
        if stride != 2 or lanes == 1:
            return read(b, self.x, index, lanes, stride)
        low, high = (read(b, self.x, b.add(index, offset), lanes) for offset in (0, lanes - 1))
        return b.shuffle(low, high, [2 * i if 2 * i < lanes else 2 * i + 1 for i in range(lanes)])

    def _tap(self, axis: Axis, output: Int, tap: Int, checked: bool, loops: ExitStack) -> Int:
        """Return where a tap is; ``checked``: what follows runs only if that is inside."""
        b = self.b
        position = b.sub(b.add(b.mul(output, axis.stride), b.mul(tap, axis.dilation)), axis.low)
        if checked and not axis.free:
            loops.enter_context(b.when(b.icmp("ult", b.integer(position), b.integer(axis.size))))
        return position
