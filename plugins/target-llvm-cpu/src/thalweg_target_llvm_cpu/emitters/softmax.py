"""``tw.softmax``: three passes over each row (maximum; exponentials and their sum; scaling), along any
axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from operator import index
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.dialects import tw

from thalweg_target_llvm_cpu.builder import (
    ELEMENT_BYTES,
    FLOATS,
    LLVM_TYPES,
    Int,
    KernelBuilder,
    Value,
    vector_type,
)
from thalweg_target_llvm_cpu.emitters.access import Tensor, read, write
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.nest import (
    Level,
    Split,
    fitting_lanes,
    lanes_for,
    nest,
    split,
    vector_nest,
)
from thalweg_target_llvm_cpu.emitters.rows import Row, accumulate, by_widths, combine_lanes
from thalweg_target_llvm_cpu.emitters.work import analyse, body_cost, widest_bytes

NAME = "softmax"
COST = 64
"""Of one element, in bytes moved: mostly the exponential."""


@dataclass(frozen=True)
class Form:
    """[outer, extent, inner]: the softmax is over ``extent``. ``compute``: the dtype it is done in."""

    outer: Extent
    extent: Extent
    inner: Extent
    axis: int
    rank: int
    compute: str
    lanes: int
    home: str
    """Where exponentials wait for their sum: in the ``result``; in ``local`` memory, where the result's dtype
    cannot hold them; or in ``none``: computed twice, because local memory is planned before the call.
    """

    @property
    def local_memory(self) -> int:
        """The bytes of local memory per workgroup."""
        if self.home != "local":
            return 0
        return index(self.extent) * (1 if self.inner == 1 else self.lanes) * ELEMENT_BYTES[self.compute]


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch: a softmax of floats."""
    root = analyse(dispatch).root
    if not isinstance(root, tw.SoftmaxOp) or element_name(root.x.type) not in FLOATS:
        return False
    return element_name(root.result.type) == element_name(root.x.type)


def form_of(dispatch: Dispatch, epilogue: Epilogue, settings: Mapping[str, Any]) -> Form:
    """Return the form of a dispatch that ``accepts`` took."""
    root = epilogue.work.root
    assert isinstance(root, tw.SoftmaxOp)
    shape = extents_of(root.x)
    axis = root.axis.value.data % len(shape)
    inner = prod(shape[axis + 1 :])
    element = element_name(root.x.type)
    compute = "f64" if element == "f64" else "f32"
    lanes = lanes_for(settings, widest_bytes([root, epilogue.generic]))
    lanes = fitting_lanes(lanes, shape[axis] if inner == 1 else inner)
    home = "result"
    if epilogue.element != compute:
        home = "local" if isinstance(shape[axis], int) else "none"
    return Form(prod(shape[:axis]), shape[axis], inner, axis, len(shape), compute, lanes, home)


