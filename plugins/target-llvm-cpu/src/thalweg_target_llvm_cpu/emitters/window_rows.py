"""Two-dimensional windows, vectorised along the last dimension, several rows at a time, accumulators in
registers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from operator import index
from typing import Any

from thalweg.extents import static

from thalweg_target_llvm_cpu.builder import ELEMENT_BYTES, Int, KernelBuilder, Value, vector_type
from thalweg_target_llvm_cpu.emitters.access import Tensor, Tensors, literal, read
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.nest import Level, Split, nest
from thalweg_target_llvm_cpu.emitters.window_problem import Columns, Problem, load_range


def least(element: str) -> float | int:
    """Return the least value of an element type."""
    if element in ("f16", "bf16", "f32", "f64"):
        return -inf
    return 0 if element.startswith("ui") or element == "i1" else -(1 << (8 * ELEMENT_BYTES[element] - 1))


def larger(b: KernelBuilder, element: str, total: Value, value: Value) -> Value:
    """Return the larger value.

    ONNX leaves maxima of NaN open: a NaN counts as less than anything, because one compare and select is one
    instruction on most machines.
    """
    if element in ("f16", "bf16", "f32", "f64"):
        return b.select(b.fcmp("ogt", value, total), value, total)
    signed = not (element.startswith("ui") or element == "i1")
    return b.select(b.icmp("sgt" if signed else "ugt", value, total), value, total)


class Window:
    """What the kernels of a problem share: dtypes, combination and the store."""

    def __init__(self, b: KernelBuilder, problem: Problem, epilogue: Epilogue, tensors: Tensors):
        self.b, self.problem, self.epilogue = b, problem, epilogue
        root = epilogue.work.root
        self.x: Tensor = tensors.of(root.operands[0])
        self.w = tensors.of(root.operands[1]) if problem.kind == "conv" else None
        self.floating = self.x.element in ("f16", "bf16", "f32", "f64")
        summed_wide = self.x.element in ("f16", "bf16") and problem.kind != "max"
        self.scalar = "float" if summed_wide else self.x.scalar
        rank = len(epilogue.shape)
        last = (rank - 1,)
        self.groups = (tuple(range(rank - 2)), (rank - 2,), last) if rank > 1 else ((), (), last)
        if problem.kind == "conv" and rank == 3:
            self.groups = ((0, 1), (), last)

    def widen(self, value: Value) -> Value:
        """Return a value in the dtype that sums are done in."""
        return value if value.scalar_type == self.scalar else self.b.cast("fpext", value, self.scalar)

    def neutral(self) -> float | int:
        """Return what taps outside of the operand count as."""
        return least(self.x.element) if self.problem.kind == "max" else 0

    def combine(self, total: Value | None, value: Value, weight: Value | None) -> Value:
        """Return a total after one more tap."""
        b = self.b
        if weight is not None:
            if total is None:
                return b.binary("fmul" if self.floating else "mul", value, weight)
            if self.floating:
                return b.fma(value, weight, total)
            return b.binary("add", b.binary("mul", value, weight), total)
        if total is None:
            return value
        if self.problem.kind == "max":
            return larger(b, self.x.element, total, value)
        return b.binary("fadd" if self.floating else "add", total, value)

    def store(self, total: Value, place: Sequence[Int], mask: Value | None = None) -> None:
        """Narrow, apply the epilogue and store lanes at (plane, row, column)."""
        if total.scalar_type != self.x.scalar:
            total = self.b.cast("fptrunc", total, self.x.scalar)
        self.epilogue.finish(self.b, total, place, self.groups, mask)


class WindowRows(Window):
    """Writes the kernel of a problem whose rows and columns are known."""

    def __init__(
        self,
        b: KernelBuilder,
        problem: Problem,
        columns: Columns,
        block: int,
        epilogue: Epilogue,
        tensors: Tensors,
    ):
        super().__init__(b, problem, epilogue, tensors)
        self.columns, self.block = columns, block

    def emit(self, parameters: Mapping[str, Any]) -> None:
        """Write the nests: interior rows in blocks, then border rows one by one."""
        first, stop = static(self.problem.rows.interior)
        levels = [Level(self.problem.planes)]
        if self.block:
            with nest(
                self.b, [*levels, Level(stop - first, self.block)], Split.of(parameters["interior"])
            ) as place:
                plane, row = place
                self._rows(plane, self.b.add(row, first), None, self.block)
        border = [row for row in range(index(self.problem.rows.output)) if not first <= row < stop]
        if border:
            with nest(self.b, levels, Split.of(parameters["border"])) as (plane,):
                for row in border:
                    self._rows(plane, row, row, 1)

    def _rows(self, plane: Int, row: Int, border: int | None, block: int) -> None:
        """Write ``block`` rows from ``row`` on; ``border``: the one row that this is, with taps outside."""
        weights = self._weights(plane)
        start, stop = self.columns.clean
        with self.b.loop(start, stop, self.columns.lanes) as column:
            self._block(plane, row, border, block, weights, column, None)
        for edge in self.columns.edges:
            self._block(plane, row, border, block, weights, edge, edge)

    def _weights(self, plane: Int) -> list[Value]:
        problem, b = self.problem, self.b
        if self.w is None:
            return []
        channel = plane if problem.planes == problem.channels else b.urem(plane, problem.channels)
        base = b.mul(channel, problem.taps)
        scalars = [self.widen(read(b, self.w, b.add(base, tap), 1)) for tap in range(problem.taps)]
        return [b.broadcast(scalar, self.columns.lanes) for scalar in scalars]

    def _block(
        self,
        plane: Int,
        row: Int,
        border: int | None,
        block: int,
        weights: Sequence[Value],
        column: Int,
        edge: int | None,
    ) -> None:
        """Compute and store ``block`` vectors, one below the other; ``edge``: the column, where it is
        known.
        """
        b, rows = self.b, self.problem.rows
        totals: list[Value | None] = [None] * block
        source_plane = b.udiv(plane, self.problem.multiplier)
        for offset in range((block - 1) * rows.stride + (rows.window - 1) * rows.dilation + 1):
            users = self._users(offset, block, border)
            if not users:
                continue
            position = b.add(b.mul(row, rows.stride), offset - rows.low)
            base = b.mul(b.add(b.mul(source_plane, rows.size), position), self.problem.columns.size)
            for tap, value in enumerate(self._taps(base, column, edge)):
                if value is None:
                    continue
                for r, row_tap in users:
                    weight = weights[row_tap * self.problem.columns.window + tap] if weights else None
                    totals[r] = self.combine(totals[r], value, weight)
        type_ = vector_type(self.scalar, self.columns.lanes)
        for r, total in enumerate(totals):
            self._finish(total or literal(b, self.neutral(), type_), plane, b.add(row, r), column)

    def _users(self, offset: int, block: int, border: int | None) -> list[tuple[int, int]]:
        """Return the (row of the block, row tap) pairs that read operand row ``offset`` below the first."""
        rows = self.problem.rows
        pairs = [(r, offset - r * rows.stride) for r in range(block)]
        taps = [(r, rest // rows.dilation) for r, rest in pairs if rest >= 0 and rest % rows.dilation == 0]
        taps = [(r, tap) for r, tap in taps if tap < rows.window]
        return taps if border is None else [(r, tap) for r, tap in taps if rows.inside(border, tap)]

    def _taps(self, base: Int, column: Int, edge: int | None) -> list[Value | None]:
        """Return the lanes of each column tap; ``None`` for one that is outside altogether."""
        axis, pairs = self.problem.columns, {}
        values: list[Value | None] = []
        for tap in range(axis.window):
            if edge is not None and not any(axis.inside(edge + i, tap) for i in range(self._used())):
                values.append(None)
                continue
            first, _ = load_range(axis, 0, self.columns.lanes, tap)
            if axis.stride == 2:
                if first not in pairs:
                    pairs[first] = self._pair(base, first, column, edge)
                values.append(self.widen(pairs[first][(tap * axis.dilation - axis.low) % 2]))
            else:
                values.append(self.widen(self._single(base, first, column, edge, axis.stride)))
        return values

    def _used(self) -> int:
        return min(self.columns.lanes, index(self.problem.columns.output))

    def _single(self, base: Int, first: int, column: Int, edge: int | None, stride: int) -> Value:
        """Read lanes ``stride`` apart from position ``column * stride + first`` on; outside the row:
        neutral.
        """
        b, lanes, size = self.b, self.columns.lanes, index(self.problem.columns.size)
        first_index = b.add(b.add(base, b.mul(column, self.problem.columns.stride)), first)
        if edge is None:
            return read(b, self.x, first_index, lanes, stride)
        start = edge * self.problem.columns.stride + first
        inside = [0 <= start + i * stride < size for i in range(lanes)]
        neutral = literal(b, self.neutral(), vector_type(self.x.scalar, lanes))
        if not any(inside):
            return neutral
        if lanes == 1 or all(inside):
            return read(b, self.x, first_index, lanes, stride)
        return read(b, self.x, first_index, lanes, stride, b.mask(inside), neutral)

    def _pair(self, base: Int, first: int, column: Int, edge: int | None) -> tuple[Value, Value]:
        """Read twice the lanes and return the even and the odd positions."""
        lanes = self.columns.lanes
        low = self._single(base, first, column, edge, 1)
        high = self._single(base, first + lanes, column, edge, 1)
        if lanes == 1:
            return low, high
        even, odd = (self.b.shuffle(low, high, range(parity, 2 * lanes, 2)) for parity in (0, 1))
        return even, odd

    def _finish(self, total: Value, plane: Int, row: Int, column: Int) -> None:
        used, lanes = self._used(), self.columns.lanes
        mask = self.b.mask([i < used for i in range(lanes)]) if self.columns.masked and used < lanes else None
        self.store(total, [plane, row, column], mask)
