"""The parts that the writer and the reader of module files agree on: members, comment and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from thalweg.module.container import Member
from thalweg.module.manifest import CHUNK_SIZE, SegmentRow

MANIFEST_NAME = "manifest.json"

COMMENT_PREFIX = b"thalweg-module manifest-sha256="
"""The archive's comment: this, then the hexadecimal SHA-256 of the manifest's bytes."""

COMMENT_SIZE = len(COMMENT_PREFIX) + 64


def archive_members(manifest_size: int, rows: Sequence[SegmentRow], manifest_crc: int = 0) -> list[Member]:
    """Return the archive's members in order: the manifest, then the segments."""
    members = [Member(MANIFEST_NAME, manifest_size, manifest_crc)]
    return members + [Member(row.name, row.size, row.crc32) for row in rows]


def archive_comment(manifest_bytes: bytes) -> bytes:
    """Return the comment of an archive with this manifest."""
    return COMMENT_PREFIX + hashlib.sha256(manifest_bytes).hexdigest().encode("ascii")


def digest(view: memoryview) -> str:
    """Return the hexadecimal SHA-256 of ``view``."""
    return hashlib.sha256(view).hexdigest()


def chunks(view: memoryview) -> list[memoryview]:
    """Return the pieces of ``view`` that have digests of their own."""
    return [view[start : start + CHUNK_SIZE] for start in range(0, view.nbytes, CHUNK_SIZE)]