def levels_of(form: Form) -> list[Level]:
    """Return the nest: rows, and vectors of the inner dimensions."""
    levels = [Level(form.outer)]
    return levels if form.inner == 1 else [*levels, Level(form.inner, form.lanes)]


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: rows are divided among the workgroups."""
    epilogue = Epilogue(dispatch, settings)
    form = form_of(dispatch, epilogue, settings)
    cost = form.outer * form.extent * form.inner * (COST + body_cost(epilogue.generic))
    division = split(levels_of(form), cost)
    parameters = {"emitter": NAME, "split": division.parameters()}
    return DispatchPlan(KernelPlan((division.count, 1, 1), form.local_memory, parameters))


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    epilogue = Epilogue(dispatch, settings)
    form = form_of(dispatch, epilogue, settings)
    tensors = epilogue.bind(b)
    if form.outer * form.extent * form.inner == 0:
        return
    division = Split.of(plan.parameters["split"])
    x = tensors.of(epilogue.work.root.operands[0])
    kernel = lambda lanes: _Kernel(b, replace(form, lanes=lanes), epilogue, x, tensors.result)

    def rows(lanes: int) -> None:
        written = kernel(lanes)
        with nest(b, levels_of(form), division) as (outer,):
            written.row(outer)

    def columns(place: Sequence[Int], lanes: int) -> None:
        kernel(lanes).columns(*place)

    if form.inner == 1:
        by_widths(b, form.extent, form.lanes, rows)
    else:
        vector_nest(b, [Level(form.outer)], form.inner, form.lanes, division, columns)


class _Kernel:
    def __init__(self, b: KernelBuilder, form: Form, epilogue: Epilogue, x: Tensor, result: Tensor):
        self.b, self.form, self.epilogue, self.x = b, form, epilogue, x
        self.type = vector_type(LLVM_TYPES[form.compute], form.lanes)
        local = form.home == "local"
        self.buffer = Tensor(form.compute, (), b.local_memory(), None, False) if local else result

    def keep(self, place: Int, value: Value) -> None:
        """Let a vector of exponentials wait."""
        if self.form.home != "none":
            write(self.b, self.buffer, place, value)

    def kept(self, place: Int, compute: Callable[[], Value]) -> Value:
        """Return the vector of exponentials that waits at ``place``; if none do, ``compute`` it again."""
        return compute() if self.form.home == "none" else read(self.b, self.buffer, place, self.form.lanes)

    def load(self, index: Int) -> Value:
        """Read a vector of the operand, widened to the dtype of the computation."""
        value = read(self.b, self.x, index, self.form.lanes)
        return (
            value if value.type == self.type else self.b.cast("fpext", value, LLVM_TYPES[self.form.compute])
        )

    def finish(self, value: Value, coordinates: Sequence[Int], groups: Sequence[tuple[int, ...]]) -> None:
        """Narrow, apply the epilogue and store."""
        if value.scalar_type != self.x.scalar:
            value = self.b.cast("fptrunc", value, self.x.scalar)
        self.epilogue.finish(self.b, value, coordinates, groups)

    def greater(self, x: Value, y: Value) -> Value:
        """The larger value; a NaN may be lost here, the sum has it in any case."""
        return self.b.select(self.b.fcmp("ogt", y, x), y, x)

    def sum(self, x: Value, y: Value) -> Value:
        """The sum of two values."""
        return self.b.binary("fadd", x, y)

    def row(self, outer: Int) -> None:
        """One contiguous row."""
        b, form = self.b, self.form
        row = Row(form.extent, form.lanes)
        start = b.mul(outer, form.extent)
        home = 0 if form.home == "local" else start
        maximum = accumulate(
            b, row, 4, b.float(-inf, self.type), lambda p: self.load(b.add(start, p)), self.greater
        )
        maximum = b.broadcast(combine_lanes(b, maximum, self.greater), form.lanes)

        def exponential(position: Int) -> Value:
            return b.math("exp", b.binary("fsub", self.load(b.add(start, position)), maximum))

        def first(position: Int) -> Value:
            value = exponential(position)
            self.keep(b.add(home, position), value)
            return value

        total = accumulate(b, row, 2, b.float(0.0, self.type), first, self.sum)
        scale = b.binary(
            "fdiv", b.float(1.0, self.type.split(" x ")[-1].rstrip(">")), combine_lanes(b, total, self.sum)
        )
        scale = b.broadcast(scale, form.lanes)
        groups = [tuple(range(form.axis)), tuple(range(form.axis, form.rank))]
        kept = lambda position: self.kept(b.add(home, position), lambda: exponential(position))
        last = None if row.rest == 0 else kept(row.last)  # before the loop below changes what it overlaps
        with b.loop(0, row.whole, row.lanes) as position:
            self.finish(b.binary("fmul", kept(position), scale), [outer, position], groups)
        if last is not None:
            row.tail(b, lambda: self.finish(b.binary("fmul", last, scale), [outer, row.last], groups))

    def columns(self, outer: Int, column: Int) -> None:
        """One vector of neighbouring columns, each a softmax down its own."""
        b, form = self.b, self.form
        start = b.add(b.mul(outer, form.extent * form.inner), column)
        home, pitch = (0, form.lanes) if form.home == "local" else (start, form.inner)
        maximum = b.variable(b.float(-inf, self.type))
        with b.loop(0, form.extent) as k:
            maximum.set(self.greater(maximum.get(), self.load(b.add(start, b.mul(k, form.inner)))))

        def exponential(k: Int) -> Value:
            value = self.load(b.add(start, b.mul(k, form.inner)))
            return b.math("exp", b.binary("fsub", value, maximum.get()))

        total = b.variable(b.float(0.0, self.type))
        with b.loop(0, form.extent) as k:
            value = exponential(k)
            self.keep(b.add(home, b.mul(k, pitch)), value)
            total.set(self.sum(total.get(), value))
        scale = b.binary("fdiv", b.float(1.0, self.type), total.get())
        groups = [tuple(range(form.axis)), (form.axis,), tuple(range(form.axis + 1, form.rank))]
        with b.loop(0, form.extent) as k:
            value = self.kept(b.add(home, b.mul(k, pitch)), lambda k=k: exponential(k))
            self.finish(b.binary("fmul", value, scale), [outer, k, column], groups)
