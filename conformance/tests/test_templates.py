"""What ``thalweg new`` writes works as it comes, and the tutorials about it run: from wheels, in an
environment that has nothing else of Thalweg.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from documentation_pages import run_page
from onnx.reference import ReferenceEvaluator
from thalweg_benchmarks.zoo import MODELS

from .fresh_environment import ROOT, RUNTIME, Environment, build_wheels, make_environment

PACKAGES = ("core", "plugins/driver-local", "plugins/target-vmvx", "plugins/input-onnx", "conformance")
COMPILER = ("xdsl==0.74.0", "onnx>=1.18")
BUILDING = ("pip", "hatchling>=1.27", "editables")
TUTORIALS = ROOT / "docs" / "tutorials"
SEED = 20261121

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Reader:
    """Somebody who has followed a tutorial to its end, in an environment of their own."""

    environment: Environment
    steps: int


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    return build_wheels([ROOT / package for package in PACKAGES], folder)


def read_tutorial(page: str, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Follow a tutorial. Its ``pip install`` finds Thalweg's wheels, and the rest installed already."""
    folder = tmp_path_factory.mktemp(page)
    work = folder / "work"
    work.mkdir()
    environment = make_environment(folder / "venv", work, [*RUNTIME, *COMPILER, *BUILDING])
    variables = environment.variables() | {
        "PIP_FIND_LINKS": f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
        "PIP_NO_BUILD_ISOLATION": "0",  # hatchling is installed; 0 is pip's word for no isolation
        "THALWEG_CACHE_DIR": str(folder / "cache"),
    }
    return Reader(environment, run_page(TUTORIALS / f"{page}.md", work, variables))


@pytest.fixture(scope="module")
def driver_author(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return read_tutorial("write-a-driver", wheels, tmp_path_factory)


@pytest.fixture(scope="module")
def target_author(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return read_tutorial("write-a-target", wheels, tmp_path_factory)


def test_the_driver_tutorial_runs_and_prints_what_it_says(driver_author: Reader):
    assert driver_author.steps >= 14
    assert driver_author.environment.drivers() == {"tin-can"}


def test_the_target_tutorial_runs_and_prints_what_it_says(target_author: Reader):
    assert target_author.steps >= 14


def test_the_author_s_target_compiles_mnist(target_author: Reader):
    environment, work = target_author.environment, target_author.environment.work
    model = MODELS["mnist12"]()
    onnx.save(model, work / "mnist12.onnx")
    image = np.random.default_rng(SEED).standard_normal((1, 1, 28, 28)).astype(np.float32)
    (scores,) = ReferenceEvaluator(model).run(None, {"input": image})
    np.save(work / "image.npy", image)
    np.save(work / "scores.npy", np.asarray(scores))
    np.save(work / "wrong.npy", np.roll(np.asarray(scores), 1))
    environment.text("thalweg", "compile", "mnist12.onnx", "-o", "mnist12.twm", "--target-backend", "tin-c")
    for device in ("local-sync", "local-task"):
        words = ["thalweg", "run", "mnist12.twm", "--device", device, "--input=@image.npy"]
        assert "[SUCCESS]" in environment.text(*words, "--expected-output=@scores.npy")
        assert "[FAILED]" in environment.run(*words, "--expected-output=@wrong.npy").stdout
