"""``thalweg inspect``: signatures, variants, sizes, the arena, the phases' times."""

from __future__ import annotations

import json
import shutil

import numpy as np
from thalweg.module.file import write_module
from thalweg.module.module import ExecutableRecord, Module, Variant
from thalweg.module.program import EntryPoint, FunctionSignature, HostFunction, TensorSignature


def test_json(thalweg, compiled):
    description = json.loads(thalweg("inspect", compiled, "--json").out)
    assert description["functions"] == [
        {
            "name": "main",
            "inputs": [{"name": "x", "shape": [4], "dtype": "f32"}],
            "outputs": [{"name": "y", "shape": [4], "dtype": "f32"}],
            "limits": [],
        }
    ]
    (variant,) = description["variants"]
    assert (variant["backend"], variant["inline"]) == ("doubling", True)
    assert variant["executables"][0]["format"] == "test-doubling-1"
    assert variant["executables"][0]["bytes"] == 1
    assert {"transient_bytes", "intermediate_bytes"} <= set(variant["statistics"])
    assert description["file_bytes"] == compiled.stat().st_size
    assert description["phase_seconds"]["input"] > 0


def test_text(thalweg, compiled):
    text = thalweg("inspect", compiled).out
    assert "    input  x: 4xf32\n    output y: 4xf32\n" in text
    assert "variant 'doubling' by doubling, inline\n" in text
    assert "  arena: 0 bytes for intermediates of 0 bytes in sum\n" in text
    assert "executable-targets" in text.partition("phases: ")[2]


def test_a_module_from_elsewhere_has_no_times(thalweg, compiled, tmp_path):
    shutil.rmtree(tmp_path / "cache")
    assert "phases: no times here" in thalweg("inspect", compiled).out
    assert json.loads(thalweg("inspect", compiled, "--json").out)["phase_seconds"] is None


def test_arena_beside_the_sum_of_intermediates(thalweg, tmp_path):
    tensors = (TensorSignature("x", (2, 3), "i64"),)
    variant = Variant(
        "v",
        "b",
        {"executable_format": "f-1", "features": ["avx2", "fma"]},
        (ExecutableRecord("e", "f-1", bytes(2048), (EntryPoint("k", 0),)),),
        (HostFunction("main", (), ()),),
        ("w",),
        statistics={"transient_bytes": 1 << 20, "intermediate_bytes": 3 << 20, "dispatches": 7},
    )
    module = Module(
        "m", "p", (FunctionSignature("main", tensors, ()),), (variant,), {"w": np.zeros(512, np.float32)}
    )
    write_module(module, tmp_path / "m.twm")
    text = thalweg("inspect", tmp_path / "m.twm").out
    assert "constants: 1, 2.0 KiB (2,048 bytes)\n" in text
    assert (
        "  arena: 1.0 MiB (1,048,576 bytes) for intermediates of 3.0 MiB (3,145,728 bytes) in sum\n" in text
    )
    assert "  needs features: avx2, fma\n" in text
    assert "  dispatches: 7\n" in text
    assert "  executable 'e': f-1, 2.0 KiB (2,048 bytes), 1 kernels\n" in text


def test_damage_is_one_line(thalweg, compiled):
    compiled.write_bytes(compiled.read_bytes()[:-7])
    outcome = thalweg("inspect", compiled)
    assert outcome.status == 1
    assert outcome.err.startswith(f"thalweg: error: {compiled} is ")
    assert outcome.err.count("\n") == 1
