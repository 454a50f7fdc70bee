"""Parses the ELF images of the ``thalweg-elf-*-1`` formats. Every offset, size, count and string is checked.

An image is an ELF64, little-endian ``ET_DYN`` file. Its ``PT_LOAD`` segments share no page and none is
writable and executable. ``PT_DYNAMIC`` names the symbol table (``DT_SYMTAB``, ``DT_SYMENT``, ``DT_STRTAB``,
``DT_STRSZ``, with the count from ``DT_HASH``) and, where needed, ``DT_RELA`` relocations of the one kind
"relative". It needs nothing from outside: no undefined symbol, no other library, no initializer. Section
headers are not read.

Structures and numbers: System V ABI, chapters 4 and 5, and the processor supplements.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from thalweg.api import ModuleFormatError

FORMAT_MACHINES = {"thalweg-elf-x86_64-1": 62, "thalweg-elf-aarch64-1": 183, "thalweg-elf-riscv64-1": 243}
"""Format → ``e_machine``."""

RELATIVE_RELOCATIONS = {62: 8, 183: 1027, 243: 3}
"""``e_machine`` → R_X86_64_RELATIVE, R_AARCH64_RELATIVE, R_RISCV_RELATIVE."""

MAXIMUM_IMAGE_BYTES = 1 << 30
MAXIMUM_SEGMENTS = 64
MAXIMUM_NAME_BYTES = 1024
"""Limits that keep the time for a hostile image proportional to its size."""

PT_LOAD, PT_DYNAMIC = 1, 2
IGNORED_SEGMENTS = {
    0: "PT_NULL",
    4: "PT_NOTE",
    6: "PT_PHDR",
    0x6474E550: "PT_GNU_EH_FRAME",
    0x6474E551: "PT_GNU_STACK",
    0x6474E552: "PT_GNU_RELRO",
    0x6474E553: "PT_GNU_PROPERTY",
    0x70000003: "PT_RISCV_ATTRIBUTES",
}
REFUSED_SEGMENTS = {3: "PT_INTERP", 5: "PT_SHLIB", 7: "PT_TLS"}

DT_NULL, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_RELAENT = 0, 4, 5, 6, 7, 8, 9
DT_STRSZ, DT_SYMENT = 10, 11
IGNORED_TAGS = {
    14: "DT_SONAME",
    16: "DT_SYMBOLIC",
    24: "DT_BIND_NOW",
    30: "DT_FLAGS",
    0x6FFFFEF5: "DT_GNU_HASH",
    0x6FFFFFF9: "DT_RELACOUNT",
    0x6FFFFFFB: "DT_FLAGS_1",
}
REFUSED_TAGS = {
    1: "DT_NEEDED",
    2: "DT_PLTRELSZ",
    3: "DT_PLTGOT",
    12: "DT_INIT",
    13: "DT_FINI",
    17: "DT_REL",
    22: "DT_TEXTREL",
    23: "DT_JMPREL",
    25: "DT_INIT_ARRAY",
    26: "DT_FINI_ARRAY",
    32: "DT_PREINIT_ARRAY",
    36: "DT_RELR",
}
SYMBOL_SIZE, RELA_SIZE = 24, 24
EXECUTE, WRITE, READ = 1, 2, 4


@dataclass(frozen=True)
class Segment:
    """One ``PT_LOAD``: ``file_size`` bytes at ``offset`` of the file go to ``address``, zeros to ``size``."""

    address: int
    size: int
    offset: int
    file_size: int
    flags: int

    def holds(self, address: int, length: int) -> bool:
        """Return whether the segment has these bytes."""
        return self.address <= address and address + length <= self.address + self.size


@dataclass(frozen=True)
class ElfImage:
    """What is in an image: its span in bytes, segments, function addresses, (place, addend) relocations.

    ``sizes``: function → bytes of code, as its symbol says, for people; nothing depends on it.
    """

    span: int
    segments: tuple[Segment, ...]
    functions: dict[str, int]
    relocations: tuple[tuple[int, int], ...]
    sizes: dict[str, int] = field(default_factory=dict)


def parse_elf(data: bytes, machine: int) -> ElfImage:
    """Parse an image for the processor ``machine`` (an ``e_machine``).

    :raises ModuleFormatError: saying what is wrong.
    """
    return _Parser(data, machine).parse()


class _Parser:
    def __init__(self, data: bytes, machine: int):
        self.data = data
        self.machine = machine
        self.segments: list[Segment] = []
        self.dynamic: Segment | None = None
        self.sizes: dict[str, int] = {}

    def parse(self) -> ElfImage:
        self._parse_headers()
        span = self._check_segments()
        tags = self._parse_dynamic()
        functions = self._parse_symbols(tags)
        relocations = tuple(self._parse_relocations(tags, span))
        return ElfImage(span, tuple(self.segments), functions, relocations, self.sizes)

    def _unpack(self, layout: str, offset: int, what: str) -> tuple[int, ...]:
        if offset < 0 or offset + struct.calcsize(layout) > len(self.data):
            raise _damaged(f"{what} at offset {offset} is outside the {len(self.data)} bytes of the image")
        return struct.unpack_from(layout, self.data, offset)

    def _parse_headers(self) -> None:
        if self.data[:4] != b"\x7fELF":
            raise _damaged("it does not start with the ELF magic number")
        header = self._unpack("<16sHHIQQQIHHHHHH", 0, "the file header")
        identity, kind, machine, _, _, table, _, _, _, entry_size, count = header[:11]
        assert isinstance(identity, bytes)
        if identity[4] != 2 or identity[5] != 1:
            raise _damaged("it is not 64-bit little-endian")
        if kind != 3:
            raise _damaged(f"its type is {kind}, not ET_DYN")
        if machine != self.machine:
            raise _damaged(f"its machine is {machine}; this format says {self.machine}")
        if entry_size != 56:
            raise _damaged(f"its program headers have {entry_size} bytes, not 56")
        for index in range(count):
            self._parse_program_header(index, table + 56 * index)

    def _parse_program_header(self, index: int, offset: int) -> None:
        kind, flags, start, address, _, file_size, size, _ = self._unpack(
            "<IIQQQQQQ", offset, f"program header {index}"
        )
        if kind in IGNORED_SEGMENTS:
            return
        if kind not in (PT_LOAD, PT_DYNAMIC):
            raise _damaged(f"program header {index} has the type {REFUSED_SEGMENTS.get(kind, hex(kind))}")
        if start + file_size > len(self.data):
            raise _damaged(
                f"segment {index} ends at byte {start + file_size}; the image has {len(self.data)} bytes"
            )
        if file_size > size or address + size > MAXIMUM_IMAGE_BYTES:
            raise _damaged(
                f"segment {index} has impossible sizes: {file_size} of {size} bytes at {address:#x}"
            )
        segment = Segment(address, size, start, file_size, flags)
        if kind == PT_DYNAMIC:
            if self.dynamic is not None:
                raise _damaged("it has two PT_DYNAMIC")
            self.dynamic = segment
        elif size:
            if flags & WRITE and flags & EXECUTE:
                raise _damaged(f"segment {index} is writable and executable")
            self.segments.append(segment)
            if len(self.segments) > MAXIMUM_SEGMENTS:
                raise _damaged(f"it has more than {MAXIMUM_SEGMENTS} PT_LOAD segments")

    def _check_segments(self) -> int:
        if not self.segments:
            raise _damaged("it has no PT_LOAD segment")
        self.segments.sort(key=lambda segment: segment.address)
        for before, after in zip(self.segments, self.segments[1:]):
            if before.address + before.size > after.address:
                raise _damaged(f"segments overlap at {after.address:#x}")
        return self.segments[-1].address + self.segments[-1].size

    def _file_offset(self, address: int, length: int, what: str) -> int:
        for segment in self.segments:
            if segment.address <= address and address + length <= segment.address + segment.file_size:
                return segment.offset + address - segment.address
        raise _damaged(f"{what} ({length} bytes at {address:#x}) is in no segment")

    def _parse_dynamic(self) -> dict[int, int]:
        if self.dynamic is None:
            raise _damaged("it has no PT_DYNAMIC")
        tags: dict[int, int] = {}
        for index in range(self.dynamic.file_size // 16):
            tag, value = self._unpack("<QQ", self.dynamic.offset + 16 * index, "a dynamic entry")
            if tag == DT_NULL:
                break
            if tag in IGNORED_TAGS:
                continue
            if not (DT_HASH <= tag <= DT_SYMENT):
                raise _damaged(f"it has the dynamic entry {REFUSED_TAGS.get(tag, hex(tag))}")
            if tag in tags:
                raise _damaged(f"it has the dynamic entry {tag} twice")
            tags[tag] = value
        for tag, name in ((DT_HASH, "DT_HASH"), (DT_STRTAB, "DT_STRTAB"), (DT_SYMTAB, "DT_SYMTAB")):
            if tag not in tags:
                raise _damaged(f"it has no {name}")
        if tags.get(DT_SYMENT) != SYMBOL_SIZE or DT_STRSZ not in tags:
            raise _damaged("its DT_SYMENT is not 24 or its DT_STRSZ is missing")
        return tags

    def _parse_symbols(self, tags: dict[int, int]) -> dict[str, int]:
        _, count = self._unpack("<II", self._file_offset(tags[DT_HASH], 8, "DT_HASH"), "DT_HASH")
        table = self._file_offset(tags[DT_SYMTAB], count * SYMBOL_SIZE, "DT_SYMTAB")
        string_size = tags[DT_STRSZ]
        strings = self._file_offset(tags[DT_STRTAB], string_size, "DT_STRTAB")
        names = self.data[strings : strings + string_size]
        functions: dict[str, int] = {}
        for index in range(1, count):
            name_at, info, _, section, value, size = self._unpack(
                "<IBBHQQ", table + index * SYMBOL_SIZE, f"symbol {index}"
            )
            name = _string(names, name_at, index)
            binding, kind = info >> 4, info & 15
            if section == 0:
                raise _damaged(f"the symbol {name!r} is undefined")
            if binding in (1, 2) and kind in (0, 2):
                functions[name] = value
                self.sizes[name] = size
        return functions

    def _parse_relocations(self, tags: dict[int, int], span: int) -> Iterator[tuple[int, int]]:
        if DT_RELA not in tags:
            if tags.get(DT_RELASZ):
                raise _damaged("it has DT_RELASZ without DT_RELA")
            return
        size = tags.get(DT_RELASZ, 0)
        if tags.get(DT_RELAENT) != RELA_SIZE or size % RELA_SIZE:
            raise _damaged(f"its DT_RELAENT is not 24 or its DT_RELASZ ({size}) no multiple of it")
        table = self._file_offset(tags[DT_RELA], size, "DT_RELA")
        for index in range(size // RELA_SIZE):
            place, info, addend = self._unpack("<QQq", table + index * RELA_SIZE, f"relocation {index}")
            if info != RELATIVE_RELOCATIONS[self.machine]:
                raise _damaged(f"relocation {index} has the type {info & 0xFFFFFFFF}, not RELATIVE")
            if not 0 <= addend <= span:
                raise _damaged(f"relocation {index} points outside the image, to {addend:#x}")
            if not any(s.holds(place, 8) and not s.flags & EXECUTE for s in self.segments):
                raise _damaged(f"relocation {index} changes {place:#x}, which is not in a data segment")
            yield place, addend


def _string(names: bytes, start: int, index: int) -> str:
    end = names.find(b"\0", start, start + MAXIMUM_NAME_BYTES + 1)
    if start >= len(names) or end < 0:
        raise _damaged(
            f"the name of symbol {index} is outside the string table or over {MAXIMUM_NAME_BYTES} bytes"
        )
    try:
        return names[start:end].decode("ascii")
    except UnicodeDecodeError:
        raise _damaged(f"the name of symbol {index} is not ASCII") from None


def _damaged(reason: str) -> ModuleFormatError:
    return ModuleFormatError(f"damaged or foreign ELF image: {reason}")
