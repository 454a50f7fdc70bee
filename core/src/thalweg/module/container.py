"""The module file's container: a canonical ZIP, stored, with 64-byte-aligned data.

Every byte outside the members' data follows from the members' names, sizes and CRCs and the archive comment:
a reader recomputes and compares it. The source of the record layouts is PKWARE's APPNOTE.TXT 6.3.10,
sections 4.3 and 4.5.3; the padding field (0xD935) is the one of Android's zipalign.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.errors import InvalidArgument

ALIGNMENT = 64
"""Every member's data starts at a multiple of this."""

ZIP32_LIMIT = 0xFFFFFFFF
"""Sizes and offsets from here on are stored in ZIP64 fields."""

COUNT_LIMIT = 0xFFFF
NAME_LIMIT = 255
LOCAL_HEADER_SIZE = 30
END_RECORD_SIZE = 22

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_LOCATOR = struct.Struct("<4sIQI")

LOCAL_MAGIC = b"PK\x03\x04"
_PADDING_FIELD = 0xD935
_ZIP64_FIELD = 0x0001
_DOS_TIME, _DOS_DATE = 0, 0x21  # 1980-01-01 00:00, the earliest that ZIP can say
_UNIX = 3 << 8
_REGULAR_FILE = 0o100644 << 16


@dataclass(frozen=True)
class Member:
    """One stored file of the archive."""

    name: str
    size: int
    crc32: int


@dataclass(frozen=True)
class Layout:
    """All bytes of an archive except its members' data.

    ``headers[i]`` stands right before the data of member ``i``, which starts at ``offsets[i]``; ``trailer``
    follows the last member's data; ``size`` is the whole archive's.
    """

    headers: tuple[bytes, ...]
    offsets: tuple[int, ...]
    trailer: bytes
    size: int


def lay_out(members: Sequence[Member], comment: bytes) -> Layout:
    """Place ``members`` in order and return every byte around them.

    :raises InvalidArgument: a name that is not short ASCII.
    """
    headers, offsets, directory = [], [], []
    position = 0
    for member in members:
        header = _local_header(member, position)
        headers.append(header)
        offsets.append(position + len(header))
        directory.append(_central_header(member, position))
        position += len(header) + member.size
    trailer = b"".join(directory)
    trailer += _end_records(len(members), len(trailer), position, comment)
    return Layout(tuple(headers), tuple(offsets), trailer, position + len(trailer))


def _encoded_name(member: Member) -> bytes:
    if not member.name.isascii() or not 0 < len(member.name) <= NAME_LIMIT:
        raise InvalidArgument(
            f"a segment's name is ASCII of 1 to {NAME_LIMIT} characters; got {member.name!r}"
        )
    return member.name.encode("ascii")


def _local_header(member: Member, position: int) -> bytes:
    name = _encoded_name(member)
    extra, size, version = b"", member.size, 20
    if member.size >= ZIP32_LIMIT:
        extra = struct.pack("<2H2Q", _ZIP64_FIELD, 16, member.size, member.size)
        size, version = 0xFFFFFFFF, 45
    # The padding field is a 4-byte heading, the alignment in 2 bytes, and zeros.
    smallest = position + LOCAL_HEADER_SIZE + len(name) + len(extra) + 6
    zeros = -smallest % ALIGNMENT
    extra += struct.pack("<3H", _PADDING_FIELD, 2 + zeros, ALIGNMENT) + bytes(zeros)
    fixed = _LOCAL.pack(
        LOCAL_MAGIC, version, 0, 0, _DOS_TIME, _DOS_DATE, member.crc32, size, size, len(name), len(extra)
    )
    return fixed + name + extra


def _central_header(member: Member, position: int) -> bytes:
    name = _encoded_name(member)
    wide, size, offset = [], member.size, position
    if size >= ZIP32_LIMIT:
        wide += [member.size, member.size]
        size = 0xFFFFFFFF
    if offset >= ZIP32_LIMIT:
        wide.append(position)
        offset = 0xFFFFFFFF
    extra = struct.pack(f"<2H{len(wide)}Q", _ZIP64_FIELD, 8 * len(wide), *wide) if wide else b""
    version = 45 if wide else 20
    fixed = _CENTRAL.pack(
        b"PK\x01\x02", _UNIX | version, version, 0, 0, _DOS_TIME, _DOS_DATE, member.crc32, size, size,
        len(name), len(extra), 0, 0, 0, _REGULAR_FILE, offset,
    )  # fmt: skip
    return fixed + name + extra


def _end_records(count: int, directory_size: int, directory_offset: int, comment: bytes) -> bytes:
    records = b""
    wide = count >= COUNT_LIMIT or directory_size >= ZIP32_LIMIT or directory_offset >= ZIP32_LIMIT
    if wide:
        records += _END64.pack(
            b"PK\x06\x06",
            _END64.size - 12,
            _UNIX | 45,
            45,
            0,
            0,
            count,
            count,
            directory_size,
            directory_offset,
        )
        records += _END64_LOCATOR.pack(b"PK\x06\x07", 0, directory_offset + directory_size, 1)
    short_count = min(count, 0xFFFF)
    size = 0xFFFFFFFF if directory_size >= ZIP32_LIMIT else directory_size
    offset = 0xFFFFFFFF if directory_offset >= ZIP32_LIMIT else directory_offset
    return (
        records
        + _END.pack(b"PK\x05\x06", 0, 0, short_count, short_count, size, offset, len(comment))
        + comment
    )


def first_member(data: memoryview) -> tuple[str, int, int]:
    """Return (name, data offset, size) of the archive's first member, from its local header alone.

    :raises ValueError: the bytes do not start with a local header. The caller checks the rest by ``lay_out``.
    """
    if len(data) < LOCAL_HEADER_SIZE or bytes(data[:4]) != LOCAL_MAGIC:
        raise ValueError("no ZIP header at its start")
    fields = _LOCAL.unpack(data[:LOCAL_HEADER_SIZE])
    size, name_length, extra_length = fields[8], fields[9], fields[10]
    name = bytes(data[LOCAL_HEADER_SIZE : LOCAL_HEADER_SIZE + name_length])
    return name.decode("ascii", "replace"), LOCAL_HEADER_SIZE + name_length + extra_length, size
