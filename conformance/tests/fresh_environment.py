"""A virtual environment that holds what a user would install: wheels of this repository, built from source.

Nothing of the environment that the tests run in reaches its programs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RUNTIME = (
    "numpy>=1.26",
    "ml-dtypes>=0.5",
    "pluggy>=1.5",
    "importlib-metadata>=8",
    "rich>=13",
    "pytest>=8.4",
)
"""What running a module, and the conformance suite, need of others."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder to work in."""

    folder: Path
    work: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run ``python -m …`` in it."""
        return run_program(self.python, "-m", *words, cwd=self.work)

    def text(self, *words: object) -> str:
        """Return what a program that succeeds prints."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def variables(self) -> dict[str, str]:
        """Return the environment variables of its programs."""
        return {**kept_variables(), "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def drivers(self) -> set[str]:
        """Return the names that ``thalweg plugins`` shows as HAL drivers, checked against the other lists."""
        plugins = json.loads(self.text("thalweg", "plugins", "--json"))
        names = {
            plugin["name"] for plugin in plugins if plugin["kind"] == "HAL driver" and plugin["available"]
        }
        listed = self.text("thalweg", "run", "--list-drivers").splitlines()[1:]
        assert {line.partition(":")[0].strip() for line in listed} == names
        devices = self.text("thalweg", "run", "--list-devices").split()
        assert {uri.partition("://")[0] for uri in devices} == names
        return names


def kept_variables() -> dict[str, str]:
    """Return the environment variables that do not point programs at this environment."""
    prefixes = ("PYTHON", "THALWEG", "VIRTUAL")
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def run_program(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program outside this environment."""
    command = [str(word) for word in words]
    return subprocess.run(command, cwd=cwd, env=kept_variables(), capture_output=True, text=True, timeout=300)


def uv(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run uv; the test is skipped where it is not installed."""
    beside = Path(sys.executable).parent / "uv"
    program = beside if beside.exists() else shutil.which("uv")
    if program is None:
        pytest.skip("uv is not installed, which builds the wheels and makes the environment: pip install uv")
    return run_program(program, *words, cwd=cwd)


def build_wheels(packages: Iterable[Path], folder: Path) -> Path:
    """Build the wheels of packages; returns ``folder``, which holds them."""
    for package in packages:
        options = ["--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder]
        done = uv("build", *options, package, cwd=folder)
        assert done.returncode == 0, f"{package}: {done.stderr}"
    return folder


def make_environment(folder: Path, work: Path, requirements: Iterable[str]) -> Environment:
    """Make an environment with ``requirements``, from uv's cache or a package index.

    The test is skipped where they are not to be had.
    """
    made = Environment(folder, work)
    done = uv("venv", "--python", sys.executable, made.folder, cwd=work)
    assert done.returncode == 0, done.stderr
    fetched = uv("pip", "install", "--python", made.python, *requirements, cwd=work)
    if fetched.returncode:
        reason = " ".join(fetched.stderr.split())
        pytest.skip(
            f"numpy and the like are neither in uv's cache nor to be had from a package index: {reason}"
        )
    return made


def install_wheels(environment: Environment, wheels: Path) -> None:
    """Install all wheels of a folder."""
    words = ["pip", "install", "--python", environment.python, *sorted(wheels.glob("*.whl"))]
    done = uv(*words, cwd=wheels)
    assert done.returncode == 0, done.stderr
