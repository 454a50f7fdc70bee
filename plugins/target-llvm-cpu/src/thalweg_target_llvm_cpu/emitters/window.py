"""Sliding windows: ``tw.reduce_window`` of any rank, and depthwise ``tw.conv``.

A window over the last two dimensions is computed by ``WindowRows``, or by ``WindowTaps`` where their extents
are known at the call only. Any other (over channels, over three
dimensions, or too large to write out) goes tap by tap, vectorised where the last dimensions are free of the
window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.extents import Extent, ceil_divide, maximum
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.dialects import tw
from xdsl.ir import Operation

from thalweg_target_llvm_cpu.builder import Int, KernelBuilder, Value
from thalweg_target_llvm_cpu.emitters import window_taps
from thalweg_target_llvm_cpu.emitters.access import Access, Tensor, flat_index, literal, read, row_major
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.nest import (
    Level,
    Split,
    fitting_lanes,
    has_cheap_masks,
    lanes_for,
    split,
    vector_nest,
)
from thalweg_target_llvm_cpu.emitters.window_problem import (
    Axis,
    Columns,
    Problem,
    cut_columns,
    is_dynamic,
    is_written_out,
    problem_of,
    row_block,
    window_axes,
)
from thalweg_target_llvm_cpu.emitters.window_rows import WindowRows, larger, least
from thalweg_target_llvm_cpu.emitters.work import analyse, body_cost, element_count, widest_bytes

NAME = "window"


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch."""
    root = analyse(dispatch).root
    if len({element_name(v.type) for v in (*root.operands, *root.results)}) != 1:
        return False
    if isinstance(root, tw.ReduceWindowOp):
        return True
    if not isinstance(root, tw.ConvOp):
        return False
    problem = problem_of(dispatch)
    return problem is not None and (is_written_out(problem) or is_dynamic(problem))


