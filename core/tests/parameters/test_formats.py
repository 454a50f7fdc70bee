"""Reading and writing each format."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from thalweg.dtypes import dtype_name
from thalweg.errors import InvalidArgument, ParameterError, ResourceExhausted
from thalweg.parameters import open_parameter_file, write_parameters

from . import archives


def test_tensors_come_back_as_they_were_written(stored):
    path, expected = stored
    file = open_parameter_file(path)
    assert file.format == path.suffix[1:]
    assert set(file.tensors) - {"blocks"} == set(expected)
    for name, array in expected.items():
        tensor = file.tensors[name]
        content = file.content(tensor)
        assert content.tobytes() == array.tobytes(), name
        assert not array.size or content.ctypes.data % 64 == 0, name
        assert not content.flags.writeable, name
        if path.suffix != ".irpa":
            assert (tensor.dtype, tensor.shape) == (dtype_name(array.dtype), array.shape), name
        else:
            assert (tensor.dtype, tensor.shape) == (None, None)


def test_an_aligned_tensor_is_mapped_and_another_is_copied_once(stored):
    path, _ = stored
    file = open_parameter_file(path)
    mapped = copied = 0
    for tensor in file.tensors.values():
        if not tensor.size:
            continue
        first, second = file.content(tensor), file.content(tensor)
        assert first.ctypes.data == second.ctypes.data, "one copy at most"
        if tensor.offset % 64 == 0:
            mapped += 1
            assert first.ctypes.data == file.mapped(tensor).ctypes.data
        else:
            copied += 1
    assert mapped >= 1
    assert copied == 0 if path.suffix == ".irpa" else copied > 1


@pytest.mark.parametrize("suffix", ["safetensors", "irpa"])
def test_large_tensors_are_aligned_in_what_is_written(tensors, tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    write_parameters(tensors, path)
    weight = open_parameter_file(path).tensors["weight"]
    assert weight.offset % 64 == 0


@pytest.mark.parametrize("suffix", ["safetensors", "irpa"])
def test_the_same_tensors_give_the_same_bytes_in_any_order(tensors, tmp_path, suffix):
    one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    write_parameters(tensors, one)
    write_parameters(dict(reversed(tensors.items())), two)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("suffix", ["safetensors", "irpa"])
def test_a_file_without_tensors(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    write_parameters({}, path)
    assert not open_parameter_file(path).tensors


def test_another_suffix_is_not_written(tmp_path):
    with pytest.raises(InvalidArgument, match=r"Thalweg writes \.safetensors and \.irpa files"):
        write_parameters({}, tmp_path / "t.gguf")


def test_an_existing_file_keeps_its_content_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "t.irpa"
    path.write_bytes(b"before")
    monkeypatch.setattr("thalweg.parameters.writing.os.replace", _no_space)
    with pytest.raises(InvalidArgument, match=r"cannot write .*t\.irpa: No space left on device"):
        write_parameters({}, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.irpa"]
    assert path.read_bytes() == b"before"


def _no_space(*_):
    raise OSError(28, "No space left on device")


def test_two_processes_share_the_pages_of_a_file(tmp_path):
    """Read-only shared mappings of one inode: the kernel keeps one page for all of them."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("/proc/self/maps tells how a file is mapped")
    path = tmp_path / "t.irpa"
    write_parameters({"w": np.ones(1 << 16, np.float32)}, path)
    script = (
        "import sys; from thalweg.parameters import open_parameter_file;"
        "f = open_parameter_file(sys.argv[1]); f.content(f.tensors['w']).sum();"
        "print([l.split()[1:2] + l.split()[4:5] for l in open('/proc/self/maps') if sys.argv[1] in l])"
    )
    command = [sys.executable, "-c", script, str(path)]
    outputs = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert outputs == {f"[['r--s', '{os.stat(path).st_ino}']]\n"}


# safetensors


def test_the_header_is_padded_and_the_data_has_no_gaps(tensors, tmp_path):
    path = tmp_path / "t.safetensors"
    write_parameters(tensors, path)
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    assert (8 + size) % 64 == 0 and data[8:9] == b"{"
    spans = sorted(row["data_offsets"] for name, row in header.items() if name != "__metadata__")
    assert spans[0][0] == 0 and spans[-1][1] == len(data) - 8 - size
    assert all(before[1] == after[0] for before, after in pairwise(spans))


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


