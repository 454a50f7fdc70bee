"""Reducing ``linalg.generic``: any axes, any combiner, with an elementwise epilogue.

*across*: the innermost dimension is reduced, by vector accumulators that are combined at the end with the
body's own combiner. *along*: the innermost dimension is kept, one vector of results at a time. *single*: one
element at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.dialects import linalg
from xdsl.ir import Operation
from xdsl.ir.affine import AffineDimExpr, AffineMap

from thalweg_target_llvm_cpu.builder import ELEMENT_BYTES, LLVM_TYPES, Int, KernelBuilder, Value, Variable
from thalweg_target_llvm_cpu.emitters.access import (
    Access,
    Space,
    Tensor,
    Tensors,
    collapse,
    constant_values,
    flat_index,
    literal,
    map_access,
    read,
)
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.generic import iteration_extents
from thalweg_target_llvm_cpu.emitters.nest import (
    Level,
    Split,
    by_lanes,
    fitting_lanes,
    lanes_for,
    nest,
    split,
    typical,
    vector_starts,
    vectors,
)
from thalweg_target_llvm_cpu.emitters.rows import Row, by_widths, combine_all, combine_lanes
from thalweg_target_llvm_cpu.emitters.work import (
    analyse,
    body_cost,
    element_count,
    is_reduction,
    widest_bytes,
)
from thalweg_target_llvm_cpu.scalar_body import ScalarBody

NAME = "reduction"
ACCUMULATORS = 4

_FLOAT_IDENTITIES = {"arith.addf": -0.0, "arith.mulf": 1.0, "arith.maximumf": -inf, "arith.minimumf": inf}
_INTEGER_IDENTITIES = {"arith.addi": 0, "arith.muli": 1, "arith.andi": -1, "arith.ori": 0, "arith.xori": 0}


@dataclass(frozen=True)
class Form:
    """A reduction in collapsed form; ``space.accesses`` are the inputs', then the init's.

    ``kept`` and ``reduced`` are collapsed dimensions; ``groups`` the output dimensions of each kept one.
    """

    op: linalg.GenericOp
    space: Space
    kept: tuple[int, ...]
    reduced: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    mode: str
    lanes: int


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch: a generic that reduces into one result, dimensions in
    order.
    """
    root = analyse(dispatch).root
    if not isinstance(root, linalg.GenericOp) or not is_reduction(root) or len(root.outputs) != 1:
        return False
    output = root.indexing_maps.data[-1].data
    kept = _kept(output)
    return len(kept) == len(output.results) and kept == sorted(set(kept))


def _kept(output: AffineMap) -> list[int]:
    return [e.position for e in output.results if isinstance(e, AffineDimExpr)]


def form_of(dispatch: Dispatch, epilogue: Epilogue, settings: Mapping[str, Any]) -> Form:
    """Return the collapsed form of a dispatch that ``accepts`` took."""
    op = epilogue.work.root
    assert isinstance(op, linalg.GenericOp)
    maps = [m.data for m in op.indexing_maps.data]
    extents = iteration_extents(op)
    output_dims = _kept(maps[-1])
    accesses = [map_access(m, extents_of(v)) for v, m in zip([*op.inputs, *op.outputs], maps)]
    for access in epilogue.accesses():
        strides: list[Extent] = [0] * len(extents)
        for dimension, stride in zip(output_dims, access.strides):
            strides[dimension] = stride
        accesses.append(Access(tuple(strides)))
    indexed = {inner.dim.value.data for inner in op.body.block.ops if isinstance(inner, linalg.IndexOp)}
    classes = [(d in output_dims, d if d in indexed else -1) for d in range(len(extents))]
    space = collapse(extents, accesses, classes)
    kept = tuple(c for c, group in enumerate(space.groups) if group[0] in output_dims)
    reduced = tuple(c for c in range(len(space.extents)) if c not in kept)
    groups = tuple(tuple(output_dims.index(d) for d in space.groups[c]) for c in kept)
    mode, vector = _mode(op, space, kept, reduced)
    lanes = lanes_for(settings, widest_bytes([op, epilogue.generic]))
    lanes = 1 if vector is None else fitting_lanes(lanes, space.extents[vector])
    return Form(op, space, kept, reduced, groups, mode, lanes)


def _mode(
    op: linalg.GenericOp, space: Space, kept: Sequence[int], reduced: Sequence[int]
) -> tuple[str, int | None]:
    if 0 in space.extents or not space.extents:
        return "single", None
    last = len(space.extents) - 1
    if last in kept:
        return "along", last
    return ("across", last) if combiner(op) is not None else ("single", None)


def combiner(op: linalg.GenericOp) -> Operation | None:
    """Return the op of a body ``combine(accumulator, f(operands…))`` if it is associative and commutative."""
    block = op.body.block
    assert block.last_op is not None
    (yielded,) = block.last_op.operands
    accumulator = block.args[-1]
    candidate = yielded.owner
    if (
        not isinstance(candidate, Operation)
        or len(list(accumulator.uses)) != 1
        or len(list(yielded.uses)) != 1
    ):
        return None
    known = candidate.name in {*_FLOAT_IDENTITIES, *_INTEGER_IDENTITIES, "arith.maxsi", "arith.minsi"}
    return candidate if known and accumulator in candidate.operands else None


