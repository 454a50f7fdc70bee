"""``manifest.json``: what a module file says about itself, and where its segments lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thalweg.dtypes import DTYPES
from thalweg.errors import ModuleFormatError
from thalweg.module.checked_json import Field, canonical_json
from thalweg.module.encoding import (
    BYTES_LIMIT,
    ENTRY_LIMIT,
    FUNCTION_LIMIT,
    UINT32_LIMIT,
    decode_entry,
    decode_shape,
    decode_signature,
    encode_entry,
    encode_signature,
)
from thalweg.module.module import PARAMETERS_FEATURE, Parameter
from thalweg.module.program import EntryPoint, FunctionSignature

BASE_FORMAT, DEBUG_FORMAT = (1, 0), (1, 1)
"""(major, minor) of the module format that a file has without and with debug info."""

FORMAT_VERSION = DEBUG_FORMAT
"""The newest module format that this package writes. It reads this major up to this minor."""

ABI_VERSION = 1
"""The kernel C ABI that native executables follow (``thalweg.hal.kernel_abi.KERNEL_ABI_VERSION``)."""

KNOWN_FEATURES: frozenset[str] = frozenset({PARAMETERS_FEATURE})
"""Required features that this package understands."""

CHUNK_SIZE = 1 << 20
"""Bytes of a constant that one chunk digest covers."""

SEGMENT_LIMIT = 1 << 20
SEGMENT_KINDS = ("program", "executable", "constant", "debug")
_DIGEST_LENGTH = 64


@dataclass(frozen=True)
class SegmentRow:
    """One segment. ``offset`` counts from the manifest's end; ``chunks``: digests of a constant's chunks."""

    name: str
    kind: str
    offset: int
    size: int
    crc32: int
    sha256: str
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConstantRow:
    """One constant: an array in segment number ``segment``; equal constants share one."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    segment: int


@dataclass(frozen=True)
class ExecutableRow:
    """One executable of a variant."""

    name: str
    format: str
    segment: int
    entries: tuple[EntryPoint, ...]


@dataclass(frozen=True)
class VariantRow:
    """One variant; ``program`` is the segment of its functions, ``debug`` that of its debug info, if any
    (format 1.1).
    """

    name: str
    backend: str
    predicate: Mapping[str, Any]
    inline: bool
    program: int
    executables: tuple[ExecutableRow, ...]
    constants: tuple[str, ...]
    statistics: Mapping[str, Any]
    debug: int | None = None