ROW = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a parameter file: it is empty"),
        (b"hello, this is text", "is neither safetensors nor gguf nor irpa"),
        (struct.pack("<Q", 1 << 60) + b"{}", "is neither safetensors nor gguf nor irpa"),
        (struct.pack("<Q", 50) + b"{}", "the header takes 50 bytes at byte 8; the file has 10 bytes"),
        (safetensors({"w": ROW}), r"tensors end at byte \d+; the file has \d+ bytes"),
        (safetensors({"w": ROW}, bytes(9)), "tensors end at byte"),
        (safetensors({"w": {**ROW, "data_offsets": [4, 12]}}, bytes(12)), "starts at byte"),
        (safetensors({"w": ROW, "v": ROW}, bytes(8)), "starts at byte"),
        (safetensors({"w": {**ROW, "shape": [3]}}, bytes(8)), r"8 bytes; F32 of shape \[3\] takes 12"),
        (safetensors({"w": {**ROW, "shape": [-2]}}, bytes(8)), "no valid shape"),
        (safetensors({"w": {**ROW, "shape": [2.0]}}, bytes(8)), "no valid shape"),
        (safetensors({"w": {**ROW, "data_offsets": [8, 0]}}, bytes(8)), "no valid data_offsets"),
        (safetensors({"w": {**ROW, "dtype": 3}}, bytes(8)), "no valid dtype"),
        (safetensors({"w": {**ROW, "more": 3}}, bytes(8)), "the keys dtype, shape, data_offsets"),
        (safetensors({"w": 3}), "the keys dtype, shape, data_offsets"),
        (struct.pack("<Q", 15) + b'{"a": 1,"a": 2}', "one key twice"),
        (struct.pack("<Q", 3) + b"{x}", "not valid JSON"),
        (struct.pack("<Q", 200000) + b'{"a":' * 40000, "not valid JSON"),
    ],
)
def test_a_damaged_safetensors_file_is_refused(opened, data, message):
    with pytest.raises(ParameterError, match=message) as caught:
        opened(data)
    assert "\n" not in str(caught.value)


def test_a_type_of_another_world_is_listed_and_refused_by_name(opened):
    file = opened(safetensors({"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)))
    assert file.tensors["w"].refusal == "has the type 'F8_E4M3', which Thalweg does not read"


# gguf


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [None, 64, 8])
def test_gguf_alignment_and_versions(opened, version, alignment):
    arrays = {"a": np.arange(3, dtype=np.float32), "b": np.arange(12, dtype=np.float16).reshape(2, 3, 2)}
    file = opened(archives.gguf(arrays, version=version, alignment=alignment))
    assert file.tensors["b"].shape == (2, 3, 2)
    for name, array in arrays.items():
        assert file.content(file.tensors[name]).tobytes() == array.tobytes()


def test_a_quantized_tensor_is_listed_and_refused_by_name(opened):
    file = opened(archives.gguf({}, quantized=["blocks"]))
    assert file.tensors["blocks"].refusal == "has the quantized type Q4_K, which Thalweg does not read"


def gguf_header(tensors: int, values: int, rest: bytes = b"", version: int = 3) -> bytes:
    return struct.pack("<4sI2Q", b"GGUF", version, tensors, values) + rest


VALUE = archives.gguf_text("k")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gguf_header(0, 0, version=1), "gguf version 1; Thalweg reads 2 and 3"),
        (gguf_header(0, 0, version=3 << 24), "a big-endian file"),
        (b"GGUF", "the header takes 24 bytes"),
        (gguf_header(1 << 60, 0), "tensors do not fit a file of 24 bytes"),
        (gguf_header(0, 1 << 60), "metadata values do not fit"),
        (gguf_header(0, 1, struct.pack("<Q", 1 << 62) + bytes(20)), "a metadata key takes"),
        (gguf_header(0, 1, VALUE + struct.pack("<I", 99) + bytes(20)), "a metadata value of type 99"),
        (gguf_header(0, 1, VALUE + struct.pack("<2IQ", 9, 8, 1 << 60)), "elements of a metadata array"),
        (gguf_header(0, 1, VALUE + struct.pack("<2IQ", 9, 6, 1 << 62)), "a metadata array takes"),
        (gguf_header(0, 1, VALUE + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9), "of type 9"),
        (
            gguf_header(0, 1, archives.gguf_text("general.alignment") + struct.pack("<2I", 4, 0)),
            "general.alignment is 0",
        ),
        (
            gguf_header(0, 1, archives.gguf_text("general.alignment") + struct.pack("<IQ", 10, 32)),
            "general.alignment is not a 32-bit number",
        ),
        (gguf_header(1, 0, archives.gguf_row("w", (1,) * 9, 0, 0)), "9 dimensions; the limit is 8"),
        (gguf_header(1, 0, archives.gguf_row("w", (4,), 0, 3)), "no multiple of 32"),
        (gguf_header(1, 0, archives.gguf_row("w", (1 << 62, 1 << 62), 0, 0)), "tensor 'w' takes"),
        (gguf_header(1, 0, archives.gguf_row("w" * 5000, (4,), 0, 0)), "a tensor's name of 5000 bytes"),
        (gguf_header(1, 0, struct.pack("<Q", 2) + b"\xff\xff" + bytes(40)), "is not UTF-8"),
        (
            gguf_header(2, 0, archives.gguf_row("w", (0,), 0, 0) * 2).ljust(256, b"\0"),
            "two tensors have one name",
        ),
    ],
)
def test_a_damaged_gguf_file_is_refused(opened, data, message):
    with pytest.raises(ParameterError, match=message) as caught:
        opened(data)
    assert "\n" not in str(caught.value)


