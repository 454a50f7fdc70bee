"""Register-blocked matrix products and convolutions over packed operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from thalweg.codegen.packing import Packing
from thalweg.codegen.target import DispatchPlan, KernelPlan
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
    local = (
        0 if problem.constant_columns else problem.depth * tiling.panel_width * ELEMENT_BYTES[problem.element]
    )
    count = problem.batch * tiling.panel_chunks * tiling.block_chunks
    parameters = {"emitter": NAME, "tiling": asdict(tiling)}
    return DispatchPlan(KernelPlan((count, 1, 1), local, parameters), packings)


def _weight_packing(problem: Problem, tiling: Tiling) -> Packing:
    """[groups * rows, channels, kh, kw] → [groups, row blocks, kh, kw, channels, rows of a block]."""
    window = problem.window
    assert window is not None
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
    _Gemm(b, dispatch, problem, Tiling(**plan.parameters["tiling"]), settings).emit()


@dataclass(frozen=True)
class _Rows:
    """The rows' side for one row block: element (row i, depth k) is at ``base + i * row_stride + k *
    depth_stride``.
    """

    base: Value
    row_stride: int
    depth_stride: int


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
        self.local = None if problem.constant_columns else b.local_memory()

    def emit(self) -> None:
        """Write the loops over the workgroup's panels and row blocks."""
        b, tiling, problem = self.b, self.tiling, self.problem
        group = b.workgroup_id(0)
        blocks = -(-problem.rows // tiling.rows)
        panels = -(-problem.columns // tiling.panel_width)
        block_chunk = b.urem(group, tiling.block_chunks)
        rest = b.udiv(group, tiling.block_chunks)
        panel_chunk = b.urem(rest, tiling.panel_chunks)
        matrix = b.udiv(rest, tiling.panel_chunks) if problem.batch > 1 else 0
        first_block, last_block = self._range(block_chunk, tiling.blocks, blocks)
        first_panel, last_panel = self._range(panel_chunk, tiling.panels, panels)
        tail = problem.columns % tiling.panel_width
        full_panels = problem.columns // tiling.panel_width
        if full_panels:
            with b.loop(first_panel, b.minimum(last_panel, full_panels)) as panel:
                self._panel(matrix, panel, tiling.vectors, False, first_block, last_block)
        if tail:
            with b.loop(self._at_least(first_panel, full_panels), last_panel) as panel:
                vectors = -(-tail // tiling.lanes)
                self._panel(matrix, panel, vectors, bool(tail % tiling.lanes), first_block, last_block)

    def _range(self, chunk: Int, size: int, total: int) -> tuple[Int, Int]:
        first = self.b.mul(chunk, size)
        return first, self.b.minimum(self.b.add(first, size), total)

    def _at_least(self, value: Int, bound: int) -> Int:
        if isinstance(value, int):
            return max(value, bound)
        return self.b.call_intrinsic("llvm.smax", "i64", [value, self.b.integer(bound)])

    def _panel(
        self, matrix: Int, panel: Int, vectors: int, masked: bool, first_block: Int, last_block: Int
    ) -> None:
        b, tiling, problem = self.b, self.tiling, self.problem
        column = b.mul(panel, tiling.panel_width)
        if problem.constant_columns:
            index = b.mul(panel, problem.depth * tiling.panel_width)
            columns = b.address(self.weights_or_b, index, self.scalar)
        else:
            assert self.local is not None
            columns = self.local
            PanelWriter(b, problem, tiling, self._column_source(matrix), columns).write(
                column, vectors, masked
            )
        full = problem.rows // tiling.rows
        rest = problem.rows % tiling.rows
        if full:
            with b.loop(first_block, b.minimum(last_block, full)) as block:
                self._tile(matrix, block, tiling.rows, columns, column, vectors, masked)
        if rest:
            with b.loop(self._at_least(first_block, full), last_block) as block:
                self._tile(matrix, block, rest, columns, column, vectors, masked)

    def _column_source(self, matrix: Int) -> Value:
        b, problem = self.b, self.problem
        if problem.window is None:
            index = 0 if problem.b_shared else b.mul(matrix, problem.depth * problem.columns)
            return b.address(self.weights_or_b, index, self.scalar)
        plane = problem.window.height * problem.window.width
        return b.address(self.image_or_a, b.mul(matrix, problem.window.channels * plane), self.scalar)

    def _rows(self, matrix: Int, block: Int) -> _Rows:
        b, problem, tiling = self.b, self.problem, self.tiling
        if problem.window is not None:
            blocks = -(-problem.rows // tiling.rows)
            number = b.add(b.mul(b.urem(matrix, problem.groups), blocks), block)
            index = b.mul(number, problem.depth * tiling.rows)
            return _Rows(b.address(self.weights_or_b, index, self.scalar), 1, tiling.rows)
        row = b.mul(block, tiling.rows)
        if not problem.a_shared:
            row = b.add(row, b.mul(matrix, problem.rows))
        return _Rows(b.address(self.image_or_a, b.mul(row, problem.depth), self.scalar), problem.depth, 1)

    def _tile(
        self, matrix: Int, block: Int, rows: int, columns: Value, column: Int, vectors: int, masked: bool
    ) -> None:
        """One register tile: the loop over the depth, then the epilogue of each accumulator."""
        b, tiling, problem = self.b, self.tiling, self.problem
        source = self._rows(matrix, block)
        zero = b.float(0.0, self.type)
        accumulators = [[b.variable(zero) for _ in range(vectors)] for _ in range(rows)]
        main = problem.depth - problem.depth % UNROLL
        if main:
            with b.loop(0, main, UNROLL) as k:
                for step in range(UNROLL):
                    self._step(source, columns, b.add(k, step), accumulators)
        for k in range(main, problem.depth):
            self._step(source, columns, k, accumulators)
        mask = None
        if masked:
            first = b.add(column, (vectors - 1) * tiling.lanes)
            mask = b.lane_mask(b.sub(problem.columns, first), tiling.lanes)
        for i, line in enumerate(accumulators):
            row = b.add(b.mul(block, tiling.rows), i)
            for j, accumulator in enumerate(line):
                coordinates = self._coordinates(matrix, row, b.add(column, j * tiling.lanes))
                this_mask = mask if j == vectors - 1 else None
                self.epilogue.finish(b, accumulator.get(), coordinates, problem.output_groups, this_mask)

    def _step(self, source: _Rows, columns: Value, k: Int, accumulators: list) -> None:
        b, tiling = self.b, self.tiling
        row_of_panel = b.mul(k, tiling.panel_width)
        loaded = [
            b.load(b.address(columns, b.add(row_of_panel, j * tiling.lanes), self.scalar), self.type,
                   self.align * tiling.lanes)
            for j in range(len(accumulators[0]))
        ]  # fmt: skip
        depth = b.mul(k, source.depth_stride)
        for i, line in enumerate(accumulators):
            address = b.address(source.base, b.add(depth, i * source.row_stride), self.scalar)
            scalar = b.broadcast(b.load(address, self.scalar, self.align), tiling.lanes)
            for accumulator, vector in zip(line, loaded):
                accumulator.set(b.fma(scalar, vector, accumulator.get()))

    def _coordinates(self, matrix: Int, row: Int, column: Int) -> list[Int]:
        problem, b = self.problem, self.b
        if problem.constant_columns:
            return [row, column]
        if problem.window is None:
            return [matrix, row, column]
        image = b.udiv(matrix, problem.groups)
        group = b.urem(matrix, problem.groups)
        return [image, b.add(b.mul(group, problem.rows), row), column]
