"""Elementwise ``linalg.generic``: maps, broadcasts, transposes, generators, of any rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.ir import Dispatch, element_name, shape_of
from thalweg.ir.dialects import linalg

from thalweg_target_llvm_cpu.builder import LLVM_TYPES, Int, KernelBuilder, Value
from thalweg_target_llvm_cpu.emitters.access import (
    Access,
    Space,
    Tensor,
    Tensors,
    collapse,
    flat_index,
    map_access,
    read,
    write,
)
from thalweg_target_llvm_cpu.emitters.nest import (
    Level,
    Split,
    fitting_lanes,
    lanes_for,
    nest,
    split,
    vector_starts,
)
from thalweg_target_llvm_cpu.emitters.work import (
    analyse,
    body_cost,
    element_count,
    is_reduction,
    widest_bytes,
)
from thalweg_target_llvm_cpu.scalar_body import ScalarBody

NAME = "generic"
BLOCK = 4096
"""Elements of the innermost dimension that one step of the nest covers."""


@dataclass(frozen=True)
class Form:
    """A generic, its collapsed space (accesses: inputs, then the output) and its vector length."""

    op: linalg.GenericOp
    space: Space
    lanes: int


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch: one elementwise generic with one result."""
    root = analyse(dispatch).root
    return isinstance(root, linalg.GenericOp) and not is_reduction(root) and len(root.outputs) == 1


def form_of(dispatch: Dispatch, settings: Mapping[str, Any]) -> Form:
    """Return the collapsed form of a dispatch that ``accepts`` took."""
    op = analyse(dispatch).root
    assert isinstance(op, linalg.GenericOp)
    maps = [m.data for m in op.indexing_maps.data]
    extents = shape_of(op.results[0])
    if maps[-1] != type(maps[-1]).identity(len(extents)):
        extents = iteration_extents(op)
    accesses = [map_access(m, shape_of(v)) for v, m in zip([*op.inputs, *op.outputs], maps)]
    indexed = {inner.dim.value.data for inner in op.body.block.ops if isinstance(inner, linalg.IndexOp)}
    classes = [d if d in indexed else -1 for d in range(len(extents))]
    space = collapse(extents, accesses, classes)
    extent = space.extents[-1] if space.extents else 1
    return Form(op, space, fitting_lanes(lanes_for(settings, widest_bytes([op])), extent))


def iteration_extents(op: linalg.GenericOp) -> tuple[int, ...]:
    """Return the extent of each iteration dimension, from the operands that it indexes directly."""
    extents = [1] * len(op.iterator_types.data)
    for value, map_ in zip([*op.inputs, *op.outputs], op.indexing_maps.data):
        for expression, extent in zip(map_.data.results, shape_of(value)):
            if hasattr(expression, "position"):
                extents[expression.position] = extent
    return tuple(extents)


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: blocks of rows for each workgroup."""
    form = form_of(dispatch, settings)
    moved = sum(element_count(v) * 4 for v in (*form.op.inputs, form.op.results[0]))
    cost = moved + element_count(form.op.results[0]) * body_cost(form.op)
    division = split(levels_of(form), cost)
    parameters = {"emitter": NAME, "split": division.parameters()}
    return DispatchPlan(KernelPlan((division.count, 1, 1), parameters=parameters))


def levels_of(form: Form) -> list[Level]:
    """Return the nest: outer dimensions one by one, the innermost in blocks."""
    if not form.space.extents:
        return []
    *outer, inner = form.space.extents
    return [*(Level(extent) for extent in outer), Level(inner, min(BLOCK, max(inner, 1)))]


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    form = form_of(dispatch, settings)
    levels = levels_of(form)
    tensors = Tensors(b, dispatch)
    inputs = [tensors.of(v) if uses_operand(form.op, i) else None for i, v in enumerate(form.op.inputs)]
    if 0 in form.space.extents:
        return
    with nest(b, levels, Split.of(plan.parameters["split"])) as coordinates:
        if not levels:
            _point(b, form, inputs, tensors.result, [], 1)
            return
        whole, last = vector_starts(levels[-1].step, form.lanes)
        *outer, start = coordinates
        with b.loop(0, whole, form.lanes) as offset:
            _point(b, form, inputs, tensors.result, [*outer, b.add(start, offset)], form.lanes)
        if last >= 0:
            _point(b, form, inputs, tensors.result, [*outer, b.add(start, last)], form.lanes)


def uses_operand(op: linalg.GenericOp, index: int) -> bool:
    """Return whether the body reads operand ``index``."""
    return bool(list(op.body.block.args[index].uses))


def _point(
    b: KernelBuilder,
    form: Form,
    inputs: Sequence[Tensor | None],
    output: Tensor,
    coordinates: Sequence[Int],
    lanes: int,
) -> None:
    *reads, target = form.space.accesses
    values = []
    for tensor, access in zip(inputs, reads):
        stride = access.strides[-1] if coordinates else 0
        values.append(
            Value("poison", "i64")
            if tensor is None
            else read(b, tensor, flat_index(b, access, coordinates), lanes, stride)
        )
    emit_body(b, form, values, output, target, coordinates, lanes)


def emit_body(
    b: KernelBuilder,
    form: Form,
    values: Sequence[Value],
    output: Tensor,
    target: Access,
    coordinates: Sequence[Int],
    lanes: int,
) -> None:
    """Apply the body to lanes of the operands and store the result."""
    accumulator = Value("poison", LLVM_TYPES[element_name(form.op.results[0].type)])
    index = lambda dimension: _index(b, form, coordinates, dimension, lanes)
    value = ScalarBody(b, lanes, index).emit(form.op.body.block, [*values, accumulator])
    write(b, output, flat_index(b, target, coordinates), value)


def _index(b: KernelBuilder, form: Form, coordinates: Sequence[Int], dimension: int, lanes: int) -> Value:
    position = form.space.position(dimension)
    if position is None:
        return b.integer(0, "i64" if lanes == 1 else f"<{lanes} x i64>")
    value = b.broadcast(b.integer(coordinates[position]), lanes)
    return b.binary("add", value, b.iota(lanes)) if lanes > 1 and position == len(coordinates) - 1 else value