# irpa


def test_splats_skipped_entries_and_linked_archives(opened):
    entries = [
        archives.irpa_splat((0, 1), 12, struct.pack("<f", 1.5)),
        archives.irpa_entry(0, (0, 1)),
        archives.irpa_data((1, 1), 0, 8),
        archives.irpa_entry(3, (2, 3), bytes(32)),
        archives.irpa_entry(77, (0, 5)),
    ]
    second = archives.irpa([archives.irpa_data((0, 4), 16, 3)], b"last", bytes(range(32)))
    first = archives.irpa(entries, b"abext", b"12345678")
    size = -(-len(first) // 64) * 64
    first = archives.irpa(entries, b"abext", b"12345678", following=size)
    file = opened(first.ljust(size, b"\0") + second)
    assert list(file.tensors) == ["a", "b", "ext", "abext", "last"]
    assert file.content(file.tensors["a"]).view(np.float32).tolist() == [1.5, 1.5, 1.5]
    assert file.content(file.tensors["a"]).ctypes.data % 64 == 0
    assert file.content(file.tensors["b"]).tobytes() == b"12345678"
    assert file.content(file.tensors["last"]).tolist() == [16, 17, 18]
    assert file.tensors["ext"].refusal == "lies in another file, which Thalweg does not read"
    assert "entry type 77" in file.tensors["abext"].refusal


def test_a_splat_beyond_all_memory_is_refused_when_it_is_read(opened):
    data = archives.irpa([archives.irpa_splat((0, 1), 1 << 62, b"1234")], b"w", b"")
    file = opened(data)
    with pytest.raises(ResourceExhausted, match=r"no memory for tensor 'w' of .*, 4611686018427387904 bytes"):
        file.content(file.tensors["w"])


def changed(data: bytes, at: int, value: int) -> bytes:
    """Return ``data`` with the 64-bit number at ``at`` replaced."""
    return data[:at] + struct.pack("<Q", value) + data[at + 8 :]


ONE = archives.irpa([archives.irpa_data((0, 1), 0, 8)], b"w", bytes(8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"IRPA", "an archive's header takes 32 bytes"),
        (archives.irpa([], b"", b"", version=1), "irpa version 1.0; Thalweg reads 0"),
        (changed(ONE, 8, 3), "an archive's header of 3 bytes"),
        (changed(ONE, 16, 1 << 62), "an archive's header takes"),
        (changed(ONE, 16, 16), "no archive at byte 16"),
        (changed(ONE, 32, 1 << 60), "entries do not fit their table"),
        (changed(ONE, 40, 1 << 63), "its entries take"),
        (changed(ONE, 72, 1 << 63), "its names take|its data take"),
        (changed(ONE, 88, 0)[:90], "takes|take"),
        (changed(ONE, 96, 1), "an entry of 1 bytes"),
        (changed(ONE, 96, 1 << 60), "an entry of"),
        (changed(ONE, 96 + 20, 7), "a name of 1 bytes at 7 of 1 bytes of names"),
        (changed(ONE, 96 + 60, 1), "parameter 'w' takes 8 bytes at 1 of 8 bytes of data"),
        (archives.irpa([archives.irpa_splat((0, 1), 7, b"12")], b"w", b""), "repeats 2 bytes over 7"),
        (archives.irpa([archives.irpa_splat((0, 1), 6, b"123")], b"w", b""), "repeats 3 bytes over 6"),
        (archives.irpa([archives.irpa_data((0, 1), 0, 0)] * 2, b"w", b""), "two tensors have one name"),
    ],
)
def test_a_damaged_irpa_file_is_refused(opened, data, message):
    with pytest.raises(ParameterError, match=message) as caught:
        opened(data)
    assert "\n" not in str(caught.value)


def test_archives_that_go_round_in_a_chain_end(opened):
    """A chain only goes forward; one of many small steps is refused too."""
    empty = archives.irpa([], b"", b"", following=128)
    with pytest.raises(ParameterError, match="more than 4096 archives"):
        opened(empty.ljust(128, b"\0") * 4097)
