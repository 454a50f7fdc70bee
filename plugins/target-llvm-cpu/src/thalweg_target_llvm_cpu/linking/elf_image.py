"""Writes the linked image: a little ELF64 shared object that a loader (or ``dlopen``) maps as it is.

Headers, dynamic tables and read-only data come first, then code, then data. Each segment starts on a page of
its own in memory and without a gap in the file. Section headers are there for people's tools alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from thalweg_target_llvm_cpu.linking.elf_object import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    SHT_PROGBITS,
)

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK = 1, 2, 0x6474E551
EXECUTE, WRITE, READ = 1, 2, 4
SHT_HASH, SHT_DYNAMIC, SHT_DYNSYM, SHT_STRTAB, SHT_RELA = 5, 6, 11, 3, 4
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_RELAENT, DT_STRSZ, DT_SYMENT = 4, 5, 6, 7, 8, 9, 10, 11
HEADER_SIZE, PROGRAM_HEADER_SIZE, SYMBOL_SIZE, RELA_SIZE, DYNAMIC_SIZE = 64, 56, 24, 24, 16
PROGRAM_HEADERS = 5


def align(value: int, alignment: int) -> int:
    """Round ``value`` up."""
    return -(-value // alignment) * alignment


@dataclass
class Piece:
    """Bytes of the image with a name for people: one section of it. ``memory`` counts bytes,
    zeros included.
    """

    name: str
    kind: int
    flags: int
    alignment: int
    size: int
    address: int = 0
    entry_size: int = 0
    link: str = ""


@dataclass
class SegmentLayout:
    """A PT_LOAD: its pieces, then what the layout found."""

    flags: int
    pieces: list[Piece]
    address: int = 0
    offset: int = 0
    file_size: int = 0
    memory_size: int = 0


@dataclass
class ImageLayout:
    """Where everything is. ``relative_count`` relocations "relative" have room."""

    page: int
    segments: list[SegmentLayout] = field(default_factory=list)

    def place(self) -> int:
        """Give every piece its address and every segment its place in the file; returns the end in memory."""
        address, offset = 0, 0
        for segment in self.segments:
            # The same remainder by the page size in file and memory, as mmap needs it.
            widest = max((piece.alignment for piece in segment.pieces), default=1)
            offset = align(offset, min(widest, self.page))
            segment.offset = offset
            segment.address = align(address, self.page) + offset % self.page
            here = segment.address + (self._headers() if segment is self.segments[0] else 0)
            end_of_file = here
            for piece in segment.pieces:
                here = align(here, piece.alignment)
                piece.address = here
                here += piece.size
                if piece.kind != SHT_NOBITS:
                    end_of_file = here
            segment.file_size = end_of_file - segment.address
            segment.memory_size = here - segment.address
            address, offset = here, segment.offset + segment.file_size
        return address

    def _headers(self) -> int:
        return HEADER_SIZE + PROGRAM_HEADERS * PROGRAM_HEADER_SIZE


def dynamic_pieces(symbol_count: int, string_size: int, relative_count: int) -> tuple[list[Piece], Piece]:
    """Return the pieces for the dynamic tables (read-only) and the dynamic section (writable: loaders write
    there).
    """
    read_only = [
        Piece(".hash", SHT_HASH, SHF_ALLOC, 8, 4 * (2 + 1 + symbol_count), entry_size=4, link=".dynsym"),
        Piece(
            ".dynsym",
            SHT_DYNSYM,
            SHF_ALLOC,
            8,
            SYMBOL_SIZE * symbol_count,
            entry_size=SYMBOL_SIZE,
            link=".dynstr",
        ),
        Piece(".dynstr", SHT_STRTAB, SHF_ALLOC, 1, string_size),
    ]
    if relative_count:
        size = RELA_SIZE * relative_count
        read_only.append(
            Piece(".rela.dyn", SHT_RELA, SHF_ALLOC, 8, size, entry_size=RELA_SIZE, link=".dynsym")
        )
    tags = 6 + (3 if relative_count else 0)
    flags = SHF_ALLOC | SHF_WRITE
    return read_only, Piece(
        ".dynamic", SHT_DYNAMIC, flags, 8, DYNAMIC_SIZE * tags, entry_size=DYNAMIC_SIZE, link=".dynstr"
    )


def _hash(name: str) -> int:
    """The hash function of DT_HASH (System V ABI, chapter 5)."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value


def hash_table(count: int) -> bytes:
    """Return DT_HASH of ``count`` symbols (the null one included) in one bucket, whose chain
    is all of them.
    """
    chain = [0, *range(2, count), 0][:count]
    return struct.pack(f"<II I {count}I", 1, count, min(1, count - 1), *chain)


@dataclass(frozen=True)
class Export:
    """A function that the image exports; ``section`` is the piece that holds it."""

    name: str
    address: int
    size: int
    section: str