def _cut(problem: Problem, settings: Mapping[str, Any], element_bytes: int) -> tuple[Columns, int]:
    lanes = lanes_for(settings, element_bytes)
    columns = cut_columns(problem.columns, lanes, has_cheap_masks(settings, element_bytes))
    return columns, row_block(problem, int(settings["vector_registers"]))


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: planes and blocks of rows are divided among the workgroups."""
    work = analyse(dispatch)
    result = work.root.results[0]
    if 0 in extents_of(result):
        return DispatchPlan(KernelPlan((1, 1, 1), parameters={"emitter": NAME, "way": "empty"}))
    problem = problem_of(dispatch)
    wide = widest_bytes([work.root, work.epilogue])
    boolean = element_name(result.type) == "i1"
    if problem is not None and not boolean and is_written_out(problem):
        return _plan_rows(problem, settings, wide, element_count(result) * body_cost(work.epilogue))
    if problem is not None and not boolean and is_dynamic(problem):
        cost = element_count(result) * (4 + problem.taps + body_cost(work.epilogue))
        division = split(window_taps.levels_of(problem), cost)
        parameters = {"emitter": NAME, "way": "taps", "split": division.parameters()}
        return DispatchPlan(KernelPlan((division.count, 1, 1), parameters=parameters))
    general = _General.of(work.root, settings, wide)
    division = split(general.levels, element_count(result) * general.taps * 4)
    parameters = {"emitter": NAME, "way": "general", "split": division.parameters()}
    return DispatchPlan(KernelPlan((division.count, 1, 1), parameters=parameters))


def _plan_rows(problem: Problem, settings: Mapping[str, Any], wide: int, extra: Extent) -> DispatchPlan:
    _, block = _cut(problem, settings, wide)
    outputs = problem.planes * problem.rows.output * problem.columns.output
    cost = outputs * (4 + problem.taps) + extra
    first, stop = problem.rows.interior
    levels = [Level(problem.planes)]
    interior = split([*levels, Level(stop - first, block)], cost) if block else Split(0, 1, 1)
    border = split(levels, cost) if not block else _spread(problem.planes, interior.count)
    parameters = {
        "emitter": NAME,
        "way": "rows",
        "interior": interior.parameters(),
        "border": border.parameters(),
    }
    return DispatchPlan(KernelPlan((maximum(interior.count, border.count), 1, 1), parameters=parameters))


def _spread(planes: Extent, count: Extent) -> Split:
    if count == 1:
        return Split(0, 1, 1)
    count = maximum(1, count)
    return Split(1, ceil_divide(planes, count), count)


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    epilogue = Epilogue(dispatch, settings)
    tensors = epilogue.bind(b)
    work = epilogue.work
    wide = widest_bytes([work.root, work.epilogue])
    if plan.parameters["way"] == "rows":
        problem = problem_of(dispatch)
        assert problem is not None
        columns, block = _cut(problem, settings, wide)
        WindowRows(b, problem, columns, block, epilogue, tensors).emit(plan.parameters)
    elif plan.parameters["way"] == "taps":
        problem = problem_of(dispatch)
        assert problem is not None
        kernel = window_taps.WindowTaps(b, problem, lanes_for(settings, wide), epilogue, tensors)
        kernel.emit(Split.of(plan.parameters["split"]))
    elif plan.parameters["way"] == "general":
        general = _General.of(work.root, settings, wide)
        x = tensors.of(work.root.operands[0])
        point = lambda place, lanes: general.emit(b, epilogue, x, place, lanes)
        *outer, _ = general.levels
        vector_nest(b, outer, general.run, general.lanes, Split.of(plan.parameters["split"]), point)


@dataclass(frozen=True)
class _General:
    """A window tap by tap. The last ``run`` elements of operand and result are free of it, and contiguous."""

    kind: str
    axes: tuple[Axis, ...]
    run: Extent
    rank: int
    lanes: int

    @classmethod
    def of(cls, root: Operation, settings: Mapping[str, Any], wide: int) -> _General:
        assert isinstance(root, tw.ReduceWindowOp)
        axes = window_axes(root)
        rank = len(axes)
        run: Extent = 1
        while axes and axes[-1].free:
            run = run * axes.pop().size
        lanes = fitting_lanes(lanes_for(settings, wide), run)
        return cls(root.kind.data, tuple(axes), run, rank, lanes)

    @property
    def taps(self) -> int:
        return prod(axis.window for axis in self.axes)

    @property
    def levels(self) -> list[Level]:
        return [*(Level(axis.output) for axis in self.axes), Level(self.run, self.lanes)]

    def emit(self, b: KernelBuilder, epilogue: Epilogue, x: Tensor, place: Sequence[Int], lanes: int) -> None:
        *outputs, start = place
        neutral = least(x.element) if self.kind == "max" else 0
        cell = b.variable(b.broadcast_literal(literal(b, neutral, x.scalar), lanes))
        strides = row_major([*(axis.size for axis in self.axes), self.run])
        with ExitStack() as loops:
            source: list[Int] = []
            for output, axis in zip(outputs, self.axes):
                tap = loops.enter_context(b.loop(0, axis.window))
                position = b.add(b.mul(output, axis.stride), b.mul(tap, axis.dilation))
                position = b.integer(b.sub(position, axis.low))
                loops.enter_context(b.when(b.icmp("ult", position, b.integer(axis.size))))
                source.append(position)
            value = read(b, x, flat_index(b, Access(strides), [*source, start]), lanes)
            cell.set(self._combine(b, x.element, cell.get(), value))
        groups = [*((d,) for d in range(len(self.axes))), tuple(range(len(self.axes), self.rank))]
        epilogue.finish(b, cell.get(), [*outputs, start], groups)

    def _combine(self, b: KernelBuilder, element: str, total: Value, value: Value) -> Value:
        if self.kind == "max":
            return larger(b, element, total, value)
        return b.binary("fadd" if element in ("f16", "bf16", "f32", "f64") else "add", total, value)
