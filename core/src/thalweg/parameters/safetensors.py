"""The safetensors format: a 64-bit header size, a JSON header, then the tensors' bytes without gaps.

Source: the format's description in the README of ``huggingface/safetensors``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import Any, BinaryIO

import numpy as np

from thalweg.dtypes import DTYPES, dtype_name
from thalweg.errors import ParameterError
from thalweg.parameters.cursor import NAME_LIMIT, Cursor
from thalweg.parameters.file import ALIGNMENT, StoredTensor

HEADER_LIMIT = 100_000_000
"""The most bytes of a header, as in the reference implementation."""

_SIZE = struct.Struct("<Q")
_RANK_LIMIT, _COUNT_LIMIT = 32, 1 << 48
_FORMAT = "thalweg-parameters-1"

_DTYPES = {
    "BOOL": "i1",
    "I8": "i8",
    "I16": "i16",
    "I32": "i32",
    "I64": "i64",
    "U8": "ui8",
    "U16": "ui16",
    "U32": "ui32",
    "U64": "ui64",
    "F16": "f16",
    "BF16": "bf16",
    "F32": "f32",
    "F64": "f64",
}
_NAMES = {ours: theirs for theirs, ours in _DTYPES.items()}


def is_safetensors(data: memoryview) -> bool:
    """Return whether the bytes start as a safetensors file does."""
    return len(data) > 8 and data[8] == ord("{") and _SIZE.unpack(data[:8])[0] <= HEADER_LIMIT


def read_safetensors(data: memoryview, where: str) -> list[StoredTensor]:
    """Return the tensors of a file.

    :raises ParameterError: truncated or damaged; says where.
    """
    cursor = Cursor(data, where)
    (size,) = cursor.unpack(_SIZE, "the header's size")
    if size > HEADER_LIMIT:
        cursor.fail(f"a header of {size} bytes; the limit is {HEADER_LIMIT}")
    header = _parse(bytes(cursor.take(size, "the header")), cursor)
    start = cursor.position
    tensors = [_tensor(name, row, start, cursor) for name, row in header.items() if name != "__metadata__"]
    end = start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset != end:
            cursor.fail(
                f"tensor {tensor.name!r} starts at byte {tensor.offset}, the one before ends at {end}"
            )
        end += tensor.size
    if end != len(data):
        cursor.fail(f"its tensors end at byte {end}; the file has {len(data)} bytes")
    return tensors


def _parse(text: bytes, cursor: Cursor) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        cursor.fail(f"its header is not valid JSON: {error}")
    if type(header) is not dict:
        cursor.fail("its header is not a JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object has one key twice")
    return values


def _integers(value: Any, limit: int) -> bool:
    return type(value) is list and all(type(item) is int and 0 <= item <= limit for item in value)


def _tensor(name: str, row: Any, start: int, cursor: Cursor) -> StoredTensor:
    if len(name) > NAME_LIMIT:
        cursor.fail(f"a tensor's name has {len(name)} characters; the limit is {NAME_LIMIT}")
    if type(row) is not dict or sorted(row) != ["data_offsets", "dtype", "shape"]:
        cursor.fail(f"tensor {name!r} is not an object with the keys dtype, shape, data_offsets")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not _integers(shape, _COUNT_LIMIT) or len(shape) > _RANK_LIMIT:
        cursor.fail(f"tensor {name!r} has no valid shape")
    if not _integers(offsets, _COUNT_LIMIT) or len(offsets) != 2 or offsets[0] > offsets[1]:
        cursor.fail(f"tensor {name!r} has no valid data_offsets")
    if type(dtype) is not str:
        cursor.fail(f"tensor {name!r} has no valid dtype")
    offset, size = start + offsets[0], offsets[1] - offsets[0]
    ours = _DTYPES.get(dtype)
    if ours is None:
        refusal = f"has the type {dtype[:40]!r}, which Thalweg does not read"
        return StoredTensor(name, None, tuple(shape), offset, size, refusal=refusal)
    expected = prod(shape) * DTYPES[ours].itemsize
    if size != expected:
        cursor.fail(f"tensor {name!r} has {size} bytes; {dtype} of shape {shape} takes {expected}")
    return StoredTensor(name, ours, tuple(shape), offset, size)


def write_safetensors(tensors: Mapping[str, np.ndarray], file: BinaryIO) -> None:
    """Write a file: a function of ``tensors`` alone, whatever their order.

    The format lets no gap between tensors: those whose size is a multiple of 64 bytes come first, which
    aligns them; of the others, at the end, all but the first are copied when they are read.
    """
    names = sorted(tensors, key=lambda name: (tensors[name].nbytes % ALIGNMENT != 0, name))
    header: dict[str, Any] = {"__metadata__": {"format": _FORMAT}}
    offset = 0
    for name in names:
        array = tensors[name]
        if len(name) > NAME_LIMIT or name == "__metadata__":
            raise ParameterError(f"a parameter cannot be called {name[:40]!r} in a safetensors file")
        header[name] = {
            "dtype": _NAMES[dtype_name(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > HEADER_LIMIT:
        raise ParameterError(f"{len(tensors)} tensors do not fit a safetensors header; write .irpa")
    file.write(_SIZE.pack(len(text)) + text)
    for name in names:
        file.write(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
