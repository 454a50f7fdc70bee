"""Reads relocatable ELF64 objects, as LLVM writes them.

Structures and numbers: System V ABI, chapter 4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from thalweg.api import CompileError

SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS = 1, 2, 4, 0x400
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON = 0, 0xFF00, 0xFFF1, 0xFFF2
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_FUNC, STT_SECTION, STT_TLS = 2, 3, 6


@dataclass(frozen=True)
class Relocation:
    """Change the bytes at ``offset`` of the section by symbol number ``symbol`` and ``addend``."""

    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass
class Section:
    """One allocated section; ``address`` is given by the linker."""

    name: str
    flags: int
    size: int
    alignment: int
    data: bytes
    relocations: list[Relocation] = field(default_factory=list)
    address: int = -1


@dataclass(frozen=True)
class Symbol:
    """One symbol. ``section`` is an index of the object's ``sections``, or ``None``: undefined
    or absolute.
    """

    name: str
    binding: int
    kind: int
    section: int | None
    value: int
    size: int
    defined: bool


@dataclass(frozen=True)
class ElfObject:
    """A parsed object; ``sections`` by their number in the file (allocated ones only)."""

    name: str
    machine: int
    flags: int
    sections: dict[int, Section]
    symbols: list[Symbol]


def parse_object(name: str, data: bytes) -> ElfObject:
    """Parse the relocatable object ``data`` of kernel or builtin ``name``.

    :raises CompileError: it holds what the linker has no place for (thread-local or common symbols, REL).
    """
    header = struct.unpack_from("<16sHHIQQQIHHHHHH", data)
    identity, kind, machine, _, _, _, table, flags, _, _, _, entry_size, count, strings_index = header
    if identity[:6] != b"\x7fELF\x02\x01" or kind != 1:
        raise CompileError(f"the object of {name!r} is not a relocatable 64-bit little-endian ELF file")
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + entry_size * i) for i in range(count)]
    names = _bytes(data, headers[strings_index])
    sections: dict[int, Section] = {}
    for index, (name_at, section_kind, section_flags, _, _, size, _, _, alignment, _) in enumerate(headers):
        section_name = _string(names, name_at)
        if section_flags & SHF_TLS or section_kind == SHT_REL:
            raise CompileError(
                f"the object of {name!r} has the section {section_name!r}, of a kind that is not linked"
            )
        if section_flags & SHF_ALLOC and section_kind in (SHT_PROGBITS, SHT_NOBITS):
            content = _bytes(data, headers[index]) if section_kind == SHT_PROGBITS else b""
            sections[index] = Section(section_name, section_flags, size, max(alignment, 1), content)
    symbols = _symbols(name, data, headers)
    for item in headers:
        if item[1] == SHT_RELA and item[7] in sections:
            sections[item[7]].relocations.extend(_relocations(_bytes(data, item)))
    return ElfObject(name, machine, flags, sections, symbols)


def _symbols(name: str, data: bytes, headers: list[tuple[int, ...]]) -> list[Symbol]:
    (table,) = [item for item in headers if item[1] == SHT_SYMTAB]
    names = _bytes(data, headers[table[6]])
    symbols = []
    for name_at, info, _, section, value, size in struct.iter_unpack("<IBBHQQ", _bytes(data, table)):
        symbol = _string(names, name_at)
        if section == SHN_COMMON or info & 15 == STT_TLS:
            raise CompileError(
                f"the object of {name!r} has the symbol {symbol!r}, of a kind that is not linked"
            )
        place = section if section < SHN_LORESERVE and section != SHN_UNDEF else None
        symbols.append(Symbol(symbol, info >> 4, info & 15, place, value, size, section != SHN_UNDEF))
    return symbols


def _relocations(table: bytes) -> list[Relocation]:
    return [
        Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend)
        for offset, info, addend in struct.iter_unpack("<QQq", table)
    ]


def _bytes(data: bytes, header: tuple[int, ...]) -> bytes:
    return data[header[4] : header[4] + header[5]]


def _string(names: bytes, start: int) -> str:
    return names[start : names.index(b"\0", start)].decode()
