"""Kernels that move elements: gather, concat, slice, pad, reshape; of any dtype, with an elementwise
epilogue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import index
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.extents import Extent, ceil_divide, is_static, maximum
from thalweg.hal.kernel_abi import STATUS_INDEX_OUT_OF_RANGE
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.attributes import ints, number
from thalweg.ir.dialects import tw
from xdsl.ir import Operation

from thalweg_target_llvm_cpu.builder import Int, KernelBuilder, Value, vector_type
from thalweg_target_llvm_cpu.emitters.access import (
    Access,
    Tensors,
    collapse,
    flat_index,
    literal,
    read,
    row_major,
)
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue, Groups
from thalweg_target_llvm_cpu.emitters.nest import (
    Level,
    Split,
    by_lanes,
    fitting_lanes,
    lanes_for,
    leading_levels,
    nest,
    split,
    vectors,
    workgroups_for,
)
from thalweg_target_llvm_cpu.emitters.work import analyse, body_cost, element_count, widest_bytes

NAME = "movement"
BLOCK = 4096
"""Elements of a contiguous run that one step of a nest moves."""


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch."""
    root = analyse(dispatch).root
    if isinstance(root, tw.GatherOp):
        return element_name(root.indices.type) in ("i32", "i64")
    return isinstance(root, tw.ConcatOp | tw.SliceOp | tw.PadOp | tw.ReshapeOp)


def _parts(epilogue: Epilogue) -> list[_Part]:
    root = epilogue.work.root
    return _MAKERS[root.name](root, epilogue)


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: every workgroup moves its share of each part."""
    epilogue = Epilogue(dispatch, settings)
    parts = _parts(epilogue)
    elements, each = element_count(dispatch.results[0]), 8 + body_cost(epilogue.generic)
    if is_static([elements, *(level.extent for part in parts for level in part.levels)]):
        shares = [split(part.levels, elements * each) for part in parts]
        count = max([index(share.count) for share in shares], default=1)
        leading = [max(share.leading, 1 if count > 1 else 0) for share in shares]
    else:
        count = workgroups_for(elements * each)
        leading = [leading_levels(part.levels, elements * each) for part in parts]
    splits = [_with_count(part, levels, count).parameters() for part, levels in zip(parts, leading)]
    return DispatchPlan(KernelPlan((count, 1, 1), parameters={"emitter": NAME, "splits": splits}))


def _with_count(part: _Part, leading: int, count: Extent) -> Split:
    """Divide the first ``leading`` levels of a part, as far as it has them, among ``count`` workgroups."""
    leading = min(leading, len(part.levels))
    trips = prod(level.trips for level in part.levels[:leading])
    return Split(leading, maximum(1, ceil_divide(trips, count)), count)


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    epilogue = Epilogue(dispatch, settings)
    tensors = epilogue.bind(b)
    lanes = lanes_for(settings, widest_bytes([epilogue.work.root, epilogue.generic]))
    if 0 in epilogue.shape:
        return
    for part, share in zip(_parts(epilogue), plan.parameters["splits"]):
        if any(level.extent == 0 for level in part.levels):
            continue
        with nest(b, part.levels, Split.of(share)) as place:
            part.emit(b, tensors, epilogue, place, lanes)


class _Part(ABC):
    """A region of the output: a nest over it, and what to do at each of its positions."""

    levels: list[Level]

    @abstractmethod
    def emit(
        self, b: KernelBuilder, tensors: Tensors, epilogue: Epilogue, place: Sequence[Int], lanes: int
    ) -> None:
        """Write what is done at ``place``, to ``lanes`` elements."""


@dataclass(frozen=True)
class _Run:
    """``length`` elements inside of a row of ``extent``."""

    extent: Extent
    length: Int

    @classmethod
    def of(cls, b: KernelBuilder, block: Level, start: Int) -> _Run:
        """Return the run that a step of a row from ``start`` on covers."""
        if block.whole:
            return cls(block.step, block.step)
        return cls(block.extent, b.sub(block.stop(b, start), start))


def _blocks(extent: Extent) -> Level:
    """Return the level of a contiguous run: blocks that are moved at a time."""
    if isinstance(extent, int):
        return Level(extent, max(1, min(BLOCK, extent)))
    return Level(extent, BLOCK, whole=False)


def _move_row(
    b: KernelBuilder,
    epilogue: Epilogue,
    run: _Run,
    lanes: int,
    source: Callable[[Int, int], Value],
    place: Callable[[Int], list[Int]],
    groups: Groups,
) -> None:
    """Store ``source(position, lanes)`` at ``place(position)`` for all positions of a run."""
    if run.extent == 0:
        return

    def move(count: int) -> None:
        vector = lambda position: epilogue.finish(b, source(position, count), place(position), groups)
        vectors(b, run.length, count, vector)

    by_lanes(b, run.extent, fitting_lanes(lanes, run.extent), move)


class _Strided(_Part):
    """A slice or reshape: an affine access of the operand over the output's dimensions."""

    def __init__(self, operand, access: Access, epilogue: Epilogue):
        space = collapse(epilogue.shape, [access, *epilogue.accesses()])
        self.operand, self.access, self.groups = operand, space.accesses[0], space.groups
        *outer, inner = space.extents or (1,)
        self.block = _blocks(inner)
        self.levels = [*map(Level, outer), self.block]

    def emit(self, b, tensors, epilogue, place, lanes):
        x, (*outer, start) = tensors.of(self.operand), place
        strides = self.access.strides or (0,)
        access = Access(strides, self.access.offset)

        def source(position: Int, count: int) -> Value:
            return read(b, x, flat_index(b, access, [*outer, b.add(start, position)]), count, strides[-1])

        run, groups = _Run.of(b, self.block, start), self.groups or ((),)
        _move_row(b, epilogue, run, lanes, source, lambda p: [*outer, b.add(start, p)], groups)


