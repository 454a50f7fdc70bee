"""Reads and verifies module files."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.errors import InvalidArgument, ModuleFormatError
from thalweg.module import container
from thalweg.module.checked_json import parse_canonical
from thalweg.module.container import Layout
from thalweg.module.encoding import decode_functions
from thalweg.module.manifest import Manifest, check_versions, decode_manifest
from thalweg.module.module import ExecutableRecord, Module, Variant
from thalweg.module.segments import (
    COMMENT_PREFIX,
    COMMENT_SIZE,
    MANIFEST_NAME,
    archive_comment,
    archive_members,
    chunks,
    digest,
)
from thalweg.module.verification import verify_module

Verify = Literal["code", "full"]


def read_module(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview, verify: Verify = "code"
) -> Module:
    """Read a module file. Constants are read-only arrays over the mapped file or ``source``: no copy.

    The manifest, programs, executables and every byte around the segments are verified always. The file must
    not change while the module is in use.
    :param source: a path, or a module file's bytes.
    :param verify: ``"code"``; or ``"full"``, which verifies the constants' digests too.
    :raises InvalidArgument: no such file, or it cannot be read.
    :raises ModuleFormatError: damaged, truncated, newer, or not a module; says where.
    """
    if verify not in ("code", "full"):
        raise InvalidArgument(f"verify is 'code' or 'full'; got {verify!r}")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _Reader(memoryview(source).toreadonly().cast("B"), "module in memory").read(verify)
    return _Reader(_map(source), os.fspath(source)).read(verify)


def _map(path: str | os.PathLike[str]) -> memoryview:
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ModuleFormatError(f"{os.fspath(path)} is not a Thalweg module: the file is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise InvalidArgument(f"no such file: {os.fspath(path)}") from None
    except OSError as error:
        raise InvalidArgument(f"cannot read {os.fspath(path)}: {error.strerror or error}") from None


class _Reader:
    """Reads one module from a view of its bytes; ``where`` names it in messages."""

    def __init__(self, data: memoryview, where: str):
        self.data = data
        self.where = where

    def fail(self, message: str) -> ModuleFormatError:
        return ModuleFormatError(f"{self.where} {message}")

    def read(self, verify: Verify) -> Module:
        manifest_offset, text = self.manifest_text()
        manifest = decode_manifest(parse_canonical(text.rstrip(b"\n"), f"{self.where}: {MANIFEST_NAME}"))
        members = archive_members(len(text), manifest.segments, zlib.crc32(text))
        try:
            layout = container.lay_out(members, archive_comment(text))
        except InvalidArgument as error:
            raise self.fail(f"is damaged: {error}") from None
        self.check_container(manifest, layout, manifest_offset + len(text))
        segments = [
            self.data[offset : offset + row.size]
            for row, offset in zip(manifest.segments, layout.offsets[1:])
        ]
        self.check_digests(manifest, segments, verify)
        module = self.assemble(manifest, segments)
        verify_module(module, self.where)
        return module

    def manifest_text(self) -> tuple[int, bytes]:
        """Return the manifest's offset and bytes, digest and versions checked."""
        try:
            name, offset, size = container.first_member(self.data)
        except ValueError as error:
            raise self.fail(f"is not a Thalweg module: {error}") from None
        if name != MANIFEST_NAME:
            raise self.fail(f"is not a Thalweg module: its first entry is {name!r}, not {MANIFEST_NAME!r}")
        if offset + size > len(self.data):
            raise self.fail(
                f"is truncated or damaged: {len(self.data)} bytes, but its manifest ends at {offset + size}"
            )
        text = bytes(self.data[offset : offset + size])
        comment = bytes(self.data[-COMMENT_SIZE:])
        intact = comment == archive_comment(text)
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        doubt = "" if intact else " (it may also be damaged: its manifest's digest differs)"
        check_versions(document, self.where, doubt)
        if not comment.startswith(COMMENT_PREFIX):
            raise self.fail("is truncated or damaged: it does not end with a module's end record")
        if not intact:
            raise self.fail("is damaged: its manifest does not have the digest that the end record gives")
        return offset, text

    def check_container(self, manifest: Manifest, layout: Layout, base: int) -> None:
        """Compare every byte outside the segments with what the manifest makes of it."""
        if layout.size != len(self.data):
            kind = "truncated" if len(self.data) < layout.size else "damaged"
            raise self.fail(f"is {kind}: {len(self.data)} bytes, but its manifest describes {layout.size}")
        names = [MANIFEST_NAME, *(row.name for row in manifest.segments)]
        for name, header, offset in zip(names, layout.headers, layout.offsets):
            if self.data[offset - len(header) : offset] != header:
                raise self.fail(f"is damaged: the local header of {name} is not what its manifest describes")
        for row, offset in zip(manifest.segments, layout.offsets[1:]):
            if base + row.offset != offset:
                raise self.fail(
                    f"is damaged: segment {row.name} lies at {offset}, its row says {base + row.offset}"
                )
        if self.data[layout.size - len(layout.trailer) :] != layout.trailer:
            raise self.fail("is damaged: its central directory is not what its manifest describes")

    def check_digests(self, manifest: Manifest, segments: Sequence[memoryview], verify: Verify) -> None:
        for row, content in zip(manifest.segments, segments):
            if row.kind != "constant":
                if digest(content) != row.sha256:
                    raise self.fail(f"is damaged: segment {row.name} does not have its digest")
            elif verify == "full":
                for number, (chunk, expected) in enumerate(zip(chunks(content), row.chunks)):
                    if digest(chunk) != expected:
                        raise self.fail(
                            f"is damaged: segment {row.name}, chunk {number} does not have its digest"
                        )

    def assemble(self, manifest: Manifest, segments: Sequence[memoryview]) -> Module:
        variants = []
        for row in manifest.variants:
            program = f"{self.where}: {manifest.segments[row.program].name}"
            executables = tuple(
                ExecutableRecord(item.name, item.format, bytes(segments[item.segment]), item.entries)
                for item in row.executables
            )
            functions = decode_functions(bytes(segments[row.program]), program)
            variants.append(
                Variant(
                    row.name, row.backend, row.predicate, executables, functions, row.constants, row.inline,
                    row.statistics, b"" if row.debug is None else bytes(segments[row.debug]),
                )
            )  # fmt: skip
        constants = {
            row.name: _array(segments[row.segment], numpy_dtype(row.dtype), row.shape)
            for row in manifest.constants
        }
        return Module(
            manifest.name, manifest.producer, manifest.exports, tuple(variants), constants,
            manifest.required_features, manifest.parameters,
        )  # fmt: skip


def _array(content: memoryview, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if not content.nbytes:
        array = np.empty(shape, dtype)
        array.flags.writeable = False
        return array
    return np.frombuffer(content, dtype=dtype).reshape(shape)
