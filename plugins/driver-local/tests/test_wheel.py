"""The package's own build: a wheel with the library, and a pure one where there is no C compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from thalweg.hal import kernel_abi
from thalweg_driver_local import native

PACKAGE = Path(__file__).parents[1]
LIBRARY = "thalweg_driver_local/libthalweg_local.so"
PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")

pytest.importorskip("hatchling", reason="the build backend is not installed here; uv build brings its own")


@pytest.fixture
def source(tmp_path) -> Path:
    """A copy of the package's sources, with the library of an editable install still in it."""
    copy = tmp_path / "driver-local"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so", "tests"))
    (copy / "src" / LIBRARY).write_bytes(b"stale")
    return copy


def build(source: Path, target: str = "wheel", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the build backend's own command in ``source``."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(source / "dist")],
        cwd=source,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def the_wheel(source: Path, tag: str) -> zipfile.ZipFile:
    (wheel,) = (source / "dist").iterdir()
    assert wheel.name == f"thalweg_driver_local-0.1.0-{tag}.whl"
    return zipfile.ZipFile(wheel)


def test_the_wheel_has_the_library_and_the_platforms_tag(source, tmp_path):
    built = build(source)
    assert built.returncode == 0, built.stderr
    tag = f"py3-none-{PLATFORM}"
    with the_wheel(source, tag) as wheel:
        assert [name for name in wheel.namelist() if name.endswith(".so")] == [LIBRARY]
        (metadata,) = (name for name in wheel.namelist() if name.endswith("/WHEEL"))
        text = wheel.read(metadata).decode()
        assert f"Tag: {tag}\n" in text and "Root-Is-Purelib: false\n" in text
        wheel.extractall(tmp_path / "unpacked")
    native.NativeLibrary(tmp_path / "unpacked" / LIBRARY)
    assert (source / "src" / LIBRARY).read_bytes() == b"stale"  # an editable install keeps what it has


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CC": "no-such-compiler"}, "there is no C compiler 'no-such-compiler' (apt install gcc)"),
        ({"CC": "", "PATH": "/nowhere"}, "there is no C compiler 'cc' (apt install gcc)"),
        ({"THALWEG_LOCAL_PURE": "1"}, "THALWEG_LOCAL_PURE=1"),
    ],
)
def test_without_a_compiler_the_wheel_is_pure_and_a_line_says_so(source, environment, reason):
    built = build(source, **environment)
    assert built.returncode == 0, built.stderr
    lines = [line for line in (built.stdout + built.stderr).splitlines() if "thalweg-driver-local:" in line]
    consequence = "built without the native library, for the slow plain Python processor"
    assert lines == [f"thalweg-driver-local: {reason}; {consequence}"]
    with the_wheel(source, "py3-none-any") as wheel:
        assert not [name for name in wheel.namelist() if name.endswith(".so")]
        assert "thalweg_driver_local/python_engine.py" in wheel.namelist()


def test_a_compiler_that_fails_ends_the_build(source):
    (source / "csrc" / "cause.c").write_text(
        "int unused(void) { int x; return 0; }\n"
    )  # a warning is an error
    built = build(source)
    assert built.returncode != 0 and "the C compiler failed" in built.stderr and "unused" in built.stderr
    assert not list((source / "dist").glob("*.whl"))


def test_the_source_distribution_has_what_a_build_needs(source):
    built = build(source, "sdist")
    assert built.returncode == 0, built.stderr
    (archive,) = (source / "dist").iterdir()
    unpacked = source.parent / "unpacked"
    shutil.unpack_archive(archive, unpacked)
    (folder,) = unpacked.iterdir()
    assert not list(folder.rglob("*.so"))
    assert build(folder).returncode == 0
    the_wheel(folder, f"py3-none-{PLATFORM}").close()


def test_the_kernel_header_is_the_one_of_the_hal():
    theirs = Path(kernel_abi.header_directory()) / "thalweg_kernel.h"
    assert (PACKAGE / "csrc" / "thalweg_kernel.h").read_bytes() == theirs.read_bytes()
