"""``--parameters`` and ``--parameters-out``, on the command line and in Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import thalweg as tw
from thalweg.errors import InvalidArgument, ParameterError
from thalweg.module.file import module_bytes, read_module
from thalweg.parameters import open_parameter_file, write_parameters

WEIGHT = np.arange(512, dtype=np.float32)
MLIR = """
func.func @main() -> (tensor<512xf32> {tw.name = "y"}) {
  %weight = arith.constant dense<[VALUES]> : tensor<512xf32>
  func.return %weight : tensor<512xf32>
}
""".replace("VALUES", ", ".join(f"{value:.1f}" for value in WEIGHT))
EXPECTED = "--expected-output=512xf32=" + " ".join(map(str, WEIGHT))


@pytest.fixture
def weights(plugins, tmp_path: Path) -> Path:
    """A model, as MLIR: ``main()`` returns 512 numbers."""
    plugins("doubling_plugin")
    path = tmp_path / "weights.mlir"
    path.write_text(MLIR)
    return path


@pytest.fixture
def lean(thalweg, weights: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(module, parameter file) of the model."""
    paths = tmp_path / "m.twm", tmp_path / "w.safetensors"
    outcome = thalweg("compile", weights, "-o", paths[0], f"--parameters-out={paths[1]}")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    return paths


def test_compile_leaves_the_constants_outside_and_run_finds_them(thalweg, lean):
    module, parameters = lean
    assert not read_module(module).constants
    (tensor,) = open_parameter_file(parameters).tensors.values()
    assert (tensor.dtype, tensor.shape) == ("f32", (512,))
    outcome = thalweg("run", module, f"--parameters={parameters}", "--verify=full", EXPECTED)
    assert outcome.status == 0 and "[SUCCESS]" in outcome.out, outcome
    benchmark = thalweg("benchmark", module, "--parameters", parameters, "--json", "--repetitions=2")
    assert json.loads(benchmark.out)["runs"] == 2


def test_without_them_run_says_what_to_do(thalweg, lean):
    outcome = thalweg("run", lean[0])
    assert outcome.status == 1 and outcome.err.count("\n") == 1
    assert "module 'weights' needs parameter 'f32.512." in outcome.err
    assert outcome.err.endswith("give --parameters=FILE, or thalweg.load(..., parameters='FILE')\n")


def test_scopes(thalweg, weights, tmp_path):
    module, parameters = tmp_path / "m.twm", tmp_path / "w.irpa"
    thalweg("compile", weights, "-o", module, f"--parameters-out=enc={parameters}")
    assert thalweg("run", module, f"--parameters=enc={parameters}", EXPECTED).status == 0
    other = tmp_path / "other.irpa"
    write_parameters({}, other)
    words = ("run", module, f"--parameters=dec={other}", f"--parameters=enc={parameters}", EXPECTED)
    assert thalweg(*words).status == 0
    assert "of scope 'enc'" in thalweg("run", module, f"--parameters={parameters}").err


def test_the_same_compilation_gives_the_same_files(thalweg, weights, lean, tmp_path):
    for cache in ((), ("--no-cache",)):
        module, parameters = tmp_path / "again.twm", tmp_path / "again.safetensors"
        thalweg("compile", weights, "-o", module, f"--parameters-out={parameters}", *cache)
        assert module.read_bytes() == lean[0].read_bytes()
        assert parameters.read_bytes() == lean[1].read_bytes()


