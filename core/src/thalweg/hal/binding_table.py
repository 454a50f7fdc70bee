"""What a command buffer asks of the binding table that a submission brings, computed once and checked each
time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thalweg.errors import InvalidArgument, OutOfRange
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import (
    BufferRef,
    CommandBuffer,
    CopyRecord,
    DispatchRecord,
    FillRecord,
    UpdateRecord,
    check_copy,
    check_fill_length,
    check_update_length,
)
from thalweg.hal.types import WHOLE_BUFFER, BufferUsage, MemoryAccess


@dataclass(frozen=True)
class BoundRange:
    """``length`` bytes at ``offset`` of ``buffer``: a reference with everything resolved."""

    buffer: Buffer
    offset: int
    length: int


class BindingTableCheck:
    """The demands of one finalized command buffer on its binding table.

    :raises InvalidArgument: the command buffer is not finalized.
    """

    def __init__(self, command_buffer: CommandBuffer):
        if not command_buffer.finalized:
            raise InvalidArgument(
                "this command buffer is not finalized; call finalize() before submitting it"
            )
        self._uses: dict[int, tuple[BufferUsage, MemoryAccess, int]] = {}
        self._late: list[CopyRecord | FillRecord | UpdateRecord] = []
        for command in command_buffer.commands:
            if isinstance(command, DispatchRecord):
                for ref, access in zip(
                    command.bindings, command.executable.entries[command.function].accesses()
                ):
                    self._use(ref, *DISPATCH_USES[access])
            elif isinstance(command, CopyRecord):
                self._use(command.source, BufferUsage.TRANSFER_SOURCE, MemoryAccess.READ)
                self._use(command.target, BufferUsage.TRANSFER_TARGET, MemoryAccess.WRITE)
                if command.source.buffer is None or command.target.buffer is None:
                    self._late.append(command)
            elif isinstance(command, FillRecord | UpdateRecord):
                self._use(command.target, BufferUsage.TRANSFER_TARGET, MemoryAccess.WRITE)
                if command.target.buffer is None and command.target.length == WHOLE_BUFFER:
                    self._late.append(command)

    @property
    def used_slots(self) -> tuple[int, ...]:
        """The slots that some command refers to, ascending."""
        return tuple(sorted(self._uses))

    def resolve(self, bindings: Sequence[BufferRef]) -> dict[int, BoundRange]:
        """Return slot → range for the used slots of ``bindings``, checked for usage, access and size.

        :raises InvalidArgument: a used slot has no buffer, or a transfer's lengths do not fit.
        :raises PermissionDenied: a buffer does not allow its use. :raises OutOfRange: a range is too small.
        """
        table: dict[int, BoundRange] = {}
        for slot in self._uses:
            ref = bindings[slot] if slot < len(bindings) else BufferRef()
            table[slot] = self._resolve_slot(slot, ref)
        for command in self._late:
            _check_late(command, table)
        return table

    def resolve_static(self, static: Mapping[int, BufferRef]) -> dict[int, BoundRange]:
        """Return slot → range for the slots that are known ahead; the others get addresses, call by call.

        :raises InvalidArgument: a transfer's length is open in a slot that is not known ahead; see also
        ``resolve``.
        """
        table = {slot: self._resolve_slot(slot, ref) for slot, ref in static.items()}
        for command in self._late:
            refs = (command.source, command.target) if isinstance(command, CopyRecord) else (command.target,)
            open_slots = [ref.slot for ref in refs if ref.buffer is None and ref.slot not in table]
            if not open_slots:
                _check_late(command, table)
            elif any(ref.length == WHOLE_BUFFER for ref in refs if ref.slot in open_slots):
                raise InvalidArgument(
                    f"a transfer of slot {open_slots[0]} has no length, which a prepared call needs;"
                    " record one"
                )
        return table

    def _resolve_slot(self, slot: int, ref: BufferRef) -> BoundRange:
        if ref.buffer is None:
            raise InvalidArgument(
                f"the command buffer uses slot {slot}; the binding table has no buffer there"
            )
        offset, length = ref.buffer.resolve_range(ref.offset, ref.length)
        if slot in self._uses:
            usage, access, size = self._uses[slot]
            ref.buffer.require(usage, access)
            if length < size:
                raise OutOfRange(f"slot {slot} of the binding table has {length} bytes; commands use {size}")
        return BoundRange(ref.buffer, offset, length)

    def _use(self, ref: BufferRef, usage: BufferUsage, access: MemoryAccess) -> None:
        if ref.buffer is not None:
            return
        size = ref.offset + max(ref.length, 0)
        before = self._uses.get(ref.slot)
        if before is not None:
            usage, access, size = before[0] | usage, before[1] | access, max(before[2], size)
        self._uses[ref.slot] = (usage, access, size)


DISPATCH_USES = {
    "r": (BufferUsage.DISPATCH_READ, MemoryAccess.READ),
    "w": (BufferUsage.DISPATCH_WRITE, MemoryAccess.WRITE),
    "rw": (BufferUsage.DISPATCH, MemoryAccess.ALL),
}
"""An entry point's ``binding_access`` → what it asks of the buffer."""


def resolve(ref: BufferRef, table: dict[int, BoundRange]) -> BoundRange:
    """Return the bytes that ``ref`` means under a checked table."""
    if ref.buffer is not None:
        return BoundRange(ref.buffer, *ref.buffer.resolve_range(ref.offset, ref.length))
    bound = table[ref.slot]
    length = bound.length - ref.offset if ref.length == WHOLE_BUFFER else ref.length
    return BoundRange(bound.buffer, bound.offset + ref.offset, length)


def _check_late(command: CopyRecord | FillRecord | UpdateRecord, table: dict[int, BoundRange]) -> None:
    target = resolve(command.target, table)
    if isinstance(command, CopyRecord):
        source = resolve(command.source, table)
        check_copy(
            (source.buffer, source.offset, source.length), (target.buffer, target.offset, target.length)
        )
    elif isinstance(command, FillRecord):
        check_fill_length(target.length, command.pattern)
    else:
        check_update_length(command.data, target.length)
