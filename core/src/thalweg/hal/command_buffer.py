"""Command buffers: record once, replay many times.

Recording is common code; a device compiles the finished command list into its own form on first submission
(``CommandBuffer.compiled``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from thalweg.errors import InvalidArgument, OutOfRange
from thalweg.hal.buffer import Buffer
from thalweg.hal.executable import Executable
from thalweg.hal.types import WHOLE_BUFFER, BufferUsage, HostBytes, MemoryAccess


@dataclass(frozen=True)
class BufferRef:
    """Bytes of a buffer: *direct* (``buffer``) or *indirect* (``slot`` of the binding table given at
    submission).

    For an indirect reference the table's offset and this one add.
    """

    buffer: Buffer | None = None
    offset: int = 0
    length: int = WHOLE_BUFFER
    slot: int = -1


@dataclass(frozen=True)
class DispatchRecord:
    """Run function ``function`` of ``executable``; ``constants`` are unsigned 32-bit words."""

    executable: Executable
    function: int
    workgroup_count: tuple[int, int, int]
    constants: tuple[int, ...]
    bindings: tuple[BufferRef, ...]


@dataclass(frozen=True)
class FillRecord:
    """Fill with a pattern of 1, 2 or 4 bytes."""

    target: BufferRef
    pattern: bytes


@dataclass(frozen=True)
class UpdateRecord:
    """Write ``data``, captured at recording."""

    data: bytes
    target: BufferRef


@dataclass(frozen=True)
class CopyRecord:
    """Copy bytes; lengths equal."""

    source: BufferRef
    target: BufferRef


@dataclass(frozen=True)
class BarrierRecord:
    """What was recorded before ends before what comes after starts."""


CommandRecord = DispatchRecord | FillRecord | UpdateRecord | CopyRecord | BarrierRecord

UPDATE_LIMIT = 65536
"""The most bytes one update may carry."""


class CommandBuffer:
    """A list of commands. Not thread-safe while recording; immutable, and safe to submit from any thread,
    after.

    :param binding_capacity: how many slots the binding table has; an indirect reference outside it is an
    error.
    """

    def __init__(self, binding_capacity: int = 0):
        self.binding_capacity = binding_capacity
        self.commands: list[CommandRecord] = []
        self.finalized = False
        self.compiled: Any = None
        """The device's own form, set by the device."""

    def dispatch(
        self,
        executable: Executable,
        function: int,
        workgroup_count: tuple[int, int, int],
        bindings: tuple[BufferRef, ...] = (),
        constants: tuple[int, ...] = (),
    ) -> None:
        """Record a dispatch.

        :raises OutOfRange: no such function. :raises InvalidArgument: the interface does not match the entry
        point.
        """
        if not 0 <= function < len(executable.entries):
            raise OutOfRange(f"function {function} of an executable with {len(executable.entries)} functions")
        entry = executable.entries[function]
        if len(bindings) != entry.binding_count or len(constants) != entry.constant_count:
            raise InvalidArgument(
                f"{entry.name} takes {entry.binding_count} bindings and {entry.constant_count} constants;"
                f" got {len(bindings)} and {len(constants)}"
            )
        if any(not 0 <= count < 1 << 32 for count in workgroup_count) or prod(workgroup_count) >= 1 << 40:
            raise OutOfRange(f"{entry.name}: a workgroup count of {workgroup_count}")
        if any(not 0 <= word < 1 << 32 for word in constants):
            raise InvalidArgument(f"{entry.name}: push constants are unsigned 32-bit words; got {constants}")
        for ref, access in zip(bindings, entry.accesses()):
            if "r" in access:
                self._check(ref, BufferUsage.DISPATCH_READ, MemoryAccess.READ)
            if "w" in access:
                self._check(ref, BufferUsage.DISPATCH_WRITE, MemoryAccess.WRITE)
        x, y, z = workgroup_count
        self._record(DispatchRecord(executable, function, (x, y, z), tuple(constants), tuple(bindings)))

    def fill(self, target: BufferRef, pattern: bytes) -> None:
        """Record a fill.

        :raises InvalidArgument: the pattern is not of 1, 2 or 4 bytes, or does not divide the length.
        """
        if len(pattern) not in (1, 2, 4):
            raise InvalidArgument(f"a fill pattern has 1, 2 or 4 bytes; got {len(pattern)}")
        self._check(target, BufferUsage.TRANSFER_TARGET, MemoryAccess.WRITE)
        length = _known_length(target)
        if length is not None:
            check_fill_length(length, pattern)
        self._record(FillRecord(target, bytes(pattern)))

    def update(self, data: HostBytes, target: BufferRef) -> None:
        """Record an update; ``data`` is captured now.

        :raises InvalidArgument: more than 64 KiB, or not as many bytes as the target has.
        """
        if len(data) > UPDATE_LIMIT:
            raise InvalidArgument(f"an update carries at most {UPDATE_LIMIT} bytes; got {len(data)}")
        self._check(target, BufferUsage.TRANSFER_TARGET, MemoryAccess.WRITE)
        length = _known_length(target)
        if length is not None:
            check_update_length(data, length)
        self._record(UpdateRecord(bytes(data), target))

    def copy(self, source: BufferRef, target: BufferRef) -> None:
        """Record a copy. :raises InvalidArgument: the ranges differ in length or overlap."""
        self._check(source, BufferUsage.TRANSFER_SOURCE, MemoryAccess.READ)
        self._check(target, BufferUsage.TRANSFER_TARGET, MemoryAccess.WRITE)
        if source.buffer is not None and target.buffer is not None:
            check_copy(
                (source.buffer, *source.buffer.resolve_range(source.offset, source.length)),
                (target.buffer, *target.buffer.resolve_range(target.offset, target.length)),
            )
        self._record(CopyRecord(source, target))

    def barrier(self) -> None:
        """Record an execution and memory barrier."""
        self._record(BarrierRecord())

    def finalize(self) -> CommandBuffer:
        """End recording; returns self."""
        self.finalized = True
        return self

    def _check(self, ref: BufferRef, usage: BufferUsage, access: MemoryAccess) -> None:
        if ref.buffer is None:
            if not 0 <= ref.slot < self.binding_capacity:
                raise OutOfRange(
                    f"binding slot {ref.slot} of a command buffer with {self.binding_capacity} slots"
                )
            if ref.offset < 0 or ref.length < WHOLE_BUFFER:
                raise OutOfRange(f"offset {ref.offset} and length {ref.length} of binding slot {ref.slot}")
            return
        ref.buffer.require(usage, access)
        ref.buffer.resolve_range(ref.offset, ref.length)

    def _record(self, command: CommandRecord) -> None:
        if self.finalized:
            raise InvalidArgument("this command buffer is finalized; record into a new one")
        self.commands.append(command)


