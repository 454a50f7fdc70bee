"""From ``flow`` to ``stream``: tensors become byte ranges of slots, dispatches become commands with barriers.

Dispatches keep their order. An *epoch* is a run of dispatches that do not depend on each other; a barrier
stands between epochs. A transient lives from the epoch that writes it to the last that reads it, so that
buffers that share bytes are never live in one epoch. Where all sizes are numbers the arena is laid out here;
otherwise each transient is a slot with its lifetime, and the arena is laid out when the dimensions are known.

The operands of a concatenation that is still an op here (see ``concatenation``) are parts of one buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.dialects import arith, builtin, func
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue

from thalweg.compiler.concatenation import byte_size, parts, storage_root
from thalweg.compiler.passes.rewriting import (
    SOURCE,
    constant_array,
    constant_identity,
    constant_op,
    replace_function,
    resource_name,
)
from thalweg.extents import Extent, evaluate, names_in
from thalweg.ir.dialects import host, tw
from thalweg.ir.program import Program, returned_values
from thalweg.ir.signatures import limits_of
from thalweg.ir.types import extents_of
from thalweg.module.arena import Lifetime, peak_live_bytes, place


@dataclass(frozen=True)
class MemoryReport:
    """Bytes: the arena, the sum of all intermediates, and the largest live set, at ``dimensions``."""

    transient_bytes: int
    intermediate_bytes: int
    peak_live_bytes: int
    dimensions: Mapping[str, int] = field(default_factory=dict)


TYPICAL_EXTENT = 128
"""At how many the memory of a program is reported for a dimension without a limit, or with a very large
one.
"""
LARGE_EXTENT = 4096


@dataclass
class _Placement:
    """Where a tensor is: a slot key and an offset in it."""

    key: tuple[str, object]
    offset: Extent = 0
    lifetime: tuple[int, int] | None = None


@dataclass
class _Scheduler:
    """The state of one function's lowering."""

    program: Program
    source: func.FuncOp
    placements: dict[SSAValue, _Placement] = field(default_factory=dict)
    epochs: dict[Operation | Block, int] = field(default_factory=dict)
    wholes: dict[SSAValue, tuple[SSAValue, Extent]] = field(default_factory=dict)
    """Part of a concatenation → the whole, and the part's offset in it."""

    def dimensions(self) -> dict[str, int]:
        """Return, for each dimension, the value at which memory is reported: its limit, or a typical one."""
        values = [v for op in self.source.body.block.ops for v in op.results] + list(
            self.source.body.block.args
        )
        names = names_in(
            [extent for v in values if isinstance(v.type, builtin.TensorType) for extent in extents_of(v)]
        )
        limits = {str(limit.extent): limit.maximum for limit in limits_of(self.source)}
        return {
            name: limits[name] if limits.get(name, LARGE_EXTENT) < LARGE_EXTENT else TYPICAL_EXTENT
            for name in names
        }

    def buffer(self, value: SSAValue) -> SSAValue:
        """Return the value whose buffer holds the bytes: the value, or the whole that it is a part of."""
        value = storage_root(value)
        while value in self.wholes:
            value = self.wholes[value][0]
        return value


def lower_to_stream(program: Program) -> MemoryReport:
    """Lower every public function in place; kernel functions stay as they are. Returns the memory report
    (summed).
    """
    reports = [
        _lower_function(function, program)
        for function in program.functions()
        if function.sym_visibility is None
    ]
    return MemoryReport(
        sum(r.transient_bytes for r in reports),
        sum(r.intermediate_bytes for r in reports),
        sum(r.peak_live_bytes for r in reports),
        {name: value for r in reports for name, value in r.dimensions.items()},
    )


def _lower_function(source: func.FuncOp, program: Program) -> MemoryReport:
    scheduler = _Scheduler(program, source)
    dispatches = [op for op in source.body.block.ops if isinstance(op, host.DispatchOp)]
    results = [storage_root(v) for v in returned_values(source)]
    _assign_epochs(scheduler)
    outputs = _place_outputs(scheduler, results)
    report = _place_transients(scheduler, dispatches, results, outputs)
    _rewrite(scheduler, dispatches, results, outputs, report)
    return report


def _assign_epochs(scheduler: _Scheduler) -> None:
    """Number the epochs; a concatenation is made in the epoch of its last part."""
    epoch = 0
    for op in scheduler.source.body.block.ops:
        if isinstance(op, tw.ConcatOp):
            scheduler.wholes.update((part, (op.result, offset)) for part, offset in parts(op))
            scheduler.epochs[op] = max(scheduler.epochs[part.owner] for part, _ in parts(op))
        elif isinstance(op, host.DispatchOp):
            producers = [scheduler.epochs.get(storage_root(v).owner) for v in op.arguments]
            if any(p == epoch for p in producers):
                epoch += 1
            scheduler.epochs[op] = epoch


def _place_outputs(scheduler: _Scheduler, results: list[SSAValue]) -> dict[int, SSAValue]:
    """Give each output that a dispatch makes its own slot; return the outputs that must be copied instead."""
    copies: dict[int, SSAValue] = {}
    for index, value in enumerate(results):
        made_here = isinstance(value.owner, host.DispatchOp | tw.ConcatOp)
        if made_here and value not in scheduler.placements and value not in scheduler.wholes:
            scheduler.placements[value] = _Placement(("output", index))
        else:
            copies[index] = value
    return copies