class _Gathered(_Part):
    """A gather: one contiguous run of the data for each index."""

    def __init__(self, root: tw.GatherOp, epilogue: Epilogue):
        self.root = root
        shape, indices = extents_of(root.data), extents_of(root.indices)
        axis = root.axis.value.data % len(shape)
        self.extent, self.inner = shape[axis], prod(shape[axis + 1 :])
        self.block = _blocks(self.inner)
        self.levels = [Level(prod(shape[:axis])), Level(prod(indices)), self.block]
        middle = axis + len(indices)
        rank = len(epilogue.shape)
        self.groups = (tuple(range(axis)), tuple(range(axis, middle)), tuple(range(middle, rank)))

    def emit(self, b, tensors, epilogue, place, lanes):
        outer, which, start = place
        data, indices = tensors.of(self.root.data), tensors.of(self.root.indices)
        index = read(b, indices, which, 1)
        if index.type != "i64":
            index = b.cast("sext", index, "i64")
        wrapped = b.binary("add", index, b.integer(self.extent))
        index = b.select(b.icmp("slt", index, b.integer(0)), wrapped, index)
        with b.when(b.icmp("uge", index, b.integer(self.extent))):
            b.fail(STATUS_INDEX_OUT_OF_RANGE)
        base = b.add(b.mul(b.add(b.mul(outer, self.extent), index), self.inner), start)
        source = lambda position, count: read(b, data, b.add(base, position), count)
        place_of = lambda position: [outer, which, b.add(start, position)]
        _move_row(b, epilogue, _Run.of(b, self.block, start), lanes, source, place_of, self.groups)


class _Piece(_Part):
    """One operand of a concat."""

    def __init__(self, operand, axis: int, before: Extent, epilogue: Epilogue):
        shape = extents_of(operand)
        inner = prod(shape[axis + 1 :])
        self.operand, self.run, self.offset = operand, shape[axis] * inner, before * inner
        self.block = _blocks(self.run)
        self.levels = [Level(prod(shape[:axis])), self.block]
        self.groups = (tuple(range(axis)), tuple(range(axis, len(shape))))

    def emit(self, b, tensors, epilogue, place, lanes):
        x, (outer, start) = tensors.of(self.operand), place
        base = b.add(b.mul(outer, self.run), start)
        source = lambda position, count: read(b, x, b.add(base, position), count)
        target = b.add(start, self.offset)
        run, place_of = _Run.of(b, self.block, start), lambda p: [outer, b.add(target, p)]
        _move_row(b, epilogue, run, lanes, source, place_of, self.groups)


