"""The command line, run in this process with made-up plugins and an empty cache."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from thalweg.tools.main import main

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    """What a run of the program did."""

    status: int
    out: str
    err: str


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return a function that makes the named modules of this folder the only plugins."""
    monkeypatch.setenv("THALWEG_PLUGIN_AUTOLOAD", "0")
    monkeypatch.setenv("THALWEG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("THALWEG_PLUGINS_BLOCK", raising=False)
    monkeypatch.delenv("THALWEG_LOG", raising=False)

    def install(*modules: str) -> None:
        for name in modules:
            spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
            assert spec is not None and spec.loader is not None
            monkeypatch.setitem(sys.modules, name, importlib.util.module_from_spec(spec))
            spec.loader.exec_module(sys.modules[name])
        monkeypatch.setenv("THALWEG_PLUGINS", ",".join(modules))

    install()
    return install


@pytest.fixture
def thalweg(capsys: pytest.CaptureFixture[str], plugins: object) -> Callable[..., Outcome]:
    """Return a function that runs ``thalweg`` with these arguments."""

    def run(*arguments: object) -> Outcome:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse: usage errors and --help
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


DOUBLE_MLIR = """
func.func @main(%x: tensor<4xf32> {tw.name = "x"}) -> (tensor<4xf32> {tw.name = "y"}) {
  %two = arith.constant 2.0 : f32
  %empty = tensor.empty() : tensor<4xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]
  } ins(%x : tensor<4xf32>) outs(%empty : tensor<4xf32>) {
  ^bb0(%element: f32, %unused: f32):
    %scaled = arith.mulf %element, %two : f32
    linalg.yield %scaled : f32
  } -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model, as MLIR: ``main(x: 4xf32)`` returns the double."""
    path = tmp_path / "double.mlir"
    path.write_text(DOUBLE_MLIR)
    return path


@pytest.fixture
def compiled(
    thalweg: Callable[..., Outcome], plugins: Callable[..., None], model: Path, tmp_path: Path
) -> Path:
    """The model, compiled by the ``doubling`` plugin, which stays installed."""
    plugins("doubling_plugin")
    path = tmp_path / "double.twm"
    outcome = thalweg("compile", model, "-o", path)
    assert outcome == Outcome(0, "", "")
    return path
