"""From ``stream`` to ``hal`` to ``vm``: commands are numbered against the linked executables and stored."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects import func
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Block, Region, SSAValue

from thalweg.compiler.passes.rewriting import replace_function
from thalweg.errors import InvalidArgument
from thalweg.ir.attributes import i64_array, ints, read_extents
from thalweg.ir.dialects import host
from thalweg.ir.program import Program
from thalweg.module.encoding import encode_functions
from thalweg.module.program import (
    BarrierCommand,
    Command,
    CopyCommand,
    DispatchCommand,
    HostFunction,
    Slot,
    SlotKind,
    Span,
)

_TO_HAL = {
    host.StreamSlotOp: host.HalSlotOp,
    host.StreamDispatchOp: host.HalDispatchOp,
    host.StreamCopyOp: host.HalCopyOp,
    host.StreamBarrierOp: host.HalBarrierOp,
}


def lower_to_hal(program: Program, entries: Mapping[str, tuple[int, int]]) -> None:
    """Rewrite stream commands to HAL calls in place, with each dispatch's (executable, function) numbers.

    Kernel functions, translated by now, are dropped.
    """
    for function in list(program.functions()):
        if function.sym_visibility is not None:
            function.detach()
            function.erase()
            continue
        values: dict[SSAValue, SSAValue] = {}
        body = Block()
        for op in function.body.block.ops:
            kind = _TO_HAL.get(type(op))
            if kind is None:
                body.add_op(op.clone(values))
                continue
            new = kind.build(
                operands=[[values[v] for v in op.operands]] if isinstance(op, host.CommandOpBase) else [],
                result_types=[r.type for r in op.results],
                properties=dict(op.properties),
                attributes=dict(op.attributes),
            )
            if isinstance(new, host.HalDispatchOp):
                new.properties["entry"] = i64_array(entries[new.callee_name()])
            body.add_op(new)
            values.update(zip(op.results, new.results))
        lowered = func.FuncOp(function.sym_name.data, ([], []), Region(body))
        lowered.attributes.update(function.attributes)
        replace_function(function, lowered)


def host_functions(program: Program) -> tuple[tuple[HostFunction, ...], tuple[str, ...]]:
    """Return the host program of phase ``hal``, and the resource name of each constant number."""
    resources: dict[str, int] = {}
    functions = tuple(_host_function(f, resources) for f in program.functions())
    return functions, tuple(resources)


def _host_function(function: func.FuncOp, resources: dict[str, int]) -> HostFunction:
    numbers: dict[SSAValue, int] = {}
    slots: list[Slot] = []
    commands: list[Command] = []
    for op in function.body.block.ops:
        if isinstance(op, host.HalSlotOp):
            numbers[op.result] = len(slots)
            slots.append(_slot(op, resources))
        elif isinstance(op, host.HalDispatchOp):
            executable, entry = ints(op.entry)
            x, y, z = read_extents(op.workgroup_count)
            constants = read_extents(op.constants) if op.constants is not None else ()
            commands.append(DispatchCommand(executable, entry, (x, y, z), constants, _spans(op, numbers)))
        elif isinstance(op, host.HalCopyOp):
            commands.append(CopyCommand(*_spans(op, numbers)))
        elif isinstance(op, host.HalBarrierOp):
            commands.append(BarrierCommand())
    return HostFunction(function.sym_name.data, tuple(slots), tuple(commands))


def _slot(op: host.HalSlotOp, resources: dict[str, int]) -> Slot:
    kind = SlotKind(op.kind.data)
    index = op.index.value.data
    if kind is SlotKind.CONSTANT:
        if op.resource is None:
            raise InvalidArgument(f"{op.name} of a constant names no resource")
        index = resources.setdefault(op.resource.data, len(resources))
    if op.lifetime is None:
        return Slot(kind, index, op.size_extent())
    first, last = ints(op.lifetime)
    return Slot(kind, index, op.size_extent(), (first, last))


def _spans(op: host.CommandOpBase, numbers: Mapping[SSAValue, int]) -> tuple[Span, ...]:
    triples = zip(op.slots, read_extents(op.offsets), read_extents(op.lengths))
    return tuple(Span(numbers[slot], offset, length) for slot, offset, length in triples)


def lower_to_vm(program: Program, functions: tuple[HostFunction, ...]) -> None:
    """Replace each function by its stored host program."""
    for function, stored in zip(list(program.functions()), functions, strict=True):
        new = host.VmFunctionOp.build(
            properties={
                "sym_name": StringAttr(stored.name),
                "program": StringAttr(encode_functions([stored]).decode()),
            }
        )
        replace_function(function, new)
