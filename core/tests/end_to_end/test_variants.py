"""Several targets and processors in one module: what is stored, and which variant a device takes."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import thalweg as tw
from thalweg.errors import NotSupported, PermissionDenied
from thalweg.module.file import read_module
from thalweg.module.module import Module, Variant

LEVELS = "--target-cpu=x86-64-v3,x86-64-v4"
NEVER = "local-sync://?features=-avx512f,-avx2"  # what neither level runs on
V3_ONLY = "local-sync://?features=-avx512f"
SEED = 20261121


@pytest.fixture(scope="module")
def x86(require):
    """Skip where code for x86-64-v3 cannot run."""
    require(inputs="onnx", target_backends="llvm-cpu", hal_drivers="local-sync")
    require(target_backends="vmvx")
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not an x86-64 machine")
    if not has_features(["avx2", "fma", "bmi2", "movbe", "f16c", "lzcnt"]):
        pytest.skip("the processor has no x86-64-v3")


def has_features(names: Iterable[str]) -> bool:
    """Return whether this machine has all of them."""
    with closing(tw.create_device("local-sync")) as device:
        return all(device.query("hal.device.feature", name) for name in names)


@pytest.fixture(scope="module")
def levels(x86, mnist, compile_elsewhere, tmp_path_factory) -> Path:
    """mnist12 for x86-64-v3, x86-64-v4 and vmvx; not to be written to."""
    path = tmp_path_factory.mktemp("levels") / "mnist12.twm"
    compile_elsewhere(mnist, path, "--target-backend=llvm-cpu,vmvx", LEVELS)
    return path


def taken(module: Path | Module, device: str, **settings: Any) -> str:
    """Return the name of the variant that a device takes."""
    with tw.load(module, device, **settings) as program:
        return program.variant.name


def bytes_of(module: Module, variant: Variant) -> int:
    return sum(module.constants[key].nbytes for key in variant.constants)


def test_variants_are_stored_best_first(levels):
    assert [variant.name for variant in read_module(levels).variants] == [
        "llvm-cpu-x86-64-v4",
        "llvm-cpu-x86-64-v3",
        "vmvx",
    ]


def test_each_level_runs_where_its_features_are(levels, mnist_case):
    x, reference = mnist_case
    expected = {V3_ONLY: "llvm-cpu-x86-64-v3", NEVER: "vmvx", "local-task://?features=-fma": "vmvx"}
    for device, name in expected.items():
        with tw.load(levels, device) as program:
            assert program.variant.name == name, device
            error = np.linalg.norm(np.asarray(program.main(x)) - reference) / np.linalg.norm(reference)
            assert error <= 1e-5, device


def test_the_best_level_of_this_machine_is_taken(levels):
    has_v4 = has_features(read_module(levels).variants[0].predicate["features"])
    assert taken(levels, "local-sync") == ("llvm-cpu-x86-64-v4" if has_v4 else "llvm-cpu-x86-64-v3")


def test_without_machine_code_the_portable_variant_is_taken(levels, mnist, x86):
    assert taken(levels, "local-sync", allow_native=False) == "vmvx"
    native = tw.compile(mnist, ["llvm-cpu"], target_cpu="x86-64-v3")
    with pytest.raises(PermissionDenied, match=r"is machine code .* and allow_native=False"):
        tw.load(native, "local-sync", allow_native=False)


def test_when_no_level_fits_the_error_says_what_each_lacks(mnist, x86):
    module = tw.compile(mnist, ["llvm-cpu"], target_cpu=["x86-64-v3", "x86-64-v4"])
    with pytest.raises(NotSupported) as caught:
        tw.load(module, NEVER)
    message = str(caught.value)
    assert "has no variant for local-sync://?features=-avx512f%2C-avx2: " in message
    assert "variant 'llvm-cpu-x86-64-v4' (llvm-cpu) needs features avx2, " in message
    assert "variant 'llvm-cpu-x86-64-v3' (llvm-cpu) needs features avx2; " in message
    assert " offers kind local, formats " in message and "of these features " in message
    assert "\n" not in message


def test_the_python_api_and_the_command_line_make_the_same_module(levels, mnist, x86):
    module = tw.compile(mnist, "llvm-cpu,vmvx", target_cpu=["x86-64-v3", "x86-64-v4"])
    stored = read_module(levels)
    assert module.variants == stored.variants
    assert {key: value.tobytes() for key, value in module.constants.items()} == {
        key: value.tobytes() for key, value in stored.constants.items()
    }


def test_the_targets_of_several_devices(mnist, x86, thalweg, tmp_path):
    out = tmp_path / "o.twm"
    devices = "--target-device=local-task,local-sync://?features=-avx2"
    assert thalweg("compile", mnist, "-o", out, devices).status == 0
    assert [variant.backend for variant in read_module(out).variants] == ["llvm-cpu", "vmvx"]


def test_variants_of_one_layout_hold_the_weights_once(mnist, require):
    require(target_backends="vmvx")
    module = tw.compile(mnist, ["vmvx", "vmvx-inline"])
    first, second = module.variants
    assert first.constants == second.constants
    assert set(module.constants) == set(first.constants)


def test_processors_of_one_vector_width_hold_the_weights_once(mnist, x86):
    module = tw.compile(mnist, ["llvm-cpu"], target_cpu="x86-64-v4,icelake-server")
    names = [variant.name for variant in module.variants]
    assert names == ["llvm-cpu-icelake-server", "llvm-cpu-x86-64-v4"]
    assert module.variants[0].constants == module.variants[1].constants


@pytest.mark.slow
def test_mobilenetv2_holds_what_its_variants_share_once_and_runs_on_each(
    x86, compile_elsewhere, tmp_path_factory
):
    zoo = pytest.importorskip("thalweg_benchmarks.zoo")
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("mobilenetv2")
    model = zoo.MODELS["mobilenetv2"]()
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    compile_elsewhere(folder / "m.onnx", folder / "m.twm", "--target-backend=llvm-cpu,vmvx", LEVELS)
    module = read_module(folder / "m.twm")
    stored = sum(array.nbytes for array in module.constants.values())
    shared = set.intersection(*(set(variant.constants) for variant in module.variants))
    apart = sum(bytes_of(module, variant) for variant in module.variants)
    once = sum(module.constants[key].nbytes for key in shared)
    assert once and stored <= apart - 2 * once
    distinct = {(array.dtype, array.shape, array.tobytes()) for array in module.constants.values()}
    assert len(distinct) == len(module.constants)
    rest = sum(len(item.data) for variant in module.variants for item in variant.executables)
    assert (folder / "m.twm").stat().st_size <= stored + rest + (1 << 20)
    feeds = zoo.random_inputs(model, seed=SEED)
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    reference = np.asarray(session.run(None, feeds)[0])
    for device, name in ((V3_ONLY, "llvm-cpu-x86-64-v3"), (NEVER, "vmvx")):
        with tw.load(module, device) as program:
            assert program.variant.name == name
            result = np.asarray(program.main(*feeds.values()))
            assert np.linalg.norm(result - reference) <= 1e-5 * np.linalg.norm(reference), device
