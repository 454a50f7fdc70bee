"""Elementwise ``linalg.generic``: maps, broadcasts, transposes, generators, of any rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.dialects import linalg
from xdsl.ir.affine import AffineDimExpr

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
    by_lanes,
    fitting_lanes,
    lanes_for,
    nest,
    split,
    vectors,
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


MAX_TILE = 16
"""The most rows of a tile that is transposed in registers."""


@dataclass(frozen=True)
class Form:
    """A generic, its collapsed space (accesses: inputs, then the output) and its vector length.

    ``crossed``: the dimension along which inputs lie that do not lie along the innermost one; they are read
    in square tiles of ``lanes`` and transposed in registers. ``None`` when there is none.
    """

    op: linalg.GenericOp
    space: Space
    lanes: int
    crossed: int | None


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch: one elementwise generic with one result."""
    root = analyse(dispatch).root
    if not isinstance(root, linalg.GenericOp) or is_reduction(root) or len(root.outputs) != 1:
        return False
    output = root.indexing_maps.data[-1].data
    return output == type(output).identity(len(root.iterator_types.data))


def form_of(dispatch: Dispatch, settings: Mapping[str, Any]) -> Form:
    """Return the collapsed form of a dispatch that ``accepts`` took."""
    op = analyse(dispatch).root
    assert isinstance(op, linalg.GenericOp)
    maps = [m.data for m in op.indexing_maps.data]
    extents = extents_of(op.results[0])
    accesses = [map_access(m, extents_of(v)) for v, m in zip([*op.inputs, *op.outputs], maps)]
    indexed = {inner.dim.value.data for inner in op.body.block.ops if isinstance(inner, linalg.IndexOp)}
    classes = [d if d in indexed else -1 for d in range(len(extents))]
    space = collapse(extents, accesses, classes)
    lanes = lanes_for(settings, widest_bytes([op]))
    crossed = _crossed(op, space)
    if crossed is not None:
        lanes = fitting_lanes(min(lanes, MAX_TILE), space.extents[crossed])
        return Form(op, space, fitting_lanes(lanes, space.extents[-1]), crossed)
    return Form(op, space, fitting_lanes(lanes, space.extents[-1] if space.extents else 1), None)


def _crossed(op: linalg.GenericOp, space: Space) -> int | None:
    for index in range(len(op.inputs)):
        strides = space.accesses[index].strides
        if uses_operand(op, index) and len(strides) > 1 and strides[-1] not in (0, 1) and 1 in strides:
            return strides.index(1)
    return None


def iteration_extents(op: linalg.GenericOp) -> tuple[Extent, ...]:
    """Return the extent of each iteration dimension, from the operands that it indexes directly."""
    extents: list[Extent] = [1] * len(op.iterator_types.data)
    for value, map_ in zip([*op.inputs, *op.outputs], op.indexing_maps.data):
        for expression, extent in zip(map_.data.results, extents_of(value)):
            if isinstance(expression, AffineDimExpr):
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


def levels_of(form: Form, whole: bool = True) -> list[Level]:
    """Return the nest: outer dimensions one by one, the innermost in blocks, crossed ones in tiles (``whole``
    or not).
    """
    if not form.space.extents:
        return []
    *outer, inner = form.space.extents
    if form.crossed is not None:
        levels = [Level(extent) for extent in outer]
        levels[form.crossed] = Level(outer[form.crossed], form.lanes, whole)
        return [*levels, Level(inner, form.lanes, whole)]
    if not isinstance(inner, int):
        return [*(Level(extent) for extent in outer), Level(inner, BLOCK, whole=False)]
    return [*(Level(extent) for extent in outer), Level(inner, min(BLOCK, max(inner, 1)))]


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    form = form_of(dispatch, settings)
    tensors = Tensors(b, dispatch)
    inputs = [tensors.of(v) if uses_operand(form.op, i) else None for i, v in enumerate(form.op.inputs)]
    if 0 in form.space.extents:
        return
    division = Split.of(plan.parameters["split"])
    if not form.space.extents:
        _point(b, form, inputs, tensors.result, [], 1)
    elif form.crossed is not None:
        _tiles(b, form, inputs, tensors.result, division)
    else:
        inner = form.space.extents[-1]
        by_lanes(b, inner, form.lanes, lambda lanes: _rows(b, form, inputs, tensors.result, division, lanes))