def identity(op: Operation) -> float | int:
    """Return the value that leaves the other operand of a combiner unchanged."""
    if op.name in ("arith.maxsi", "arith.minsi"):
        element = element_name(op.results[0].type)
        if element == "i1":  # as a signed number, true is -1
            return -1 if op.name == "arith.maxsi" else 0
        limit = 1 << (8 * ELEMENT_BYTES[element] - 1)
        return -limit if op.name == "arith.maxsi" else limit - 1
    return {**_FLOAT_IDENTITIES, **_INTEGER_IDENTITIES}[op.name]


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: results are divided among the workgroups."""
    epilogue = Epilogue(dispatch, settings)
    form = form_of(dispatch, epilogue, settings)
    elements = max([element_count(v) for v in form.op.inputs], key=typical, default=0)
    division = split(levels_of(form), elements * (4 + body_cost(form.op)))
    parameters = {"emitter": NAME, "split": division.parameters()}
    return DispatchPlan(KernelPlan((division.count, 1, 1), parameters=parameters))


def levels_of(form: Form, whole: bool = True) -> list[Level]:
    """Return the nest over the kept dimensions; the innermost in blocks of vectors when it is walked *along*.

    :param whole: the innermost extent is at least a block, where that depends on the call.
    """
    extents = [form.space.extents[c] for c in form.kept]
    if form.mode != "along":
        return [Level(extent) for extent in extents]
    inner, block = extents[-1], ACCUMULATORS * form.lanes
    if isinstance(inner, int):
        return [*map(Level, extents[:-1]), Level(inner, min(block, inner))]
    return [*map(Level, extents[:-1]), Level(inner, block, whole)]


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    epilogue = Epilogue(dispatch, settings)
    form = form_of(dispatch, epilogue, settings)
    if 0 in extents_of(dispatch.results[0]):
        return
    tensors = epilogue.bind(b)
    kernel = lambda lanes: _Kernel(b, replace(form, lanes=lanes), epilogue, tensors)
    division = Split.of(plan.parameters["split"])
    if form.mode == "along":
        _along(b, form, division, kernel)
        return

    def rows(lanes: int) -> None:
        written = kernel(lanes)
        with nest(b, levels_of(form), division) as place:
            (written.across if form.mode == "across" else written.single)(place)

    if form.mode == "across":
        by_widths(b, form.space.extents[-1], form.lanes, rows)
    else:
        rows(1)


def _along(b: KernelBuilder, form: Form, division: Split, kernel: Callable[[int], _Kernel]) -> None:
    """Write the nest: blocks of vectors; single vectors, or elements, where the row turns out shorter."""
    extent = form.space.extents[form.kept[-1]]
    block = (
        ACCUMULATORS * form.lanes if not isinstance(extent, int) else min(ACCUMULATORS * form.lanes, extent)
    )

    def blocks() -> None:
        with nest(b, levels_of(form), division) as place:
            kernel(form.lanes).along(place, block)

    def short(lanes: int) -> None:
        level = levels_of(form, whole=False)[-1]
        with nest(b, levels_of(form, whole=False), division) as (*outer, start):
            length = b.sub(level.stop(b, start), start)
            one = lambda at: kernel(lanes).along([*outer, b.add(start, at)], lanes)
            vectors(b, length, lanes, one)

    by_lanes(b, extent, block, lambda n: blocks() if n == block else by_lanes(b, extent, form.lanes, short))


class _Kernel:
    def __init__(self, b: KernelBuilder, form: Form, epilogue: Epilogue, tensors: Tensors):
        self.b, self.form, self.epilogue = b, form, epilogue
        self.inputs: list[Tensor] = [tensors.of(v) for v in form.op.inputs]
        self.combiner = combiner(form.op)
        self.narrow = LLVM_TYPES[element_name(form.op.results[0].type)]
        # Halves are combined in float32, and rounded once.
        self.wide = self.narrow in ("half", "bfloat") and self.combiner is not None
        self.accumulator = "float" if self.wide else self.narrow
        start = constant_values(form.op.outputs[0])
        self.init = literal(b, start[0], self.narrow) if start else tensors.of(form.op.outputs[0])

    def single(self, place: Sequence[Int]) -> None:
        """One result at a time."""
        cell = self.b.variable(self.initial(place, 1))
        with ExitStack() as loops:
            reduced = [
                loops.enter_context(self.b.loop(0, self.form.space.extents[c])) for c in self.form.reduced
            ]
            cell.set(self.step(self.coordinates(place, reduced), 1, cell.get()))
        self.epilogue.finish(self.b, self._narrowed(cell.get()), place, self.form.groups)

    def along(self, place: Sequence[Int], block: int) -> None:
        """A block of results, one vector accumulator for each vector of it."""
        b, form = self.b, self.form
        *outer, start = place
        whole, last = vector_starts(block, form.lanes)
        offsets = [*range(0, whole, form.lanes), *([last] if last >= 0 else [])]
        places = [[*outer, b.add(start, offset)] for offset in offsets]
        cells = [b.variable(self.initial(p, form.lanes)) for p in places]
        with ExitStack() as loops:
            reduced = [loops.enter_context(b.loop(0, form.space.extents[c])) for c in form.reduced]
            for p, cell in zip(places, cells):
                cell.set(self.step(self.coordinates(p, reduced), form.lanes, cell.get()))
        for p, cell in zip(places, cells):
            self.epilogue.finish(b, self._narrowed(cell.get()), p, form.groups)

    def across(self, place: Sequence[Int]) -> None:
        """One result: vector accumulators over the innermost dimension, then combined."""
        b, form = self.b, self.form
        lanes, row = form.lanes, Row(form.space.extents[-1], form.lanes)
        op = self.combiner
        assert op is not None
        neutral = literal(
            b, identity(op), f"<{lanes} x {self.accumulator}>" if lanes > 1 else self.accumulator
        )
        cells = [b.variable(neutral) for _ in range(row.accumulators(ACCUMULATORS))]
        with ExitStack() as loops:
            outer = [loops.enter_context(b.loop(0, form.space.extents[c])) for c in form.reduced[:-1]]
            step = lambda number, position: self._accumulate(place, [*outer, position], cells[number])
            row.interleaved(b, len(cells), step)
            row.tail(b, lambda: self._accumulate(place, [*outer, row.last], cells[-1], row.fresh(b)))
        total = self._combined(op, [cell.get() for cell in cells])
        total = ScalarBody(b, 1).apply(op, [self.initial(place, 1), total])
        self.epilogue.finish(b, self._narrowed(total), place, form.groups)

    def _accumulate(
        self, place: Sequence[Int], reduced: Sequence[Int], cell: Variable, fresh: Value | None = None
    ) -> None:
        before = cell.get()
        after = self.step(self.coordinates(place, reduced), self.form.lanes, before)
        cell.set(after if fresh is None else self.b.select(fresh, after, before))

    def _combined(self, op: Operation, values: Sequence[Value]) -> Value:
        combine = lambda x, y: ScalarBody(self.b, x.lanes).apply(op, [x, y])
        return combine_lanes(self.b, combine_all(values, combine), combine)

    def coordinates(self, place: Sequence[Int], reduced: Sequence[Int]) -> list[Int]:
        """Return the coordinates in the collapsed space."""
        given = {**dict(zip(self.form.kept, place)), **dict(zip(self.form.reduced, reduced))}
        return [given[c] for c in range(len(self.form.space.extents))]

    def _narrowed(self, value: Value) -> Value:
        return self.b.cast("fptrunc", value, self.narrow) if self.wide else value

    def initial(self, place: Sequence[Int], lanes: int) -> Value:
        """Return the accumulator's first value."""
        value = self._initial(place, lanes)
        return self.b.cast("fpext", value, "float") if self.wide else value

    def _initial(self, place: Sequence[Int], lanes: int) -> Value:
        if isinstance(self.init, Value):
            return self.b.broadcast_literal(self.init, lanes)
        access = self.form.space.accesses[len(self.inputs)]
        coordinates = self.coordinates(place, [0] * len(self.form.reduced))
        return read(
            self.b,
            self.init,
            flat_index(self.b, access, coordinates),
            lanes,
            access.strides[-1] if lanes > 1 else 0,
        )

    def step(self, coordinates: Sequence[Int], lanes: int, accumulator: Value) -> Value:
        """Return the accumulator after the elements at ``coordinates``."""
        b = self.b
        values = []
        for tensor, access in zip(self.inputs, self.form.space.accesses):
            stride = access.strides[-1] if coordinates else 0
            values.append(read(b, tensor, flat_index(b, access, coordinates), lanes, stride))
        index = lambda dimension: self._index(coordinates, dimension, lanes)
        body, block = ScalarBody(b, lanes, index), self.form.op.body.block
        if not self.wide or self.combiner is None:
            return body.emit(block, [*values, accumulator])
        (element,) = (v for v in self.combiner.operands if v is not block.args[-1])
        value = b.cast("fpext", body.value(block, [*values, accumulator], element), "float")
        return body.apply(self.combiner, [accumulator, value])

    def _index(self, coordinates: Sequence[Int], dimension: int, lanes: int) -> Value:
        b, position = self.b, self.form.space.position(dimension)
        coordinate = b.integer(0 if position is None else coordinates[position])
        value = b.broadcast(coordinate, lanes)
        return (
            b.binary("add", value, b.iota(lanes)) if lanes > 1 and position == len(coordinates) - 1 else value
        )
