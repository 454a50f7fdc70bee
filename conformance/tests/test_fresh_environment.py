"""A third party's driver in a fresh environment, from wheels, with no compiler: it is listed and works.

The modules that run there are compiled here. What they should give comes from onnx's own reference evaluator.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from .fresh_environment import (
    ROOT,
    RUNTIME,
    Environment,
    build_wheels,
    install_wheels,
    make_environment,
    run_program,
    uv,
)

EXAMPLE = ROOT / "examples" / "out-of-tree-driver"
PACKAGES = ("core", "plugins/driver-local", "plugins/target-vmvx", "conformance")
COMPILERS = ("llvmlite", "onnx", "xdsl")
TARGETS = {"example": ["vmvx"], "local-sync": ["llvm-cpu", "vmvx"], "local-task": ["llvm-cpu", "vmvx"]}
"""Driver → the target backends whose modules it runs."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packages = [*(ROOT / package for package in PACKAGES), EXAMPLE]
    folder = build_wheels(packages, tmp_path_factory.mktemp("wheels"))
    assert len(list(folder.glob("*.whl"))) == len(packages)
    return folder


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("environment") / "venv"
    made = make_environment(folder, tmp_path_factory.mktemp("work"), RUNTIME)
    install_wheels(made, wheels)
    return made


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile a small network here, for each target; write its input and the output it should have."""
    folder = tmp_path_factory.mktemp("modules")
    random = np.random.default_rng(7)
    weights = {
        "filters": random.standard_normal((4, 1, 3, 3)).astype(np.float32),
        "matrix": random.standard_normal((4 * 6 * 6, 5)).astype(np.float32),
        "offset": random.standard_normal(5).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["features"]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Flatten", ["active"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "offset"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 8, 8))],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, (1, 5))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "small.onnx")
    image = random.standard_normal((1, 1, 8, 8)).astype(np.float32)
    (probabilities,) = ReferenceEvaluator(model).run(None, {"image": image})
    np.save(folder / "image.npy", image)
    np.save(folder / "probabilities.npy", np.asarray(probabilities))
    np.save(folder / "wrong.npy", np.roll(np.asarray(probabilities), 1))
    for target in ("llvm-cpu", "vmvx"):
        words = ["thalweg", "compile", "small.onnx", "--target-backend", target, "-o", f"{target}.twm"]
        done = run_program(sys.executable, "-m", *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def _answer(environment: Environment, modules: Path, driver: str, target: str, expected: str):
    words = ["thalweg", "run", modules / f"{target}.twm", "--device", driver, f"--input=@{modules}/image.npy"]
    return environment.run(*words, f"--expected-output=@{modules}/{expected}.npy")


def test_no_compiler_is_installed(environment: Environment):
    code = f"import importlib.util as u; print([n for n in {COMPILERS!r} if u.find_spec(n)])"
    assert run_program(environment.python, "-c", code, cwd=environment.work).stdout == "[]\n"
    where = "import thalweg, thalweg_driver_example as e; print(thalweg.__file__, e.__file__)"
    paths = run_program(environment.python, "-c", where, cwd=environment.work).stdout.split()
    assert len(paths) == 2 and all(path.startswith(str(environment.folder)) for path in paths), paths


def test_the_driver_is_listed(environment: Environment):
    assert environment.drivers() == {"example", "local-sync", "local-task"}
    assert environment.text("thalweg", "run", "--list-devices=example").split() == [
        "example://0",
        "example://1",
    ]
    plugins = json.loads(environment.text("thalweg", "plugins", "--json"))
    (driver,) = [p for p in plugins if p["name"] == "example" and p["kind"] == "HAL driver"]
    assert (driver["distribution"], driver["version"]) == ("thalweg-driver-example", "1.0.0")


@pytest.mark.parametrize(("driver", "target"), [(d, t) for d, targets in TARGETS.items() for t in targets])
def test_a_module_compiled_elsewhere_runs(environment: Environment, modules: Path, driver: str, target: str):
    right = _answer(environment, modules, driver, target, "probabilities")
    assert right.returncode == 0 and "[SUCCESS]" in right.stdout, right.stdout + right.stderr
    wrong = _answer(environment, modules, driver, target, "wrong")
    assert wrong.returncode != 0 and "[FAILED]" in wrong.stdout, wrong.stdout + wrong.stderr


def test_a_module_for_another_machine_is_refused_in_one_line(environment: Environment, modules: Path):
    done = _answer(environment, modules, "example", "llvm-cpu", "probabilities")
    assert done.returncode != 0
    assert "thalweg-vmvx-1" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_the_driver_passes_its_own_tests(environment: Environment):
    tests = EXAMPLE / "tests"
    said = environment.text(
        "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tests}", "-c", os.devnull, tests
    )
    assert said.splitlines()[-1].startswith("5 passed"), said


@pytest.fixture
def without_the_driver(environment: Environment, wheels: Path) -> Iterator[Environment]:
    done = uv("pip", "uninstall", "--python", environment.python, "thalweg-driver-example", cwd=wheels)
    assert done.returncode == 0, done.stderr
    yield environment
    wheel = next(wheels.glob("thalweg_driver_example-*.whl"))
    done = uv("pip", "install", "--python", environment.python, "--no-deps", wheel, cwd=wheels)
    assert done.returncode == 0, done.stderr


def test_the_driver_vanishes_with_its_package(without_the_driver: Environment, modules: Path):
    assert without_the_driver.drivers() == {"local-sync", "local-task"}
    gone = _answer(without_the_driver, modules, "example", "vmvx", "probabilities")
    assert gone.returncode != 0
    assert "no HAL driver named 'example'; installed: local-sync, local-task" in gone.stderr
    assert gone.stderr.count("\n") == 1
    there = _answer(without_the_driver, modules, "local-sync", "vmvx", "probabilities")
    assert there.returncode == 0 and "[SUCCESS]" in there.stdout