def test_a_compilation_refers_to_what_a_file_holds_already(thalweg, weights, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    write_parameters({"model.weight": WEIGHT, "model.bias": WEIGHT[:3]}, checkpoint)
    module, rest = tmp_path / "m.twm", tmp_path / "rest.irpa"
    words = ("compile", weights, "-o", module, f"--parameters=ckpt={checkpoint}")
    assert thalweg(*words).status == 0
    (parameter,) = read_module(module).parameters.values()
    assert (parameter.scope, parameter.name) == ("ckpt", "model.weight")
    assert thalweg(*words, f"--parameters-out={rest}").status == 0
    assert not open_parameter_file(rest).tensors, "nothing is written twice"
    assert thalweg("run", module, f"--parameters=ckpt={checkpoint}", EXPECTED).status == 0


def test_inspect_lists_and_checks_them(thalweg, lean):
    module, parameters = lean
    text = thalweg("inspect", module).out
    assert "parameters outside, default scope: 1, 2.0 KiB (2,048 bytes)\n" in text
    assert "required features: parameters\n" in text and "constants: 0, 0 bytes\n" in text
    assert "phases: no times here" not in text
    (parameter,) = json.loads(thalweg("inspect", module, "--json").out)["parameters"]
    assert (parameter["scope"], parameter["dtype"], parameter["shape"]) == ("", "f32", [512])
    assert thalweg("inspect", module, f"--parameters={parameters}", "--verify=full").status == 0
    data = bytearray(parameters.read_bytes())
    data[-1] ^= 1
    parameters.write_bytes(data)
    assert thalweg("inspect", module, f"--parameters={parameters}").status == 0
    outcome = thalweg("inspect", module, f"--parameters={parameters}", "--verify=full")
    assert outcome.status == 1 and "SHA-256" in outcome.err and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--parameters-out=w.gguf"], "Thalweg writes .safetensors and .irpa files"),
        (["--parameters-out=none/w.irpa"], "cannot write 'none/w.irpa': No such file or directory"),
        (["--parameters-out="], "write FILE or SCOPE=FILE"),
        (["--parameters=absent.irpa"], "no such parameter file: absent.irpa"),
        (["--parameters=weights.mlir"], "is neither safetensors nor gguf nor irpa"),
        (["--parameters-out=o.irpa", "-o", "o.irpa"], "the module and its parameters cannot both be"),
        (["--parameters-out=w.irpa", "--compile-to=flow"], "--compile-to=flow makes MLIR"),
        (["--parameters-out=w.irpa", "--compile-to=flow", "-o", "-"], "--compile-to=flow makes MLIR"),
        (["--parameters-out=w.irpa", "-o", "/dev/null"], "a module with parameters goes to a file"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(thalweg, weights, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    outcome = thalweg("compile", weights, "-o", "m.twm", *options)
    assert outcome.status == 1 and outcome.err.count("\n") == 1, outcome
    assert message in outcome.err
    assert {path.name for path in tmp_path.iterdir()} <= {"weights.mlir", "cache"}


def test_a_compilation_that_fails_writes_nothing(thalweg, plugins, model, tmp_path):
    plugins("doubling_plugin")
    parameters, new = tmp_path / "w.irpa", tmp_path / "new.irpa"
    parameters.write_bytes(b"before")
    for path in (parameters, new):
        words = ("compile", model, "-o", tmp_path / "m.twm", f"--parameters-out={path}", "--doubling-fails")
        outcome = thalweg(*words)
        assert outcome.status == 1 and outcome.err.count("\n") == 1, outcome
    assert parameters.read_bytes() == b"before" and not new.exists()
    assert not list(tmp_path.glob(".*"))


def test_python(weights, tmp_path):
    parameters = tmp_path / "w.safetensors"
    module = tw.compile(weights, ["doubling"], parameters_out=parameters)
    assert not module.constants
    with tw.load(module, parameters=parameters, verify="full") as program:
        assert np.array_equal(np.asarray(program.main()), WEIGHT)
    again = tw.compile(weights, ["doubling"], parameters=f"s={parameters}")
    assert {p.scope for p in again.parameters.values()} == {"s"}
    with tw.load(again, parameters={"s": parameters}) as program:
        assert np.array_equal(np.asarray(program.main()), WEIGHT)
    scoped = tw.compile(weights, ["doubling"], parameters_out=f"s={parameters}", cache=False)
    assert [p.scope for p in scoped.parameters.values()] == ["s"]
    assert module_bytes(tw.compile(weights, ["doubling"])) == module_bytes(
        tw.compile(weights, ["doubling"], cache=False)
    )


def test_python_mistakes_are_told_before_the_compilation(weights, tmp_path):
    weights.write_text("this is not MLIR")
    with pytest.raises(InvalidArgument, match="Thalweg writes"):
        tw.compile(weights, ["doubling"], parameters_out="w.bin")
    with pytest.raises(InvalidArgument, match="no such parameter file"):
        tw.compile(weights, ["doubling"], parameters=tmp_path / "absent")
    with pytest.raises(InvalidArgument, match="compile_to='flow' makes MLIR"):
        tw.compile(weights, ["doubling"], parameters_out="w.irpa", compile_to="flow")
    (tmp_path / "noise").write_bytes(b"noise")
    with pytest.raises(ParameterError, match="neither"):
        tw.compile(weights, ["doubling"], parameters=tmp_path / "noise")
