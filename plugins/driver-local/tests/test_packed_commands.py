"""The packed command list: laid out as docs/reference/command-list.md says, refused when it is malformed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from thalweg.api import InvalidArgument, ResourceExhausted
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_memory import HostAllocator
from thalweg_driver_local import native, packed_commands
from thalweg_driver_local.elf_loader import ElfLoader
from thalweg_driver_local.native_engine import NativeProgram
from thalweg_driver_local.packed_commands import MAXIMUM_TILES, TRANSFER_TILE, pack_commands

HEADER_FIELDS = """
    magic version commands segments patches addresses constants slots name_bytes data_bytes
"""
COMMAND_FIELDS = """
    opcode number tiles reserved first_address address_count first_constant constant_count payload
    x y z local_memory pattern name
"""


class Parsed:
    """A reader of the format, written from the documentation alone."""

    def __init__(self, packed: bytes):
        header = struct.unpack_from("<16I", packed)
        self.header = dict(zip(HEADER_FIELDS.split(), header, strict=False))
        assert header[10:] == (0,) * 6
        self.at, self.packed = 64, packed
        self.commands = [
            dict(zip(COMMAND_FIELDS.split(), row, strict=True))
            for row in self.rows("<8IQ6I", self.header["commands"])
        ]
        self.segments = self.rows("<4I", self.header["segments"])
        self.patches = self.rows("<4IQ", self.header["patches"])
        self.addresses = [row[0] for row in self.rows("<Q", self.header["addresses"])]
        self.constants = [row[0] for row in self.rows("<I", self.header["constants"])]
        self.at += -self.at % 8
        self.names = packed[self.at : self.at + self.header["name_bytes"]]
        self.at += len(self.names) + -len(self.names) % 8
        self.data = packed[self.at :]
        assert len(self.data) == self.header["data_bytes"]

    def rows(self, layout: str, count: int) -> list[tuple[int, ...]]:
        start, self.at = self.at, self.at + count * struct.calcsize(layout)
        return list(struct.iter_unpack(layout, self.packed[start : self.at]))


@pytest.fixture
def executable(kernel_record) -> HostExecutable:
    return HostExecutable(kernel_record, ElfLoader().load(kernel_record))


def pack(commands: CommandBuffer, **options) -> bytes:
    return pack_commands(tuple(commands.finalize().commands), **options)


def test_a_list_is_laid_out_as_documented(executable):
    a, b = (HostAllocator().allocate(4096) for _ in range(2))
    commands = CommandBuffer(2)
    add = executable.lookup_function("add")
    refs = (BufferRef(a, 64), BufferRef(slot=1, offset=16), BufferRef(b))
    commands.dispatch(executable, add, (5, 2, 1), refs, (77,))
    commands.fill(BufferRef(slot=0, offset=8), b"\x01\x02")
    commands.barrier()
    commands.copy(BufferRef(a, 1, 100), BufferRef(b, 3, 100))
    commands.update(b"hello", BufferRef(slot=0, offset=1, length=5))
    parsed = Parsed(pack(commands, slot_count=2))
    assert parsed.header["magic"].to_bytes(4, "little") == b"TWCL" and parsed.header["version"] == 1
    assert parsed.header["slots"] == 2
    dispatch, fill, copy, update = parsed.commands
    kernel = executable.library.kernels[add]
    assert [c["opcode"] for c in parsed.commands] == [1, 2, 3, 3]
    assert [c["number"] for c in parsed.commands] == [0, 1, 3, 4]
    assert (dispatch["x"], dispatch["y"], dispatch["z"], dispatch["tiles"]) == (5, 2, 1, 10)
    assert dispatch["payload"] == kernel.address and parsed.constants == [77]
    assert (dispatch["first_address"], dispatch["address_count"], dispatch["constant_count"]) == (0, 3, 1)
    assert parsed.names[dispatch["name"] :] == b"add\0"
    assert fill["pattern"] == 0x02010201 and (fill["payload"], fill["tiles"]) == (0, 1)
    assert copy["payload"] == 100 and update["payload"] == 5 and parsed.data == b"hello"
    assert parsed.segments == [(0, 2, 11, 0), (2, 2, 2, 0)]
    base_a, base_b = a.host_address, b.host_address
    assert parsed.addresses == [base_a + 64, 0, base_b, 0, base_a + 1, base_b + 3, 0, 0]
    assert parsed.patches == [
        (1, 1, 1, 0, 16),  # the dispatch's second binding: slot 1
        (1, 3, 0, 0, 8),  # the fill's target: slot 0
        (2, 1, 0, 0, 8),  # its length
        (1, 7, 0, 0, 1),  # the update's target
        (3, 6, 0, 0, 0),  # its source: the data
    ]


def test_static_slots_are_written_in_place_and_the_others_renumbered(executable):
    buffer = HostAllocator().allocate(4096)
    commands = CommandBuffer(3)
    refs = tuple(BufferRef(slot=slot, offset=4 * slot) for slot in range(3))
    commands.dispatch(executable, executable.lookup_function("add"), (1, 1, 1), refs, (1,))
    static = {1: packed_commands.BoundRange(buffer, 32, 64)}
    parsed = Parsed(pack(commands, static=static, slots={0: 0, 2: 1}, slot_count=2))
    assert parsed.addresses == [0, buffer.host_address + 32 + 4, 0]
    assert parsed.patches == [(1, 0, 0, 0, 0), (1, 2, 1, 0, 8)]
    with pytest.raises(InvalidArgument, match="slot 0 is neither static nor given by address"):
        pack(commands, static=static, slots={2: 0}, slot_count=1)


@pytest.mark.parametrize(
    ("length", "tiles"), [(1, 1), (TRANSFER_TILE, 1), (TRANSFER_TILE + 1, 2), (5 * TRANSFER_TILE, 5)]
)
def test_transfers_are_cut_into_tiles(length, tiles):
    buffer = HostAllocator().allocate(length)
    commands = CommandBuffer()
    commands.fill(BufferRef(buffer), b"\x01")
    (command,) = Parsed(pack(commands)).commands
    assert (command["payload"], command["tiles"]) == (length, tiles)


def test_what_does_nothing_is_left_out(executable):
    buffer = HostAllocator().allocate(16)
    commands = CommandBuffer()
    commands.fill(BufferRef(buffer, 0, 0), b"\x01")
    commands.update(b"", BufferRef(buffer, 0, 0))
    commands.barrier()
    commands.dispatch(executable, executable.lookup_function("increment"), (0, 1, 1), (BufferRef(buffer),))
    parsed = Parsed(pack(commands))
    assert parsed.commands == [] and parsed.segments == []


def test_more_tiles_than_fit_in_one_segment_make_two(executable):
    buffer = HostAllocator().allocate(16)
    commands = CommandBuffer()
    for count in (MAXIMUM_TILES - 10, 5, 5, 1):
        increment = executable.lookup_function("increment")
        commands.dispatch(executable, increment, (count, 1, 1), (BufferRef(buffer),))
    assert Parsed(pack(commands)).segments == [(0, 2, MAXIMUM_TILES - 5, 0), (2, 2, 6, 0)]


# ---- refusal -----------------------------------------------------------------------------------------------


@pytest.fixture
def create():
    """A function: bytes → whether the native processor takes them as a list."""
    library = native.load_library()
    assert library is not None
    pool = library.functions.tw_pool_create(1)

    def make(packed: bytes) -> bool:
        try:
            NativeProgram(library, pool, packed, None)
        except ResourceExhausted:
            return False
        return True

    yield make
    library.functions.tw_pool_release(pool)


@pytest.fixture
def packed(executable) -> bytes:
    buffer = HostAllocator().allocate(64)
    commands = CommandBuffer(1)
    increment = executable.lookup_function("increment")
    commands.dispatch(executable, increment, (4, 1, 1), (BufferRef(slot=0),))
    commands.fill(BufferRef(slot=0), b"\x01")
    commands.barrier()
    commands.copy(BufferRef(buffer, 0, 8), BufferRef(buffer, 8, 8))
    return pack(commands, slot_count=1)


def test_every_other_size_is_refused(create, packed):
    assert create(packed)
    for size in range(len(packed)):
        assert not create(packed[:size])
    assert not create(packed + bytes(8))


FIRST, SECOND = 64, 128
SEGMENTS = 64 + 3 * 64
PATCHES = SEGMENTS + 2 * 16

DAMAGE = {
    "magic": (0, 0x4C435755),
    "version": (4, 2),
    "fewer commands": (8, 2),
    "enormous": (8, 0xFFFFFFFF),
    "fewer slots": (28, 0),
    "opcode 0": (FIRST, 0),
    "opcode 4": (FIRST, 4),
    "no tiles": (FIRST + 8, 0),
    "tiles that are not the workgroups": (FIRST + 8, 5),
    "first address": (FIRST + 16, 0xFFFFFFFF),
    "address count": (FIRST + 20, 6),
    "first constant": (FIRST + 24, 1),
    "constant count": (FIRST + 28, 0xFFFFFFFF),
    "workgroups": (FIRST + 40, 0x80000000),
    "no workgroups": (FIRST + 40, 0),
    "name": (FIRST + 60, 1000),
    "a fill of two addresses": (SECOND + 20, 2),
    "a copy of one address": (FIRST + 2 * 64 + 20, 1),
    "segments that do not start at 0": (SEGMENTS, 1),
    "a segment without commands": (SEGMENTS + 4, 0),
    "a segment with too many commands": (SEGMENTS + 4, 4),
    "tiles of a segment": (SEGMENTS + 8, 6),
    "patch kind": (PATCHES, 4),
    "patched address": (PATCHES + 4, 4),
    "patched slot": (PATCHES + 8, 1),
    "patched length of a dispatch": (PATCHES + 2 * 24 + 4, 0),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_malformed_list_is_refused(create, packed, name):
    place, value = DAMAGE[name]
    assert struct.unpack_from("<I", packed, place)[0] != value, "this changes nothing"
    damaged = bytearray(packed)
    struct.pack_into("<I", damaged, place, value)
    assert not create(bytes(damaged))


def test_a_dispatch_without_a_kernel_is_refused(create, packed):
    damaged = bytearray(packed)
    struct.pack_into("<Q", damaged, FIRST + 32, 0)
    assert not create(bytes(damaged))


def test_random_damage_never_ends_the_process(create, packed):
    rng = np.random.default_rng(3)
    taken = 0
    for _ in range(3000):
        damaged = bytearray(packed)
        for _ in range(int(rng.integers(1, 4))):
            struct.pack_into(
                "<I", damaged, 4 * int(rng.integers(len(damaged) // 4)), int(rng.integers(1 << 32))
            )
        taken += create(bytes(damaged))
    assert 0 < taken < 3000


def test_a_call_without_lengths_is_refused_where_lengths_are_patched(packed):
    library = native.load_library()
    assert library is not None
    pool = library.functions.tw_pool_create(1)
    program = library.functions.tw_program_create(pool, packed, len(packed))
    assert library.functions.tw_program_call(program, bytes(8)) == native.INVALID
    library.functions.tw_program_release(program)
    library.functions.tw_pool_release(pool)
