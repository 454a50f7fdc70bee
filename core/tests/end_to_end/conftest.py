"""The program with the plugins that are installed; a test that needs one that is not is skipped, by its
name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from thalweg.plugin.registry import Registry
from thalweg.tools.main import main

SEED = 20261121


@dataclass(frozen=True)
class Outcome:
    """What a run of the program did."""

    status: int
    out: str
    err: str


def require_plugins(**names: str) -> None:
    """Skip unless the plugins are installed: ``inputs="onnx"``, ``target_backends="vmvx"``, …"""
    registry = Registry.from_environment()
    for group, name in names.items():
        if name not in registry.names(f"thalweg.{group}"):
            pytest.skip(f"no plugin {name!r} of group thalweg.{group} is installed")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no setting of the caller's about plugins or logging."""
    for name in ("PLUGINS", "PLUGINS_BLOCK", "PLUGIN_AUTOLOAD", "LOG"):
        monkeypatch.delenv(f"THALWEG_{name}", raising=False)
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("THALWEG_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def thalweg(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function that runs ``thalweg`` with these arguments, in this process."""

    def run(*arguments: object) -> Outcome:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse: usage errors
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def mistake(thalweg: Callable[..., Outcome]) -> Callable[..., str]:
    """Return a function that runs ``thalweg``, asserts that it fails with one line, and returns the line."""

    def run(*arguments: object) -> str:
        outcome = thalweg(*arguments)
        assert outcome.status != 0, outcome
        assert outcome.err.startswith("thalweg: error: ") and outcome.err.count("\n") == 1, outcome.err
        return outcome.err.removeprefix("thalweg: error: ").rstrip("\n")

    return run


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of mnist12: input ``input`` 1x1x28x28xf32, output ``output`` 1x10xf32."""
    require_plugins(inputs="onnx")
    zoo = pytest.importorskip("thalweg_benchmarks.zoo")
    path = tmp_path_factory.mktemp("model") / "mnist12.onnx"
    path.write_bytes(zoo.MODELS["mnist12"]().SerializeToString())
    return path


@pytest.fixture(scope="session")
def mnist_case(mnist: Path) -> tuple[np.ndarray, np.ndarray]:
    """A seeded input of mnist12, and what onnxruntime makes of it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(SEED).standard_normal((1, 1, 28, 28)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(mnist), providers=["CPUExecutionProvider"])
    return x, np.asarray(session.run(None, {"input": x})[0])


@pytest.fixture(scope="session")
def vmvx_module(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mnist12 compiled for vmvx; not to be written to."""
    require_plugins(target_backends="vmvx", hal_drivers="local-sync")
    path = tmp_path_factory.mktemp("module") / "mnist12.twm"
    compile_in_process_of_its_own(mnist, path, "--target-backend=vmvx")
    return path


def compile_in_process_of_its_own(
    model: Path, output: Path, *options: str, environment: Mapping[str, str] | None = None
) -> None:
    """Run ``thalweg compile`` in a new process, with these environment variables beside ours."""
    subprocess.run(
        [sys.executable, "-m", "thalweg", "compile", str(model), "-o", str(output), *options],
        env={**os.environ, **(environment or {})},
        check=True,
    )


@pytest.fixture(scope="session")
def compile_elsewhere() -> Callable[..., None]:
    """Return ``compile_in_process_of_its_own``."""
    return compile_in_process_of_its_own


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """Return ``require_plugins``."""
    return require_plugins
