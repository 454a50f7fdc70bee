"""Packs a command list for the native processor; ``docs/reference/command-list.md`` has the format."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from thalweg.api import InvalidArgument, OutOfRange
from thalweg.hal.binding_table import BoundRange
from thalweg.hal.command_buffer import (
    BarrierRecord,
    BufferRef,
    CommandRecord,
    CopyRecord,
    DispatchRecord,
    FillRecord,
    UpdateRecord,
)
from thalweg.hal.executable import HostKernel
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.types import WHOLE_BUFFER

MAGIC = 0x4C435754
VERSION = 1
OP_DISPATCH, OP_FILL, OP_COPY = 1, 2, 3
PATCH_ADDRESS, PATCH_LENGTH, PATCH_DATA = 1, 2, 3
NO_NAME = 0xFFFFFFFF
MAXIMUM_TILES = 1 << 31
"""A command, and the commands between two barriers, have fewer tiles than this."""
TRANSFER_TILE = 256 * 1024
"""Bytes of a transfer that make one tile."""

HEADER = struct.Struct("<16I")
COMMAND = struct.Struct("<8IQ3IIII")
SEGMENT = struct.Struct("<4I")
PATCH = struct.Struct("<4IQ")


def has_host_kernel(commands: tuple[CommandRecord, ...]) -> bool:
    """Return whether some dispatch runs a kernel that is a Python callable."""
    return any(
        isinstance(command, DispatchRecord)
        and isinstance(command.executable, HostExecutable)
        and isinstance(command.executable.library.kernels[command.function], HostKernel)
        for command in commands
    )


def pack_commands(
    commands: tuple[CommandRecord, ...],
    static: Mapping[int, BoundRange] = {},
    slots: Mapping[int, int] | None = None,
    slot_count: int = 0,
) -> bytes:
    """Return ``commands`` packed.

    :param static: slot → range for slots that are known now.
    :param slots: recorded slot → number in the table of a replay; ``None``: the same.
    :param slot_count: the size of that table.
    """
    packer = _Packer(static, slots)
    for number, command in enumerate(commands):
        packer.add(number, command)
    packer.end_segment()
    return packer.packed(slot_count)


@dataclass
class _Packer:
    static: Mapping[int, BoundRange]
    slots: Mapping[int, int] | None
    commands: list[bytes] = field(default_factory=list)
    segments: list[bytes] = field(default_factory=list)
    patches: list[bytes] = field(default_factory=list)
    data_patches: list[bytes] = field(default_factory=list)
    addresses: list[int] = field(default_factory=list)
    constants: list[int] = field(default_factory=list)
    names: bytearray = field(default_factory=bytearray)
    data: bytearray = field(default_factory=bytearray)
    segment_start: int = 0
    segment_tiles: int = 0

    def add(self, number: int, command: CommandRecord) -> None:
        """Add one recorded command."""
        if isinstance(command, DispatchRecord):
            self._dispatch(number, command)
        elif isinstance(command, FillRecord):
            self._fill(number, command)
        elif isinstance(command, CopyRecord):
            self._copy(number, command)
        elif isinstance(command, UpdateRecord):
            self._update(number, command)
        elif isinstance(command, BarrierRecord):
            self.end_segment()

    def end_segment(self) -> None:
        """End the run of commands that may overlap in time."""
        count = len(self.commands) - self.segment_start
        if count:
            self.segments.append(SEGMENT.pack(self.segment_start, count, self.segment_tiles, 0))
        self.segment_start, self.segment_tiles = len(self.commands), 0

    def packed(self, slot_count: int) -> bytes:
        """Return the whole list."""
        header = HEADER.pack(
            MAGIC,
            VERSION,
            len(self.commands),
            len(self.segments),
            len(self.patches) + len(self.data_patches),
            len(self.addresses),
            len(self.constants),
            slot_count,
            len(self.names),
            len(self.data),
            *[0] * 6,
        )
        return b"".join(
            [
                header,
                *self.commands,
                *self.segments,
                *self.patches,
                *self.data_patches,
                struct.pack(f"<{len(self.addresses)}Q", *self.addresses),
                _padded(struct.pack(f"<{len(self.constants)}I", *self.constants)),
                _padded(bytes(self.names)),
                bytes(self.data),
            ]
        )

    def _dispatch(self, number: int, command: DispatchRecord) -> None:
        count = prod(command.workgroup_count)
        if count == 0:
            return
        executable = command.executable
        assert isinstance(executable, HostExecutable)  # the device has checked
        entry = executable.entries[command.function]
        kernel = executable.library.kernels[command.function]
        first_address, first_constant = len(self.addresses), len(self.constants)
        for ref in command.bindings:
            self._address(ref)
        self.constants.extend(command.constants)
        name = len(self.names)
        self.names += entry.name.encode() + b"\0"
        self._command(
            number,
            OP_DISPATCH,
            count,
            first_address,
            first_constant,
            kernel.address,  # type: ignore[union-attr]  # host kernels never come here
            command.workgroup_count,
            entry.local_memory,
            0,
            name,
        )

    def _fill(self, number: int, command: FillRecord) -> None:
        first = len(self.addresses)
        self._address(command.target)
        (pattern,) = struct.unpack("<I", command.pattern * (4 // len(command.pattern)))
        self._transfer(number, OP_FILL, first, [command.target], pattern)

    def _copy(self, number: int, command: CopyRecord) -> None:
        first = len(self.addresses)
        self._address(command.source)
        self._address(command.target)
        self._transfer(number, OP_COPY, first, [command.target, command.source])

    def _update(self, number: int, command: UpdateRecord) -> None:
        first = len(self.addresses)
        self.data_patches.append(PATCH.pack(PATCH_DATA, first, 0, 0, len(self.data)))
        self.addresses.append(0)
        self.data += command.data
        self._address(command.target)
        target = command.target
        sized = BufferRef(target.buffer, target.offset, len(command.data), target.slot)
        self._transfer(number, OP_COPY, first, [sized])

    def _transfer(
        self, number: int, opcode: int, first: int, refs: list[BufferRef], pattern: int = 0
    ) -> None:
        """Add a transfer; its length is that of the first reference with a known one, or the first slot's."""
        lengths = [length for length in map(self._length, refs) if length is not None]
        if lengths:
            length, tiles = lengths[0], -(-lengths[0] // TRANSFER_TILE)
        else:
            ref, length, tiles = refs[0], 0, 1
            self.patches.append(
                PATCH.pack(PATCH_LENGTH, len(self.commands), self._slot(ref.slot), 0, ref.offset)
            )
        if tiles == 0:
            return
        self._command(
            number, opcode, tiles, first, len(self.constants), length, (0, 0, 0), 0, pattern, NO_NAME
        )

    def _command(
        self,
        number: int,
        opcode: int,
        tiles: int,
        first_address: int,
        first_constant: int,
        payload: int,
        workgroup_count: tuple[int, int, int],
        local_memory: int,
        pattern: int,
        name: int,
    ) -> None:
        if tiles >= MAXIMUM_TILES:
            raise OutOfRange(
                f"command {number}: {tiles} workgroups or pieces; at most {MAXIMUM_TILES - 1} fit"
            )
        if self.segment_tiles + tiles >= MAXIMUM_TILES:
            self.end_segment()
        self.segment_tiles += tiles
        self.commands.append(
            COMMAND.pack(
                opcode,
                number,
                tiles,
                0,
                first_address,
                len(self.addresses) - first_address,
                first_constant,
                len(self.constants) - first_constant,
                payload,
                *workgroup_count,
                local_memory,
                pattern,
                name,
            )
        )

    def _bound(self, ref: BufferRef) -> BoundRange | None:
        if ref.buffer is not None:
            return BoundRange(ref.buffer, *ref.buffer.resolve_range(ref.offset, ref.length))
        bound = self.static.get(ref.slot)
        if bound is None:
            return None
        length = bound.length - ref.offset if ref.length == WHOLE_BUFFER else ref.length
        return BoundRange(bound.buffer, bound.offset + ref.offset, length)

    def _address(self, ref: BufferRef) -> None:
        bound = self._bound(ref)
        if bound is not None:
            self.addresses.append(bound.buffer.host_address + bound.offset)
            return
        self.patches.append(
            PATCH.pack(PATCH_ADDRESS, len(self.addresses), self._slot(ref.slot), 0, ref.offset)
        )
        self.addresses.append(0)

    def _length(self, ref: BufferRef) -> int | None:
        bound = self._bound(ref)
        if bound is not None:
            return bound.length
        return None if ref.length == WHOLE_BUFFER else ref.length

    def _slot(self, slot: int) -> int:
        if self.slots is None:
            return slot
        if slot not in self.slots:
            raise InvalidArgument(f"slot {slot} is neither static nor given by address")
        return self.slots[slot]


def _padded(section: bytes) -> bytes:
    return section + bytes(-len(section) % 8)
