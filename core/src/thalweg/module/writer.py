"""Writes module files."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from thalweg.dtypes import dtype_name
from thalweg.errors import InvalidArgument
from thalweg.module import container
from thalweg.module.encoding import encode_functions
from thalweg.module.manifest import (
    BASE_FORMAT,
    DEBUG_FORMAT,
    ConstantRow,
    ExecutableRow,
    Manifest,
    SegmentRow,
    VariantRow,
    encode_manifest,
)
from thalweg.module.module import Module
from thalweg.module.segments import archive_comment, archive_members, chunks, digest
from thalweg.module.verification import verify_module


@dataclass
class _Segments:
    """The segments to write, each content once."""

    rows: list[SegmentRow] = field(default_factory=list)
    contents: list[memoryview] = field(default_factory=list)
    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, kind: str, suffix: str, content: bytes | memoryview) -> int:
        """Add a segment and return its number; equal content of one kind is the same segment."""
        view = memoryview(content)
        whole = digest(view)
        number = self.known.setdefault((kind, whole), len(self.rows))
        if number == len(self.rows):
            pieces = tuple(digest(chunk) for chunk in chunks(view)) if kind == "constant" else ()
            name = f"{kind}s/{number}{suffix}"
            self.rows.append(SegmentRow(name, kind, 0, view.nbytes, zlib.crc32(view), whole, pieces))
            self.contents.append(view)
        return number


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _plan(module: Module) -> tuple[Manifest, list[memoryview]]:
    """Gather the segments (programs, executables, constants) and the manifest, offsets not yet placed."""
    segments = _Segments()
    programs = [
        segments.add("program", ".json", encode_functions(variant.functions)) for variant in module.variants
    ]
    variants = []
    for variant, program in zip(module.variants, programs):
        executables = tuple(
            ExecutableRow(
                record.name, record.format, segments.add("executable", ".bin", record.data), record.entries
            )
            for record in variant.executables
        )
        variants.append(
            VariantRow(
                variant.name, variant.backend, variant.predicate, variant.inline, program, executables,
                variant.constants, variant.statistics,
                segments.add("debug", ".json", variant.debug_info) if variant.debug_info else None,
            )
        )  # fmt: skip
    constants = tuple(
        ConstantRow(
            name, dtype_name(array.dtype), array.shape, segments.add("constant", ".bin", _bytes_of(array))
        )
        for name, array in module.constants.items()
    )
    manifest = Manifest(
        module.name, module.producer, module.functions, module.required_features, tuple(variants), constants,
        tuple(segments.rows), module.parameters,
        DEBUG_FORMAT if any(row.debug is not None for row in variants) else BASE_FORMAT,
    )  # fmt: skip
    return manifest, segments.contents


def _placed(manifest: Manifest) -> Manifest:
    """Return the manifest with its segments' offsets, which count from its end."""
    layout = container.lay_out(archive_members(0, manifest.segments), b"")
    start = layout.offsets[0]
    offsets = [offset - start for offset in layout.offsets[1:]]
    rows = tuple(replace(row, offset=offset) for row, offset in zip(manifest.segments, offsets))
    return replace(manifest, segments=rows)


def _padded(text: bytes) -> bytes:
    return text + b"\n" * (-len(text) % container.ALIGNMENT)


def _write(module: Module, file: BinaryIO) -> None:
    verify_module(module, f"module {module.name!r}")
    manifest, contents = _plan(module)
    manifest = _placed(manifest)
    text = _padded(encode_manifest(manifest))
    layout = container.lay_out(
        archive_members(len(text), manifest.segments, zlib.crc32(text)), archive_comment(text)
    )
    for header, content in zip(layout.headers, [memoryview(text), *contents]):
        file.write(header)
        file.write(content)
    file.write(layout.trailer)


def module_bytes(module: Module) -> bytes:
    """Return the module file's bytes: a function of ``module`` alone.

    :raises ModuleFormatError: the module's records do not fit each other.
    """
    file = io.BytesIO()
    _write(module, file)
    return file.getvalue()


def write_module(module: Module, target: str | os.PathLike[str] | BinaryIO) -> None:
    """Write a module file. A path gets the whole file or keeps what it had.

    :param target: a path, or a binary file to write to.
    :raises InvalidArgument: the path cannot be written; says why.
    :raises ModuleFormatError: the module's records do not fit each other.
    """
    if not isinstance(target, (str, os.PathLike)):
        _write(module, target)
        return
    try:
        _write_path(module, Path(os.path.realpath(target)))
    except OSError as error:
        raise InvalidArgument(f"cannot write {os.fspath(target)}: {error.strerror or error}") from None


def _write_path(module: Module, path: Path) -> None:
    if path.exists() and not path.is_file():  # a device or pipe; a folder fails here, as it should
        with open(path, "wb") as file:
            _write(module, file)
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(13, "the file is read-only")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "xb") as file:
            _write(module, file)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
