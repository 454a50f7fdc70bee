"""From a host function to a HAL command buffer: constants bound directly, the rest through slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from thalweg.extents import static
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.executable import Executable
from thalweg.module.program import (
    BarrierCommand,
    Command,
    CopyCommand,
    DispatchCommand,
    FillCommand,
    FunctionSignature,
    HostFunction,
    SlotKind,
    Span,
)


@dataclass(frozen=True)
class RecordedFunction:
    """A finalized command buffer, with binding slots for the inputs, the outputs, and the arena if any.

    ``transient_slot`` is ``None`` for a function without an arena.
    """

    command_buffer: CommandBuffer
    transient_slot: int | None
    transient_bytes: int


def record(
    function: HostFunction,
    signature: FunctionSignature,
    executables: Sequence[Executable],
    constants: Sequence[Buffer],
) -> RecordedFunction:
    """Record a verified function's commands; its sizes are numbers."""
    first = {SlotKind.INPUT: 0, SlotKind.OUTPUT: len(signature.inputs)}
    transient_slot = len(signature.inputs) + len(signature.outputs)
    transients = [index(slot.size) for slot in function.slots if slot.kind is SlotKind.TRANSIENT]
    first[SlotKind.TRANSIENT] = transient_slot

    def reference(span: Span) -> BufferRef:
        slot = function.slots[span.slot]
        if slot.kind is SlotKind.CONSTANT:
            return BufferRef(constants[slot.index], index(span.offset), index(span.length))
        return BufferRef(None, index(span.offset), index(span.length), first[slot.kind] + slot.index)

    buffer = CommandBuffer(transient_slot + len(transients))
    for command in function.commands:
        record_command(buffer, command, reference, executables)
    buffer.finalize()
    if not transients:
        return RecordedFunction(buffer, None, 0)
    return RecordedFunction(buffer, transient_slot, transients[0])


Reference = Callable[[Span], BufferRef]
"""Where a span's bytes are."""


def record_command(
    buffer: CommandBuffer, command: Command, reference: Reference, executables: Sequence[Executable]
) -> None:
    """Record one command, whose sizes are numbers."""
    _RECORDERS[type(command)](buffer, command, reference, executables)


def _dispatch(
    buffer: CommandBuffer, command: DispatchCommand, reference: Reference, executables: Sequence[Executable]
) -> None:
    x, y, z = command.workgroup_count
    buffer.dispatch(
        executables[command.executable],
        command.entry,
        (index(x), index(y), index(z)),
        tuple(reference(span) for span in command.bindings),
        static(command.constants),
    )


def _copy(buffer: CommandBuffer, command: CopyCommand, reference: Reference, _: Any) -> None:
    buffer.copy(reference(command.source), reference(command.target))


def _fill(buffer: CommandBuffer, command: FillCommand, reference: Reference, _: Any) -> None:
    buffer.fill(reference(command.target), command.pattern)


def _barrier(buffer: CommandBuffer, command: BarrierCommand, reference: Reference, _: Any) -> None:
    buffer.barrier()


_RECORDERS: dict[type, Callable[[CommandBuffer, Any, Reference, Sequence[Executable]], None]] = {
    DispatchCommand: _dispatch,
    CopyCommand: _copy,
    FillCommand: _fill,
    BarrierCommand: _barrier,
}