def _rows(
    b: KernelBuilder,
    form: Form,
    inputs: Sequence[Tensor | None],
    output: Tensor,
    division: Split,
    lanes: int,
) -> None:
    """Walk the innermost dimension, block by block, in vectors of ``lanes``."""
    levels = levels_of(form)
    with nest(b, levels, division) as coordinates:
        *outer, start = coordinates
        length = levels[-1].step if levels[-1].whole else b.sub(levels[-1].stop(b, start), start)
        vectors(
            b, length, lanes, lambda at: _point(b, form, inputs, output, [*outer, b.add(start, at)], lanes)
        )


def _tiles(
    b: KernelBuilder, form: Form, inputs: Sequence[Tensor | None], output: Tensor, division: Split
) -> None:
    """Walk the two crossed dimensions in square tiles; element by element where one is smaller than a
    tile.
    """
    assert form.crossed is not None
    sides = (form.crossed, len(form.space.extents) - 1)

    def whole(lanes: int) -> None:
        if lanes == 1:
            partial()
            return
        with nest(b, levels_of(form), division) as corner:
            _tile(b, form, inputs, output, corner)

    def partial() -> None:
        levels = levels_of(form, whole=False)
        with nest(b, levels, division) as corner, ExitStack() as loops:
            point = list(corner)
            for d in sides:
                point[d] = loops.enter_context(b.loop(corner[d], levels[d].stop(b, corner[d])))
            _point(b, form, inputs, output, point, 1)

    first, second = (form.space.extents[d] for d in sides)
    by_lanes(
        b, first, form.lanes, lambda lanes: by_lanes(b, second, form.lanes, whole) if lanes > 1 else partial()
    )


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


def _tile(
    b: KernelBuilder, form: Form, inputs: Sequence[Tensor | None], output: Tensor, corner: Sequence[Int]
) -> None:
    """Compute a square tile: ``lanes`` rows along the innermost dimension, one for each step of
    ``crossed``.
    """
    *reads, target = form.space.accesses
    crossed = form.crossed
    assert crossed is not None
    tiles = [
        _transposed(b, form, tensor, access, corner)
        if tensor is not None and access.strides[-1] not in (0, 1) and access.strides[crossed] == 1
        else None
        for tensor, access in zip(inputs, reads)
    ]
    for row in range(form.lanes):
        coordinates = list(corner)
        coordinates[crossed] = b.add(corner[crossed], row)
        values = []
        for tensor, access, tile in zip(inputs, reads, tiles):
            if tensor is None:
                values.append(Value("poison", "i64"))
            elif tile is not None:
                values.append(tile[row])
            else:
                index = flat_index(b, access, coordinates)
                values.append(read(b, tensor, index, form.lanes, access.strides[-1]))
        emit_body(b, form, values, output, target, coordinates, form.lanes)


def _transposed(
    b: KernelBuilder, form: Form, tensor: Tensor, access: Access, corner: Sequence[Int]
) -> list[Value]:
    """Read a tile along ``crossed`` and return it as vectors along the innermost dimension."""
    *outer, inner = corner
    indices = [flat_index(b, access, [*outer, b.add(inner, column)]) for column in range(form.lanes)]
    return transpose(b, [read(b, tensor, index, form.lanes) for index in indices])


def transpose(b: KernelBuilder, vectors: Sequence[Value]) -> list[Value]:
    """Transpose as many vectors as they have lanes (a power of two), by exchanging blocks of 1, 2, 4, …
    lanes.
    """
    rows, count = list(vectors), len(vectors)
    block = 1
    while block < count:
        for row in (row for row in range(count) if not row & block):
            upper, lower = rows[row], rows[row + block]
            lanes = range(count)
            rows[row] = b.shuffle(upper, lower, [l if not l & block else count + l - block for l in lanes])
            rows[row + block] = b.shuffle(
                upper, lower, [l + block if not l & block else count + l for l in lanes]
            )
        block *= 2
    return rows


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