def check_fill_length(length: int, pattern: bytes) -> None:
    """Check that a pattern fills ``length`` bytes exactly. :raises InvalidArgument: it does not."""
    if length % len(pattern):
        raise InvalidArgument(f"a fill of {length} bytes with a pattern of {len(pattern)} bytes")


def check_update_length(data: HostBytes, length: int) -> None:
    """Check that ``data`` has the target's length. :raises InvalidArgument: it has not."""
    if len(data) != length:
        raise InvalidArgument(f"an update of {len(data)} bytes into a range of {length} bytes")


def check_copy(source: tuple[Buffer, int, int], target: tuple[Buffer, int, int]) -> None:
    """Check two (buffer, offset, length). :raises InvalidArgument: they differ in length or overlap."""
    if source[2] != target[2]:
        raise InvalidArgument(f"a copy of {source[2]} bytes into a range of {target[2]} bytes")
    if source[0] is target[0] and abs(source[1] - target[1]) < source[2]:
        raise InvalidArgument(
            f"a copy of {source[2]} bytes from offset {source[1]} to {target[1]} of one buffer"
            " overlaps itself"
        )


def _known_length(ref: BufferRef) -> int | None:
    if ref.buffer is not None:
        return ref.buffer.resolve_range(ref.offset, ref.length)[1]
    return None if ref.length == WHOLE_BUFFER else ref.length
