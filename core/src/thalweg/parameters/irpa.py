"""The IREE parameter archive (irpa), version 0: names, sizes and bytes; no dtypes, no shapes.

Source: ``runtime/src/iree/schemas/parameter_archive.h`` of IREE. A file is a list of archives, each with a
header, a table of entries, a segment of names and one of data; all offsets count from the archive's header.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from thalweg.errors import ParameterError
from thalweg.parameters.cursor import NAME_LIMIT, Cursor
from thalweg.parameters.file import ALIGNMENT, StoredTensor

MAGIC = b"IRPA"

_PREFIX = struct.Struct("<4s2H3Q")
"""Magic, major, minor, header size, offset of the next header or 0, flags."""
_SEGMENTS = struct.Struct("<7Q")
"""Number of entries, then (offset, length) of the entries, the names and the data."""
_ENTRY = struct.Struct("<QIQ5Q")
"""Entry size, type, flags, (offset, length) of the name and of the metadata, alignment."""
_SPLAT = struct.Struct("<Q16sB")
_RANGE = struct.Struct("<2Q")
_SKIP, _SPLAT_TYPE, _DATA, _EXTERNAL = range(4)
_ENTRY_ALIGNMENT = 16
_FILE_ALIGNMENT = 4096
_ARCHIVE_LIMIT = 1 << 12


def read_irpa(data: memoryview, where: str) -> list[StoredTensor]:
    """Return the parameters of every archive of a file.

    :raises ParameterError: truncated, damaged, or of another version; says where.
    """
    tensors: list[StoredTensor] = []
    base = 0
    for _ in range(_ARCHIVE_LIMIT):
        cursor = Cursor(data, where, base)
        magic, major, minor, header_size, following, _flags = cursor.unpack(_PREFIX, "an archive's header")
        if magic != MAGIC:
            cursor.fail(f"no archive at byte {base}")
        if major != 0:
            raise ParameterError(f"{where} is irpa version {major}.{minor}; Thalweg reads 0")
        if header_size < _PREFIX.size + _SEGMENTS.size:
            cursor.fail(f"an archive's header of {header_size} bytes")
        tensors += _archive(cursor, base)
        if not following:
            return tensors
        base += following
    raise ParameterError(f"{where} is damaged: more than {_ARCHIVE_LIMIT} archives")


@dataclass(frozen=True)
class _Archive:
    """Where the segments of one archive lie in the file."""

    cursor: Cursor
    base: int
    count: int
    entries: range
    names: range
    storage: range


def _archive(cursor: Cursor, base: int) -> list[StoredTensor]:
    count, *ranges = cursor.unpack(_SEGMENTS, "an archive's header")
    entries, names, storage = (
        _segment(cursor, base, ranges[2 * number], ranges[2 * number + 1], what)
        for number, what in enumerate(("entries", "names", "data"))
    )
    if count * _ENTRY.size > len(entries):
        cursor.fail(f"{count} entries do not fit their table of {len(entries)} bytes")
    archive = _Archive(cursor, base, count, entries, names, storage)
    tensors: list[StoredTensor] = []
    position = entries.start
    for _ in range(count):
        position += -(position - base) % _ENTRY_ALIGNMENT
        size, tensor = _entry(archive, position)
        position += size
        if tensor is not None:
            tensors.append(tensor)
    return tensors


def _segment(cursor: Cursor, base: int, offset: int, length: int, what: str) -> range:
    start = base + offset
    if start + length > len(cursor.data):
        cursor.fail(f"its {what} take {length} bytes at byte {start}; the file has {len(cursor.data)} bytes")
    return range(start, start + length)


def _entry(archive: _Archive, start: int) -> tuple[int, StoredTensor | None]:
    """Return an entry's size in the table and its parameter, if it is one."""
    cursor = Cursor(archive.cursor.data[: archive.entries.stop], archive.cursor.where, start)
    size, kind, _flags, name_offset, name_length, *_metadata, _alignment = cursor.unpack(_ENTRY, "an entry")
    if size < _ENTRY.size or size > archive.entries.stop - start:
        cursor.fail(f"an entry of {size} bytes at byte {start}")
    if kind == _SKIP:
        return size, None
    name = _name(archive, name_offset, name_length)
    if kind == _SPLAT_TYPE:
        length, pattern, used = cursor.unpack(_SPLAT, f"the entry of {name!r}")
        if used not in (1, 2, 4, 8, 16) or length % used:
            cursor.fail(f"parameter {name!r} repeats {used} bytes over {length}")
        return size, StoredTensor(name, None, None, 0, length, pattern=pattern[:used])
    if kind == _DATA:
        offset, length = cursor.unpack(_RANGE, f"the entry of {name!r}")
        if offset + length > len(archive.storage):
            cursor.fail(
                f"parameter {name!r} takes {length} bytes at {offset} of {len(archive.storage)} bytes of data"
            )
        return size, StoredTensor(name, None, None, archive.storage.start + offset, length)
    what = "lies in another file" if kind == _EXTERNAL else f"is of the irpa entry type {kind}"
    return size, StoredTensor(name, None, None, 0, 0, refusal=f"{what}, which Thalweg does not read")


def _name(archive: _Archive, offset: int, length: int) -> str:
    if offset + length > len(archive.names):
        archive.cursor.fail(f"a name of {length} bytes at {offset} of {len(archive.names)} bytes of names")
    cursor = Cursor(archive.cursor.data, archive.cursor.where, archive.names.start + offset)
    return cursor.text(length, "a name")


def _aligned(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def write_irpa(tensors: Mapping[str, np.ndarray], file: BinaryIO) -> None:
    """Write a file of one archive, every parameter at a multiple of 64 bytes.

    A function of ``tensors`` alone, whatever their order.
    """
    names = sorted(tensors)
    encoded = [name.encode("utf-8") for name in names]
    if any(len(name) > NAME_LIMIT for name in encoded):
        raise ParameterError(f"a parameter's name has more than {NAME_LIMIT} bytes")
    entry_size = _ENTRY.size + _RANGE.size
    entry_pitch = _aligned(entry_size, _ENTRY_ALIGNMENT)
    entry_start = _aligned(_PREFIX.size + _SEGMENTS.size, _ENTRY_ALIGNMENT)
    name_start = entry_start + entry_pitch * len(names)
    name_length = sum(map(len, encoded))
    data_start = _aligned(name_start + name_length, ALIGNMENT)
    entries, name_offset, data_offset = [], 0, 0
    for name, text in zip(names, encoded):
        size = tensors[name].nbytes
        record = _ENTRY.pack(entry_size, _DATA, 0, name_offset, len(text), 0, 0, ALIGNMENT)
        entries.append((record + _RANGE.pack(data_offset, size)).ljust(entry_pitch, b"\0"))
        name_offset += len(text)
        data_offset = _aligned(data_offset + size, ALIGNMENT)
    header = _PREFIX.pack(MAGIC, 0, 0, _PREFIX.size + _SEGMENTS.size, 0, 0) + _SEGMENTS.pack(
        len(names), entry_start, entry_pitch * len(names), name_start, name_length, data_start, data_offset
    )
    head = header.ljust(entry_start, b"\0") + b"".join(entries) + b"".join(encoded)
    file.write(head.ljust(data_start, b"\0"))
    for name in names:
        content = np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8)
        file.write(content.data)
        file.write(bytes(-content.nbytes % ALIGNMENT))
    file.write(bytes(-(data_start + data_offset) % _FILE_ALIGNMENT))