@dataclass(frozen=True)
class Manifest:
    """The manifest as records."""

    name: str
    producer: str
    exports: tuple[FunctionSignature, ...]
    required_features: tuple[str, ...]
    variants: tuple[VariantRow, ...]
    constants: tuple[ConstantRow, ...]
    segments: tuple[SegmentRow, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """Constant's name → where it is kept outside (required feature ``parameters``)."""
    format: tuple[int, int] = FORMAT_VERSION
    abi: int = ABI_VERSION


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the canonical encoding."""
    return canonical_json(
        {
            "abi": manifest.abi,
            "constants": [
                {"name": row.name, "dtype": row.dtype, "shape": list(row.shape), "segment": row.segment}
                for row in manifest.constants
            ],
            "exports": [encode_signature(signature) for signature in manifest.exports],
            "format": list(manifest.format),
            "name": manifest.name,
            "producer": manifest.producer,
            "required_features": list(manifest.required_features),
            "segments": [{**vars(row), "chunks": list(row.chunks)} for row in manifest.segments],
            "variants": [_encode_variant(row) for row in manifest.variants],
            **({"parameters": _encode_parameters(manifest.parameters)} if manifest.parameters else {}),
        }
    )


def _encode_parameters(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "scope": parameter.scope,
            "parameter": parameter.name,
            "dtype": parameter.dtype,
            "shape": list(parameter.shape),
            "sha256": parameter.sha256,
        }
        for name, parameter in parameters.items()
    ]


def _encode_variant(row: VariantRow) -> dict[str, Any]:
    executables = [
        {
            "name": executable.name,
            "format": executable.format,
            "segment": executable.segment,
            "entries": [encode_entry(entry) for entry in executable.entries],
        }
        for executable in row.executables
    ]
    return {
        "name": row.name,
        "backend": row.backend,
        "predicate": dict(row.predicate),
        "inline": row.inline,
        "program": row.program,
        "executables": executables,
        "constants": list(row.constants),
        "statistics": dict(row.statistics),
        **({"debug": row.debug} if row.debug is not None else {}),
    }


def _dotted(version: Any) -> str:
    return ".".join(map(str, version)) if isinstance(version, (list, tuple)) else "unknown"


def check_versions(document: Any, where: str, doubt: str = "") -> None:
    """Refuse a manifest of another format or ABI, or that requires what is not known here.

    Reads the keys ``format``, ``abi`` and ``required_features`` only: every later format keeps their meaning.
    :param doubt: appended to the message, where the manifest is not known to be intact.
    :raises ModuleFormatError: naming both versions, or the features.
    """
    if type(document) is not dict:
        return
    version, reads = document.get("format"), _dotted(FORMAT_VERSION)
    if type(version) is list and len(version) == 2 and all(type(part) is int for part in version):
        found = _dotted(version)
        if tuple(version) > FORMAT_VERSION:
            raise ModuleFormatError(
                f"{where} has module format {found}, newer than {reads}, which this Thalweg reads;"
                f" upgrade thalweg or compile the model again{doubt}"
            )
        if version[0] != FORMAT_VERSION[0]:
            raise ModuleFormatError(
                f"{where} has module format {found}, older than {reads}, which this Thalweg reads;"
                f" compile the model again{doubt}"
            )
    abi = document.get("abi")
    if type(abi) is int and abi != ABI_VERSION:
        raise ModuleFormatError(
            f"{where} has kernel ABI {abi}; this Thalweg runs {ABI_VERSION}; compile the model again{doubt}"
        )
    features = document.get("required_features")
    if type(features) is list:
        unknown = sorted({str(feature)[:80] for feature in features} - KNOWN_FEATURES)
        if unknown:
            raise ModuleFormatError(
                f"{where} (module format {_dotted(version)}) requires {', '.join(unknown)}, which this"
                f" Thalweg (module format {reads}) does not have; upgrade thalweg{doubt}"
            )


def decode_manifest(field: Field) -> Manifest:
    """Decode a manifest whose versions were checked.

    :raises ModuleFormatError: naming the place.
    """
    keys = (
        "abi",
        "constants",
        "exports",
        "format",
        "name",
        "producer",
        "required_features",
        "segments",
        "variants",
    )
    has_parameters = type(field.value) is dict and "parameters" in field.value
    fields = field.members(*keys, *(("parameters",) if has_parameters else ()))
    abi, constants, exports, version, name, producer, features, segments, variants = fields[: len(keys)]
    rows = tuple(_decode_segment(item) for item in segments.items(SEGMENT_LIMIT))
    major, minor = version.integers(UINT32_LIMIT, 2, length=2)
    manifest = Manifest(
        name=name.text(),
        producer=producer.text(),
        exports=tuple(decode_signature(item) for item in exports.items(FUNCTION_LIMIT)),
        required_features=features.texts(1 << 10),
        variants=tuple(_decode_variant(item, rows) for item in variants.items(1 << 8)),
        constants=tuple(_decode_constant(item, rows) for item in constants.items(SEGMENT_LIMIT)),
        segments=rows,
        parameters=_decode_parameters(fields[-1]) if has_parameters else {},
        format=(major, minor),
        abi=abi.integer(UINT32_LIMIT),
    )
    if len({row.name for row in manifest.constants}) != len(manifest.constants):
        raise ModuleFormatError(f"{constants.where}: two constants have one name")
    return manifest


def _decode_digest(field: Field) -> str:
    text = field.text(_DIGEST_LENGTH)
    if len(text) != _DIGEST_LENGTH or any(digit not in "0123456789abcdef" for digit in text):
        field.fail("a SHA-256 digest")
    return text


def _decode_segment(field: Field) -> SegmentRow:
    name, kind, offset, size, crc32, sha256, chunks = field.members(
        "name", "kind", "offset", "size", "crc32", "sha256", "chunks"
    )
    row = SegmentRow(
        name=name.text(255),
        kind=kind.choice({kind: kind for kind in SEGMENT_KINDS}),
        offset=offset.integer(BYTES_LIMIT),
        size=size.integer(BYTES_LIMIT),
        crc32=crc32.integer(UINT32_LIMIT),
        sha256=_decode_digest(sha256),
        chunks=tuple(_decode_digest(item) for item in chunks.items(BYTES_LIMIT // CHUNK_SIZE)),
    )
    count = -(-row.size // CHUNK_SIZE) if row.kind == "constant" else 0
    if len(row.chunks) != count:
        chunks.fail(f"{count} digests, one for every {CHUNK_SIZE} bytes")
    return row


def _decode_reference(field: Field, rows: tuple[SegmentRow, ...], kind: str) -> int:
    index = field.integer(max(len(rows) - 1, 0))
    if index >= len(rows) or rows[index].kind != kind:
        field.fail(f"the number of a segment of kind {kind}")
    return index


def _decode_constant(field: Field, rows: tuple[SegmentRow, ...]) -> ConstantRow:
    name, dtype, shape, segment = field.members("name", "dtype", "shape", "segment")
    row = ConstantRow(
        name=name.text(),
        dtype=dtype.choice({name: name for name in DTYPES}),
        shape=decode_shape(shape),
        segment=_decode_reference(segment, rows, "constant"),
    )
    size = DTYPES[row.dtype].itemsize
    for extent in row.shape:
        size *= extent
    if size != rows[row.segment].size:
        segment.fail(f"a segment of {size} bytes, which has {rows[row.segment].size}")
    return row


def _decode_parameters(field: Field) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for item in field.items(SEGMENT_LIMIT):
        name, scope, parameter, dtype, shape, sha256 = item.members(
            "name", "scope", "parameter", "dtype", "shape", "sha256"
        )
        key = name.text()
        if key in parameters:
            name.fail("another name than that of the parameters before")
        parameters[key] = Parameter(
            scope.text(255),
            parameter.text(),
            dtype.choice({name: name for name in DTYPES}),
            decode_shape(shape),
            _decode_digest(sha256),
        )
    if not parameters:
        field.fail("at least one parameter")
    return parameters


def _decode_variant(field: Field, rows: tuple[SegmentRow, ...]) -> VariantRow:
    names = ("name", "backend", "predicate", "inline", "program", "executables", "constants", "statistics")
    has_debug = type(field.value) is dict and "debug" in field.value
    fields = field.members(*names, *(("debug",) if has_debug else ()))
    name, backend, predicate, inline, program, executables, constants, statistics = fields[: len(names)]
    return VariantRow(
        name=name.text(),
        backend=backend.text(),
        predicate=predicate.record(),
        inline=inline.boolean(),
        program=_decode_reference(program, rows, "program"),
        executables=tuple(_decode_executable(item, rows) for item in executables.items(1 << 16)),
        constants=constants.texts(SEGMENT_LIMIT),
        statistics=statistics.record(),
        debug=_decode_reference(fields[-1], rows, "debug") if has_debug else None,
    )


def _decode_executable(field: Field, rows: tuple[SegmentRow, ...]) -> ExecutableRow:
    name, format_name, segment, entries = field.members("name", "format", "segment", "entries")
    return ExecutableRow(
        name=name.text(),
        format=format_name.text(),
        segment=_decode_reference(segment, rows, "executable"),
        entries=tuple(decode_entry(item) for item in entries.items(ENTRY_LIMIT)),
    )
