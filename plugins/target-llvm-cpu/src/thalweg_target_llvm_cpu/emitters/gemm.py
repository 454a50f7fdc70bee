"""Register-blocked matrix products and convolutions over packed operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

from thalweg.codegen.packing import Packing
from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.extents import Extent, ceil_divide
from thalweg.ir import Dispatch

from thalweg_target_llvm_cpu.builder import ELEMENT_BYTES, LLVM_TYPES, Int, KernelBuilder, Value, vector_type
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.gemm_panels import PanelWriter
from thalweg_target_llvm_cpu.emitters.gemm_problem import Problem, problem_of
from thalweg_target_llvm_cpu.emitters.gemm_tiling import Tiling, choose_tiling
from thalweg_target_llvm_cpu.emitters.work import analyse

NAME = "gemm"
UNROLL = 4
"""Steps of the depth in one iteration of the innermost loop."""


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch."""
    return problem_of(dispatch) is not None


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Choose tiles, and the packing of the constant operand."""
    problem = problem_of(dispatch)
    assert problem is not None
    tiling = choose_tiling(problem, settings)
    root = analyse(dispatch).root
    packings: dict[int, Packing] = {}
    if problem.window is not None:
        packings[dispatch.operands.index(root.operands[1])] = _weight_packing(problem, tiling)
    elif problem.constant_columns:
        packings[dispatch.operands.index(root.operands[1])] = _column_packing(problem, tiling)
    local = 0
    if not problem.constant_columns and isinstance(problem.depth, int):
        local = problem.depth * tiling.panel_width * ELEMENT_BYTES[problem.element]
    count = problem.batch * tiling.panel_chunks * tiling.block_chunks
    parameters = {"emitter": NAME, "tiling": tiling.parameters()}
    return DispatchPlan(KernelPlan((count, 1, 1), local, parameters), packings)


def _weight_packing(problem: Problem, tiling: Tiling) -> Packing:
    """[groups * rows, channels, kh, kw] → [groups, row blocks, kh, kw, channels, rows of a block]."""
    window = problem.window
    assert window is not None and isinstance(problem.rows, int)
    kh, kw = window.kernel
    rest = (window.channels, kh, kw)
    blocks = -(-problem.rows // tiling.rows)
    return Packing(
        view=(problem.groups, problem.rows, *rest),
        padded=(problem.groups, blocks * tiling.rows, *rest),
        split=(problem.groups, blocks, tiling.rows, *rest),
        permutation=(0, 1, 4, 5, 3, 2),
    )


def _column_packing(problem: Problem, tiling: Tiling) -> Packing:
    """[depth, columns] → [panels, depth, panel width]."""
    assert isinstance(problem.columns, int) and isinstance(problem.depth, int)
    panels = -(-problem.columns // tiling.panel_width)
    return Packing(
        view=(problem.depth, problem.columns),
        padded=(problem.depth, panels * tiling.panel_width),
        split=(problem.depth, panels, tiling.panel_width),
        permutation=(1, 0, 2),
    )


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    problem = problem_of(dispatch)
    assert problem is not None
    _Gemm(b, dispatch, problem, Tiling.of(plan.parameters["tiling"]), settings).emit()


@dataclass(frozen=True)
class _Rows:
    """The rows' side for one row block: element (row i, depth k) is at ``base + i * row_stride + k *
    depth_stride``.
    """

    base: Value
    row_stride: Extent
    depth_stride: int


@dataclass(frozen=True)
class _Columns:
    """The columns' side for one panel: row k begins ``k * stride`` elements after ``base``.

    ``masks``: the lanes that exist, for each vector. ``whole``: the memory has all lanes, as a panel does.
    """

    base: Value
    stride: Extent
    masks: tuple[Value | None, ...]
    whole: bool


class _Gemm:
    """The state of one kernel's emission."""

    def __init__(
        self,
        b: KernelBuilder,
        dispatch: Dispatch,
        problem: Problem,
        tiling: Tiling,
        settings: Mapping[str, Any],
    ):
        self.b = b
        self.problem = problem
        self.tiling = tiling
        self.scalar = LLVM_TYPES[problem.element]
        self.align = ELEMENT_BYTES[problem.element]
        self.type = vector_type(self.scalar, tiling.lanes)
        self.epilogue = Epilogue(dispatch, settings)
        self.epilogue.bind(b)
        root = analyse(dispatch).root
        first, second = (b.binding(dispatch.operands.index(v)) for v in root.operands)
        self.image_or_a, self.weights_or_b = first, second
        self.local = None if problem.constant_columns or problem.direct else b.local_memory()

    def emit(self) -> None:
        """Write the loops over the workgroup's panels and row blocks."""
        b, tiling, problem = self.b, self.tiling, self.problem
        group = b.workgroup_id(0)
        panels = ceil_divide(problem.columns, tiling.panel_width)
        block_chunk = b.urem(group, tiling.block_chunks)
        rest = b.udiv(group, tiling.block_chunks)
        panel_chunk = b.urem(rest, tiling.panel_chunks)
        matrix = 0 if problem.batch == 1 else b.udiv(rest, tiling.panel_chunks)
        first_panel, last_panel = self._range(panel_chunk, tiling.panels, panels)
        full_panels = problem.columns // tiling.panel_width
        tail = problem.columns - full_panels * tiling.panel_width
        if full_panels != 0:
            with b.loop(first_panel, b.minimum(last_panel, full_panels)) as panel:
                self._panel(matrix, panel, tiling.vectors, 0, block_chunk)
        if tail != 0:
            vectors, masked = self._tail(tail)
            with b.loop(self._at_least(first_panel, full_panels), last_panel) as panel:
                self._panel(matrix, panel, vectors, masked, block_chunk)

    def _tail(self, columns: Extent) -> tuple[int, int]:
        """Return how many vectors the last panel has, and how many of them, from the end, may be partial."""
        if not isinstance(columns, int):
            return self.tiling.vectors, self.tiling.vectors
        return -(-columns // self.tiling.lanes), int(columns % self.tiling.lanes != 0)

    def _range(self, chunk: Int, size: Extent, total: Extent) -> tuple[Int, Int]:
        first = self.b.mul(chunk, size)
        return first, self.b.minimum(self.b.add(first, size), total)

    def _at_least(self, value: Int, bound: Extent) -> Int:
        if isinstance(value, int) and isinstance(bound, int):
            return max(value, bound)
        b = self.b
        return b.call_intrinsic("llvm.smax", "i64", [b.integer(value), b.integer(bound)])

    def _panel(self, matrix: Int, panel: Int, vectors: int, masked: int, block_chunk: Int) -> None:
        b = self.b
        column = b.mul(panel, self.tiling.panel_width)
        columns = self._columns(matrix, panel, column, self._masks(column, vectors, masked))
        if isinstance(self.problem.rows, int):
            self._static_rows(matrix, column, columns, block_chunk)
        else:
            self._dynamic_rows(matrix, column, columns, block_chunk)

    def _masks(self, column: Int, vectors: int, masked: int) -> tuple[Value | None, ...]:
        b, lanes = self.b, self.tiling.lanes

        def mask(j: int) -> Value | None:
            if j < vectors - masked:
                return None
            return b.lane_mask(b.sub(self.problem.columns, b.add(column, j * lanes)), lanes)

        return tuple(mask(j) for j in range(vectors))

    def _columns(self, matrix: Int, panel: Int, column: Int, masks: tuple[Value | None, ...]) -> _Columns:
        """Return the panel's columns: packed at compile time, gathered here, or where they are."""
        b, tiling, problem = self.b, self.tiling, self.problem
        if problem.constant_columns:
            place = b.mul(panel, problem.depth * tiling.panel_width)
            return _Columns(b.address(self.weights_or_b, place, self.scalar), tiling.panel_width, masks, True)
        source = self._column_source(matrix)
        if problem.direct:
            return _Columns(b.address(source, column, self.scalar), problem.columns, masks, False)
        assert self.local is not None
        PanelWriter(b, problem, tiling, source, self.local).write(column, masks)
        return _Columns(self.local, tiling.panel_width, masks, True)

    def _static_rows(self, matrix: Int, column: Int, columns: _Columns, block_chunk: Int) -> None:
        b, height = self.b, self.tiling.rows
        full, rest = divmod(index(self.problem.rows), height)
        first, last = self._range(block_chunk, self.tiling.blocks, ceil_divide(self.problem.rows, height))
        if full:
            with b.loop(first, b.minimum(last, full)) as block:
                self._tile(matrix, b.mul(block, height), height, columns, column)
        if rest:
            with b.loop(self._at_least(first, full), last) as block:
                self._tile(matrix, b.mul(block, height), rest, columns, column)

    def _dynamic_rows(self, matrix: Int, column: Int, columns: _Columns, block_chunk: Int) -> None:
        """Tiles of the full height, the last moved back to end with the rows; lower ones for fewer rows than
        that.
        """
        b, tiling, rows = self.b, self.tiling, self.problem.rows
        begin = b.mul(b.mul(block_chunk, tiling.blocks), tiling.rows)
        end = b.minimum(b.add(begin, b.mul(tiling.blocks, tiling.rows)), rows)

        def tiles(height: int) -> None:
            with b.loop(begin, end, height) as row:
                start = row if height == 1 else b.minimum(row, b.sub(rows, height))
                self._tile(matrix, start, height, columns, column)

        def lower(height: int) -> None:
            if height == 1:
                tiles(1)
                return
            enough = b.icmp("sge", b.integer(rows), b.integer(height))
            b.choose(enough, lambda: tiles(height), lambda: lower(height // 2))

        lower(tiling.rows)

    def _column_source(self, matrix: Int) -> Value:
        b, problem = self.b, self.problem
        if problem.window is None:
            place = 0 if problem.b_shared else b.mul(matrix, problem.depth * problem.columns)
            return b.address(self.weights_or_b, place, self.scalar)
        plane = problem.window.height * problem.window.width
        return b.address(self.image_or_a, b.mul(matrix, problem.window.channels * plane), self.scalar)

    def _rows(self, matrix: Int, row: Int) -> _Rows:
        b, problem, tiling = self.b, self.problem, self.tiling
        if problem.window is not None:
            padded = ceil_divide(problem.rows, tiling.rows) * tiling.rows
            packed = b.add(b.mul(b.urem(matrix, problem.groups), padded), row)
            return _Rows(
                b.address(self.weights_or_b, b.mul(packed, problem.depth), self.scalar), 1, tiling.rows
            )
        if not problem.a_shared:
            row = b.add(row, b.mul(matrix, problem.rows))
        return _Rows(b.address(self.image_or_a, b.mul(row, problem.depth), self.scalar), problem.depth, 1)

    def _tile(self, matrix: Int, row: Int, rows: int, columns: _Columns, column: Int) -> None:
        """One register tile: the loop over the depth, then the epilogue of each accumulator."""
        b, problem = self.b, self.problem
        source = self._rows(matrix, row)
        zero = b.float(0.0, self.type)
        accumulators = [[b.variable(zero) for _ in columns.masks] for _ in range(rows)]
        rest = b.urem(problem.depth, UNROLL)
        main = b.sub(problem.depth, rest)
        if main != 0:
            with b.loop(0, main, UNROLL) as k:
                for step in range(UNROLL):
                    self._step(source, columns, b.add(k, step), accumulators)
        if isinstance(rest, int) and isinstance(main, int):
            for k in range(main, main + rest):
                self._step(source, columns, k, accumulators)
        else:
            with b.loop(main, problem.depth) as k:
                self._step(source, columns, k, accumulators)
        for i, line in enumerate(accumulators):
            for j, (accumulator, mask) in enumerate(zip(line, columns.masks)):
                place = self._coordinates(matrix, b.add(row, i), b.add(column, j * self.tiling.lanes))
                self.epilogue.finish(b, accumulator.get(), place, problem.output_groups, mask)

    def _step(self, source: _Rows, columns: _Columns, k: Int, accumulators: list) -> None:
        b, lanes = self.b, self.tiling.lanes
        loaded = [self._load(columns, k, j) for j in range(len(columns.masks))]
        depth = b.mul(k, source.depth_stride)
        for i, line in enumerate(accumulators):
            address = b.address(source.base, b.add(depth, b.mul(i, source.row_stride)), self.scalar)
            scalar = b.broadcast(b.load(address, self.scalar, self.align), lanes)
            for accumulator, vector in zip(line, loaded):
                accumulator.set(b.fma(scalar, vector, accumulator.get()))

    def _load(self, columns: _Columns, k: Int, vector: int) -> Value:
        b, lanes = self.b, self.tiling.lanes
        place = b.add(b.mul(k, columns.stride), vector * lanes)
        address = b.address(columns.base, place, self.scalar)
        if columns.whole:
            return b.load(address, self.type, self.align * lanes)
        mask = columns.masks[vector]
        if mask is None:
            return b.load(address, self.type, self.align)
        return b.masked_load(address, mask, b.float(0.0, self.type), self.align)

    def _coordinates(self, matrix: Int, row: Int, column: Int) -> list[Int]:
        problem, b = self.problem, self.b
        if problem.constant_columns:
            return [row, column]
        if problem.window is None:
            return [matrix, row, column]
        image = b.udiv(matrix, problem.groups)
        group = b.urem(matrix, problem.groups)
        return [image, b.add(b.mul(group, problem.rows), row), column]
