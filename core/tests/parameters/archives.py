"""Parameter files made by hand, record by record, as the formats' descriptions give them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import ml_dtypes
import numpy as np

GGUF_TYPES = {"float32": 0, "float16": 1, "int8": 24, "int16": 25, "int32": 26, "int64": 27, "float64": 28}
Q4_K = 12


def tensors() -> dict[str, np.ndarray]:
    """Return tensors of every element type, some empty or of rank 0, some that misalign the next."""
    generator = np.random.default_rng(3)
    names = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float64")
    return {
        **{name: generator.integers(0, 100, (3, 7)).astype(name) for name in names},
        "weight": generator.standard_normal((64, 48)).astype(np.float32),
        "bias": generator.standard_normal(5).astype(np.float32),
        "brain": generator.standard_normal((4, 4)).astype(ml_dtypes.bfloat16),
        "mask": np.array([True, False, True]),
        "scalar": np.array(2.5),
        "nothing": np.zeros((0, 3), np.int64),
        "größe \n'\"": np.arange(9, dtype=np.int16),
    }


def gguf_text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_row(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    extents = tuple(reversed(shape))
    return gguf_text(name) + struct.pack(f"<I{len(extents)}QIQ", len(extents), *extents, kind, offset)


def gguf(
    arrays: Mapping[str, np.ndarray],
    *,
    version: int = 3,
    alignment: int | None = None,
    quantized: Iterable[str] = (),
) -> bytes:
    """Return a gguf file with metadata of every kind, ``arrays``, and ``quantized`` tensors of type Q4_K."""
    step = alignment or 32
    values = [
        gguf_text("general.name") + struct.pack("<I", 8) + gguf_text("tiny"),
        gguf_text("flag") + struct.pack("<I?", 7, True),
        gguf_text("big") + struct.pack("<Id", 12, 1.5),
        gguf_text("tokens") + struct.pack("<2IQ", 9, 8, 2) + gguf_text("a") + gguf_text("ßé"),
        gguf_text("scores") + struct.pack("<2IQ3f", 9, 6, 3, 1, 2, 3),
    ]
    if alignment is not None:
        values.append(gguf_text("general.alignment") + struct.pack("<2I", 4, alignment))
    rows, blobs, offset = [], [], 0
    for name, array in arrays.items():
        kind = 30 if array.dtype == ml_dtypes.bfloat16 else GGUF_TYPES[str(array.dtype)]
        rows.append(gguf_row(name, array.shape, kind, offset))
        blobs.append(array.tobytes().ljust(-(-array.nbytes // step) * step, b"\0"))
        offset += len(blobs[-1])
    for name in quantized:
        rows.append(gguf_row(name, (1, 256), Q4_K, offset))
        blobs.append(bytes(160))
        offset += 160
    head = struct.pack("<4sI2Q", b"GGUF", version, len(rows), len(values)) + b"".join(values + rows)
    return head.ljust(-(-len(head) // step) * step, b"\0") + b"".join(blobs)


def irpa_entry(kind: int, name: tuple[int, int], rest: bytes = b"") -> bytes:
    """Return an entry of the table, padded; ``name`` is (offset, length)."""
    entry = struct.pack("<QIQ5Q", 60 + len(rest), kind, 0, *name, 0, 0, 64) + rest
    return entry.ljust(-(-len(entry) // 16) * 16, b"\0")


def irpa_splat(name: tuple[int, int], length: int, pattern: bytes) -> bytes:
    """Return the entry of a parameter that repeats ``pattern``."""
    return irpa_entry(1, name, struct.pack("<Q16sB", length, pattern, len(pattern)))


def irpa_data(name: tuple[int, int], offset: int, length: int) -> bytes:
    """Return the entry of a parameter with bytes in the file."""
    return irpa_entry(2, name, struct.pack("<2Q", offset, length))


def irpa(entries: list[bytes], names: bytes, data: bytes, *, following: int = 0, version: int = 0) -> bytes:
    """Return one archive; ``following`` is where the next one stands, from this one's start, or 0."""
    table = b"".join(entries)
    start = 96 + len(table)
    storage = -(-(start + len(names)) // 64) * 64
    head = struct.pack("<4s2H3Q", b"IRPA", version, 0, 88, following, 0)
    head += struct.pack("<7Q", len(entries), 96, len(table), start, len(names), storage, len(data))
    return (head.ljust(96, b"\0") + table + names).ljust(storage, b"\0") + data
