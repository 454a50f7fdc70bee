"""The gguf format, versions 2 and 3, little-endian; read only.

Source: ``docs/gguf.md`` of ``ggml-org/ggml``. Tensors of quantized types are listed, and refused by the name
of their type when a module asks for one.
"""

from __future__ import annotations

import struct
from math import prod

from thalweg.dtypes import DTYPES
from thalweg.errors import ParameterError
from thalweg.parameters.cursor import Cursor
from thalweg.parameters.file import StoredTensor

MAGIC = b"GGUF"

_HEADER = struct.Struct("<4sI2Q")
_UINT32, _UINT64 = struct.Struct("<I"), struct.Struct("<Q")
_TENSOR_TAIL = struct.Struct("<IQ")
_SMALLEST_TENSOR, _SMALLEST_VALUE = 24, 13
_DIMENSION_LIMIT, _NESTING_LIMIT = 8, 4

_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Type of a metadata value → its bytes."""
_TYPE_UINT32, _TYPE_STRING, _TYPE_ARRAY = 4, 8, 9

_DTYPES = {0: "f32", 1: "f16", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "f64", 30: "bf16"}

_QUANTIZED = {
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
}


def read_gguf(data: memoryview, where: str) -> list[StoredTensor]:
    """Return the tensors of a file. A shape is in the order of NumPy: gguf's, reversed.

    :raises ParameterError: truncated, damaged, or of another version; says where.
    """
    cursor = Cursor(data, where)
    _, version, tensor_count, value_count = cursor.unpack(_HEADER, "the header")
    if version not in (2, 3):
        order = ", or a big-endian file" if version & 0xFFFF == 0 else ""
        raise ParameterError(
            f"{where} is gguf version {version}{order}; Thalweg reads 2 and 3, little-endian"
        )
    _check_count(cursor, tensor_count, _SMALLEST_TENSOR, "tensors")
    _check_count(cursor, value_count, _SMALLEST_VALUE, "metadata values")
    alignment = 32
    for _ in range(value_count):
        key = bytes(cursor.take(_length(cursor), "a metadata key"))
        (kind,) = cursor.unpack(_UINT32, "a metadata type")
        if key == b"general.alignment":
            if kind != _TYPE_UINT32:
                cursor.fail("general.alignment is not a 32-bit number")
            (alignment,) = cursor.unpack(_UINT32, "general.alignment")
        else:
            _skip_value(cursor, kind, 0)
    if not 1 <= alignment <= 1 << 20:
        cursor.fail(f"general.alignment is {alignment}")
    found = [_tensor(cursor, alignment) for _ in range(tensor_count)]
    start = -(-cursor.position // alignment) * alignment
    return [
        StoredTensor(name, dtype, shape, start + offset, size, refusal=refusal)
        for name, dtype, shape, offset, size, refusal in found
    ]


def _check_count(cursor: Cursor, count: int, smallest: int, what: str) -> None:
    if count * smallest > len(cursor.data) - cursor.position:
        cursor.fail(f"{count} {what} do not fit a file of {len(cursor.data)} bytes")


def _length(cursor: Cursor) -> int:
    return cursor.unpack(_UINT64, "a length")[0]


def _skip_value(cursor: Cursor, kind: int, depth: int) -> None:
    if kind in _SCALAR_BYTES:
        cursor.take(_SCALAR_BYTES[kind], "a metadata value")
    elif kind == _TYPE_STRING:
        cursor.take(_length(cursor), "a metadata string")
    elif kind == _TYPE_ARRAY and depth < _NESTING_LIMIT:
        (inner,) = cursor.unpack(_UINT32, "an array's type")
        count = _length(cursor)
        if inner in _SCALAR_BYTES:
            cursor.take(count * _SCALAR_BYTES[inner], "a metadata array")
            return
        _check_count(cursor, count, 8, "elements of a metadata array")
        for _ in range(count):
            _skip_value(cursor, inner, depth + 1)
    else:
        cursor.fail(f"a metadata value of type {kind}")


def _tensor(cursor: Cursor, alignment: int) -> tuple[str, str | None, tuple[int, ...], int, int, str]:
    name = cursor.text(_length(cursor), "a tensor's name")
    (rank,) = cursor.unpack(_UINT32, "a tensor's rank")
    if rank > _DIMENSION_LIMIT:
        cursor.fail(f"tensor {name!r} has {rank} dimensions; the limit is {_DIMENSION_LIMIT}")
    extents = cursor.unpack(struct.Struct(f"<{rank}Q"), f"the shape of tensor {name!r}")
    kind, offset = cursor.unpack(_TENSOR_TAIL, f"the row of tensor {name!r}")
    if offset % alignment:
        cursor.fail(f"tensor {name!r} starts at {offset}, which is no multiple of {alignment}")
    shape = tuple(reversed(extents))
    dtype = _DTYPES.get(kind)
    if dtype is not None:
        return name, dtype, shape, offset, prod(shape) * DTYPES[dtype].itemsize, ""
    if kind in _QUANTIZED:
        refusal = f"has the quantized type {_QUANTIZED[kind]}, which Thalweg does not read"
    else:
        refusal = f"has the gguf type {kind}, which Thalweg does not know"
    return name, None, shape, offset, 0, refusal