class ImageWriter:
    """Turns a placed layout and its memory content into the file."""

    def __init__(self, layout: ImageLayout, machine: int, flags: int):
        self._layout = layout
        self._machine = machine
        self._flags = flags
        self._pieces = [piece for segment in layout.segments for piece in segment.pieces]
        self._by_name = {piece.name: piece for piece in self._pieces}

    def fill_dynamic(
        self, memory: bytearray, exports: Sequence[Export], relative: Sequence[tuple[int, int]], kind: int
    ) -> None:
        """Write the dynamic tables into ``memory``; ``relative`` are (place, target) pairs, ``kind`` their
        number.
        """
        numbers = {piece.name: index + 1 for index, piece in enumerate(self._pieces)}
        strings, symbols = bytearray(b"\0"), bytearray(SYMBOL_SIZE)
        for export in exports:
            symbols += struct.pack(
                "<IBBHQQ", len(strings), 1 << 4 | 2, 0, numbers[export.section], export.address, export.size
            )
            strings += export.name.encode() + b"\0"
        self._put(memory, ".hash", hash_table(len(exports) + 1))
        self._put(memory, ".dynsym", symbols)
        self._put(memory, ".dynstr", strings)
        tags = [(DT_HASH, ".hash"), (DT_STRTAB, ".dynstr"), (DT_SYMTAB, ".dynsym")]
        entries = [(tag, self._by_name[name].address) for tag, name in tags]
        entries += [(DT_STRSZ, len(strings)), (DT_SYMENT, SYMBOL_SIZE)]
        if relative:
            table = b"".join(struct.pack("<QQq", place, kind, target) for place, target in relative)
            self._put(memory, ".rela.dyn", table)
            entries += [
                (DT_RELA, self._by_name[".rela.dyn"].address),
                (DT_RELASZ, len(table)),
                (DT_RELAENT, RELA_SIZE),
            ]
        self._put(memory, ".dynamic", b"".join(struct.pack("<QQ", *entry) for entry in [*entries, (0, 0)]))

    def _put(self, memory: bytearray, name: str, data: bytes | bytearray) -> None:
        piece = self._by_name[name]
        assert len(data) == piece.size, (name, len(data), piece.size)
        memory[piece.address : piece.address + piece.size] = data

    def write(self, memory: bytearray) -> bytes:
        """Return the file: headers, segments, section headers."""
        image = bytearray()
        for segment in self._layout.segments:
            image += bytes(segment.offset - len(image))
            image += memory[segment.address : segment.address + segment.file_size]
        names, headers = self._section_headers(len(image))
        image += names
        image += bytes(-len(image) % 8)
        table = len(image)
        image[:HEADER_SIZE] = self._file_header(table, len(headers))
        programs = b"".join(self._program_headers())
        image[HEADER_SIZE : HEADER_SIZE + len(programs)] = programs
        return bytes(image + b"".join(headers))

    def _file_header(self, section_table: int, section_count: int) -> bytes:
        identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
        return struct.pack(
            "<16sHHIQQQIHHHHHH", identity, 3, self._machine, 1, 0, HEADER_SIZE, section_table, self._flags,
            HEADER_SIZE, PROGRAM_HEADER_SIZE, PROGRAM_HEADERS, 64, section_count, section_count - 1,
        )  # fmt: skip

    def _program_headers(self) -> list[bytes]:
        def header(
            kind: int, flags: int, offset: int, address: int, file: int, size: int, alignment: int
        ) -> bytes:
            return struct.pack("<IIQQQQQQ", kind, flags, offset, address, address, file, size, alignment)

        loads = [
            header(PT_LOAD, s.flags, s.offset, s.address, s.file_size, s.memory_size, self._layout.page)
            for s in self._layout.segments
        ]
        dynamic, last = self._by_name[".dynamic"], self._layout.segments[-1]
        offset = last.offset + dynamic.address - last.address
        found = [
            *loads,
            header(PT_DYNAMIC, READ | WRITE, offset, dynamic.address, dynamic.size, dynamic.size, 8),
            header(PT_GNU_STACK, READ | WRITE, 0, 0, 0, 0, 16),
        ]
        assert len(found) == PROGRAM_HEADERS
        return found

    def _section_headers(self, names_offset: int) -> tuple[bytes, list[bytes]]:
        numbers = {piece.name: index + 1 for index, piece in enumerate(self._pieces)}
        names, headers = bytearray(b"\0"), [bytes(64)]
        for segment in self._layout.segments:
            for piece in segment.pieces:
                headers.append(
                    struct.pack(
                        "<IIQQQQIIQQ", len(names), piece.kind, piece.flags, piece.address,
                        segment.offset + piece.address - segment.address, piece.size,
                        numbers.get(piece.link, 0), 1 if piece.kind == SHT_DYNSYM else 0, piece.alignment,
                        piece.entry_size,
                    )
                )  # fmt: skip
                names += piece.name.encode() + b"\0"
        at = len(names)
        names += b".shstrtab\0"
        headers.append(struct.pack("<IIQQQQIIQQ", at, SHT_STRTAB, 0, 0, names_offset, len(names), 0, 0, 1, 0))
        return bytes(names), headers


__all__ = [
    "EXECUTE", "READ", "SHF_ALLOC", "SHF_EXECINSTR", "SHF_WRITE", "SHT_NOBITS", "SHT_PROGBITS", "WRITE",
    "Export", "ImageLayout", "ImageWriter", "Piece", "SegmentLayout", "align", "dynamic_pieces",
]  # fmt: skip
