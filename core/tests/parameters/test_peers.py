"""The formats' own libraries read what is written here, and are read here; each is optional."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from thalweg.parameters import open_parameter_file, write_parameters

from . import archives


def test_the_safetensors_library_reads_what_is_written(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    tensors = {name: array for name, array in archives.tensors().items() if array.dtype != ml_dtypes.bfloat16}
    path = tmp_path / "t.safetensors"
    write_parameters(tensors, path)
    found = library.load_file(path)
    assert set(found) == set(tensors)
    for name, array in tensors.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_what_the_safetensors_library_writes_is_read(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    tensors = {name: array for name, array in archives.tensors().items() if array.dtype != ml_dtypes.bfloat16}
    path = tmp_path / "t.safetensors"
    library.save_file(tensors, path, {"format": "pt"})
    file = open_parameter_file(path)
    for name, array in tensors.items():
        assert file.tensors[name].shape == array.shape
        assert file.content(file.tensors[name]).tobytes() == array.tobytes()


def test_what_the_gguf_library_writes_is_read(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "t.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "bb"])
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    writer.add_tensor("weight", weight)
    writer.add_tensor("half", np.arange(5, dtype=np.float16))
    blocks = gguf.quants.quantize(np.ones((2, 64), np.float32), gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("blocks", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_parameter_file(path)
    assert (file.tensors["weight"].dtype, file.tensors["weight"].shape) == ("f32", (3, 4))
    assert file.content(file.tensors["weight"]).tobytes() == weight.tobytes()
    assert file.content(file.tensors["half"]).view(np.float16).tolist() == [0, 1, 2, 3, 4]
    assert "the quantized type Q4_0" in file.tensors["blocks"].refusal


def test_iree_lists_what_is_written_and_what_it_writes_is_read(tmp_path):
    runtime = pytest.importorskip("iree.runtime")
    tensors = archives.tensors()
    del tensors["größe \n'\""]  # its listing escapes such names
    path = tmp_path / "t.irpa"
    write_parameters(tensors, path)
    index = runtime.ParameterIndex()
    index.load(str(path))
    assert {name: entry.length for name, entry in index.items()} == {
        name: array.nbytes for name, array in tensors.items()
    }
    theirs = runtime.ParameterIndex()
    theirs.add_buffer("x", np.arange(9, dtype=np.float32))
    theirs.add_splat("s", np.float32(2.5), 400)
    theirs.create_archive_file(str(tmp_path / "theirs.irpa"))
    file = open_parameter_file(tmp_path / "theirs.irpa")
    assert file.content(file.tensors["x"]).view(np.float32).tolist() == list(range(9))
    assert set(file.content(file.tensors["s"]).view(np.float32).tolist()) == {2.5}
    assert file.tensors["s"].size == 400
