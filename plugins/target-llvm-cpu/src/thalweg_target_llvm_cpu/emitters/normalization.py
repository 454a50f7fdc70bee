"""``tw.layer_norm``: mean, centred variance, then scale and bias, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.attributes import number
from thalweg.ir.dialects import tw

from thalweg_target_llvm_cpu.builder import LLVM_TYPES, Int, KernelBuilder, Value, vector_type
from thalweg_target_llvm_cpu.emitters.access import Tensor, read
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.nest import Level, Split, fitting_lanes, lanes_for, nest, split
from thalweg_target_llvm_cpu.emitters.rows import Row, accumulate, by_widths, combine_lanes
from thalweg_target_llvm_cpu.emitters.work import Work, analyse, body_cost, element_count, widest_bytes

NAME = "layer_norm"
COST = 16
"""Of one element, in bytes moved: three passes."""


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch: a layer normalization of floats of one dtype."""
    root = analyse(dispatch).root
    if not isinstance(root, tw.LayerNormOp):
        return False
    elements = {element_name(v.type) for v in (*root.operands, *root.results)}
    return len(elements) == 1 and elements <= {"f16", "bf16", "f32", "f64"}


def _root(work: Work) -> tw.LayerNormOp:
    assert isinstance(work.root, tw.LayerNormOp)
    return work.root


def _rows(root: tw.LayerNormOp) -> tuple[int, Extent, Extent]:
    shape = extents_of(root.x)
    axis = root.axis.value.data % len(shape)
    return axis, prod(shape[:axis]), prod(shape[axis:])


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: rows are divided among the workgroups."""
    work = analyse(dispatch)
    root = _root(work)
    _, outer, _ = _rows(root)
    division = split([Level(outer)], element_count(root.x) * (COST + body_cost(work.epilogue)))
    parameters = {"emitter": NAME, "split": division.parameters()}
    return DispatchPlan(KernelPlan((division.count, 1, 1), parameters=parameters))


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    epilogue = Epilogue(dispatch, settings)
    tensors = epilogue.bind(b)
    root = _root(epilogue.work)
    axis, outer, extent = _rows(root)
    lanes = fitting_lanes(lanes_for(settings, widest_bytes([root, epilogue.generic])), extent)
    operands = [tensors.of(v) for v in root.operands]
    if outer * extent == 0:
        return

    def rows(lanes: int) -> None:
        kernel = _Kernel(b, Row(extent, lanes), operands, epilogue, axis)
        with nest(b, [Level(outer)], Split.of(plan.parameters["split"])) as (index,):
            kernel.row(index, float(number(root.epsilon)))

    by_widths(b, extent, lanes, rows)


class _Kernel:
    def __init__(self, b: KernelBuilder, row: Row, operands: list[Tensor], epilogue: Epilogue, axis: int):
        self.b, self.extent, self.epilogue, self.axis = b, row, epilogue, axis
        self.x, self.scale, self.bias = operands
        self.scalar = "double" if self.x.element == "f64" else "float"
        self.type = vector_type(self.scalar, row.lanes)

    def load(self, tensor: Tensor, index: Int) -> Value:
        """Read a vector, widened to the dtype of the computation."""
        value = read(self.b, tensor, index, self.extent.lanes)
        return value if value.type == self.type else self.b.cast("fpext", value, self.scalar)

    def mean(self, term) -> Value:
        """Return the mean of ``term(position)`` over the row, a scalar."""
        b = self.b
        add = lambda x, y: b.binary("fadd", x, y)
        total = combine_lanes(b, accumulate(b, self.extent, 4, b.float(0.0, self.type), term, add), add)
        return b.binary("fdiv", total, self.count())

    def count(self) -> Value:
        """Return the number of elements of a row, a float."""
        extent = self.extent.extent
        if isinstance(extent, int):
            return self.b.float(float(extent), self.scalar)
        return self.b.cast("sitofp", self.b.extent(extent), self.scalar)

    def row(self, outer: Int, epsilon: float) -> None:
        """Normalize one row."""
        b, lanes = self.b, self.extent.lanes
        start = b.mul(outer, self.extent.extent)
        mean = b.broadcast(self.mean(lambda p: self.load(self.x, b.add(start, p))), lanes)

        def squared(position: Int) -> Value:
            centred = b.binary("fsub", self.load(self.x, b.add(start, position)), mean)
            return b.binary("fmul", centred, centred)

        variance = b.binary("fadd", self.mean(squared), b.float(epsilon, self.scalar))
        deviation = b.call_intrinsic("llvm.sqrt", self.scalar, [variance])
        inverse = b.broadcast(b.binary("fdiv", b.float(1.0, self.scalar), deviation), lanes)
        self.extent.vectors(b, lambda position: self._normalize(outer, start, position, mean, inverse))

    def _normalize(self, outer: Int, start: Int, position: Int, mean: Value, inverse: Value) -> None:
        b = self.b
        value = b.binary("fsub", self.load(self.x, b.add(start, position)), mean)
        value = b.fma(
            b.binary("fmul", value, inverse), self.load(self.scale, position), self.load(self.bias, position)
        )
        if self.scalar != LLVM_TYPES[self.x.element]:
            value = b.cast("fptrunc", value, self.x.scalar)
        rank = len(self.epilogue.shape)
        groups = [tuple(range(self.axis)), tuple(range(self.axis, rank))]
        self.epilogue.finish(b, value, [outer, position], groups)