class _Padded(_Part):
    """A pad: rows of the output, each a fill, or a fill around a copied run."""

    def __init__(self, root: tw.PadOp, epilogue: Epilogue):
        self.root = root
        pads_low, pads_high, shape = ints(root.low), ints(root.high), extents_of(root.x)
        self.groups: list[tuple[int, ...]] = []
        self.low: list[Extent] = []
        self.extents: list[Extent] = []
        for d, extent in enumerate(shape):
            if self.groups and not pads_low[d] and not pads_high[d]:
                self.groups[-1] = (*self.groups[-1], d)
                self.low[-1], self.extents[-1] = self.low[-1] * extent, self.extents[-1] * extent
            else:
                self.groups.append((d,))
                self.low.append(pads_low[d])
                self.extents.append(extent)
        if not self.groups:
            self.groups, self.low, self.extents = [()], [0], [1]
        outer = [prod(epilogue.shape[d] for d in group) for group in self.groups]
        self.width = outer[-1]
        self.levels = [Level(extent) for extent in outer[:-1]]

    def emit(self, b, tensors, epilogue, place, lanes):
        x = tensors.of(self.root.x)
        value = number(self.root.value)
        fill = lambda position, count: literal(b, value, vector_type(x.scalar, count))
        place_of = lambda start: lambda position: [*place, b.add(position, start)]
        move = lambda start, extent, source: _move_row(
            b, epilogue, _Run(extent, extent), lanes, source, place_of(start), self.groups
        )
        inside = [b.sub(p, low) for p, low in zip(place, self.low)]
        access = Access(row_major(self.extents))
        copy = lambda position, count: read(b, x, flat_index(b, access, [*inside, position]), count)

        def around() -> None:
            move(0, self.low[-1], fill)
            move(self.low[-1], self.extents[-1], copy)
            end = self.low[-1] + self.extents[-1]
            move(end, self.width - end, fill)

        condition = b.integer(1, "i1")
        for position, extent in zip(inside, self.extents):
            condition = b.binary("and", condition, b.icmp("ult", b.integer(position), b.integer(extent)))
        if not place:
            around()
        else:
            b.choose(condition, around, lambda: move(0, self.width, fill))


def _slices(root: Operation, epilogue: Epilogue) -> list[_Part]:
    assert isinstance(root, tw.SliceOp)
    strides = row_major(extents_of(root.x))
    offset = sum(o * s for o, s in zip(root.offset_extents(), strides))
    steps = tuple(k * s for k, s in zip(ints(root.strides), strides))
    return [_Strided(root.x, Access(steps, offset), epilogue)]


def _reshaped(root: Operation, epilogue: Epilogue) -> list[_Part]:
    return [_Strided(root.operands[0], Access(row_major(epilogue.shape)), epilogue)]


def _pieces(root: Operation, epilogue: Epilogue) -> list[_Part]:
    assert isinstance(root, tw.ConcatOp)
    axis = root.axis.value.data % len(epilogue.shape)
    before: Extent = 0
    parts: list[_Part] = []
    for operand in root.inputs:
        parts.append(_Piece(operand, axis, before, epilogue))
        before = before + extents_of(operand)[axis]
    return parts


_MAKERS: dict[str, Callable[[Any, Epilogue], list[_Part]]] = {
    "tw.slice": _slices,
    "tw.reshape": _reshaped,
    "tw.concat": _pieces,
    "tw.gather": lambda root, epilogue: [_Gathered(root, epilogue)],
    "tw.pad": lambda root, epilogue: [_Padded(root, epilogue)],
}