def _place_transients(
    scheduler: _Scheduler,
    dispatches: list[host.DispatchOp],
    results: list[SSAValue],
    copies: dict[int, SSAValue],
) -> MemoryReport:
    last_use: dict[SSAValue, int] = {}
    end = max(scheduler.epochs.values(), default=0) + 1
    for op in dispatches:
        for value in op.arguments:
            last_use[scheduler.buffer(value)] = scheduler.epochs[op]
    for value in copies.values():
        last_use[scheduler.buffer(value)] = end
    first_use: dict[SSAValue, int] = {}
    for op in dispatches:
        for value in op.results:
            buffer = scheduler.buffer(value)
            first_use.setdefault(buffer, scheduler.epochs[op])
            last_use[buffer] = max(last_use.get(buffer, 0), scheduler.epochs[op])
    values = [value for value in first_use if value not in scheduler.placements]
    lives = [(first_use[value], last_use[value]) for value in values]
    dimensions = scheduler.dimensions()
    lifetimes = [Lifetime(evaluate(byte_size(v), dimensions), *life) for v, life in zip(values, lives)]
    offsets, total = place(lifetimes)
    for number, (value, offset, life) in enumerate(zip(values, offsets, lives)):
        scheduler.placements[value] = (
            _Placement(("transient", number), 0, life) if dimensions else _Placement(("transient", 0), offset)
        )
    return MemoryReport(total, sum(b.size for b in lifetimes), peak_live_bytes(lifetimes), dimensions)


def _rewrite(
    scheduler: _Scheduler,
    dispatches: list[host.DispatchOp],
    results: list[SSAValue],
    copies: dict[int, SSAValue],
    report: MemoryReport,
) -> None:
    source = scheduler.source
    body = Block()
    slots = _declare_slots(scheduler, dispatches, results, copies, report, body)
    epoch = 0
    for op in dispatches:
        if any(byte_size(r) == 0 for r in op.results):
            continue  # nothing to compute
        if scheduler.epochs[op] != epoch:
            body.add_op(host.StreamBarrierOp.build())
            epoch = scheduler.epochs[op]
        values = [*op.arguments, *op.results]
        access = ["r"] * len(op.arguments) + ["w"] * len(op.results)
        properties = {
            name: op.properties[name] for name in ("workgroup_count", "constants") if name in op.properties
        }
        callee = builtin.StringAttr(op.callee.root_reference.data)
        command = _command(
            scheduler, host.StreamDispatchOp, values, slots, access, callee=callee, **properties
        )
        if SOURCE in op.attributes:
            command.attributes[SOURCE] = op.attributes[SOURCE]
        body.add_op(command)
    if any(byte_size(v) != 0 for v in copies.values()):
        body.add_op(host.StreamBarrierOp.build())
    for index, value in copies.items():
        size = byte_size(value)
        if size == 0:
            continue
        where = _where(scheduler, value)
        body.add_op(
            host.StreamCopyOp.make(
                [slots[where.key], slots["output", index]], [where.offset, 0], [size, size], ["r", "w"]
            )
        )
    body.add_op(func.ReturnOp())
    lowered = func.FuncOp(source.sym_name.data, ([], []), Region(body))
    for name, attribute in source.attributes.items():
        lowered.attributes[name] = attribute
    replace_function(source, lowered)


def _where(scheduler: _Scheduler, value: SSAValue) -> _Placement:
    value, offset = storage_root(value), 0
    while value in scheduler.wholes:
        value, inner = scheduler.wholes[value]
        offset = offset + inner
    if value in scheduler.placements:
        place = scheduler.placements[value]
        return _Placement(place.key, place.offset + offset)
    if isinstance(value, BlockArgument):
        return _Placement(("input", value.index))
    return _Placement(("constant", constant_identity(constant_op(value))))


def _command(scheduler, kind, values, slots, access, **properties):
    places = [_where(scheduler, v) for v in values]
    return kind.make(
        [slots[p.key] for p in places],
        [p.offset for p in places],
        [byte_size(v) for v in values],
        access,
        **properties,
    )


def _declare_slots(
    scheduler, dispatches, results, copies, report, body
) -> dict[tuple[str, object], SSAValue]:
    slots: dict[tuple[str, object], SSAValue] = {}

    def declare(key: tuple[str, object], index: int, size: Extent, resource: str | None = None) -> None:
        op = host.StreamSlotOp.make(key[0], index, size, resource)
        body.add_op(op)
        slots[key] = op.result

    if any(
        place_.key == ("transient", 0) and place_.lifetime is None for place_ in scheduler.placements.values()
    ):
        declare(("transient", 0), 0, report.transient_bytes)
    for value, place_ in scheduler.placements.items():
        if place_.lifetime is not None:
            size, number = byte_size(value), len(slots)
            op = host.StreamSlotOp.make("transient", number, size, lifetime=place_.lifetime)
            body.add_op(op)
            slots[place_.key] = op.result
    for argument in scheduler.source.body.block.args:
        declare(("input", argument.index), argument.index, byte_size(argument))
    for index, value in enumerate(results):
        declare(("output", index), index, byte_size(value))
    constants = 0
    for value in [*(v for op in dispatches for v in op.arguments), *copies.values()]:
        value = storage_root(value)
        if not isinstance(value.owner, arith.ConstantOp):
            continue
        key = _where(scheduler, value).key
        if key not in slots:
            declare(key, constants, byte_size(value), _as_resource(value, scheduler.program))
            constants += 1
    return slots


def _as_resource(value: SSAValue, program: Program) -> str:
    """Return the name of the resource that holds a constant, making one for a constant that is text."""
    existing = resource_name(constant_op(value))
    if existing is not None:
        return existing
    array = constant_array(value, program)
    assert array is not None
    name = f"constant_{len(program.resources)}"
    while name in program.resources:
        name += "_"
    program.resources[name] = array
    return name
