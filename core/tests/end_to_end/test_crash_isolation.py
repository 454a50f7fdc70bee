"""A code generator that dies costs one message, naming the dispatch and a file that repeats it."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from thalweg.ir.builder import FunctionBuilder

HERE = Path(__file__).parent
KERNEL = "main_dispatch_1_elementwise"


@pytest.fixture(autouse=True)
def crashing(monkeypatch, tmp_path):
    """The made-up plugin alone, for this process and its workers; reproducers go to an own folder."""
    monkeypatch.setenv("THALWEG_PLUGIN_AUTOLOAD", "0")
    monkeypatch.setenv("THALWEG_PLUGINS", "crashing_plugin")
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.syspath_prepend(HERE)
    (tmp_path / "reproducers").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "reproducers"))


@pytest.fixture
def model(tmp_path):
    """``main(x: 4xf32)`` returns x + x and exp(x), a kernel each; the second is the one that dies."""
    builder = FunctionBuilder("main", [("x", [4], "f32")])
    (x,) = builder.arguments
    doubled = builder.elementwise([x, x], lambda s, a, b: s.addf(a, b))
    powers = builder.elementwise([x], lambda s, a: s.exp(a))
    path = tmp_path / "model.mlir"
    path.write_text(builder.program([("doubled", doubled), ("powers", powers)]).text())
    return path


def replay(reproducer: str, manner: str) -> subprocess.CompletedProcess[str]:
    """Run the command that the message names."""
    return subprocess.run(
        [sys.executable, "-m", "thalweg.compiler.reproduce", reproducer],
        env={**os.environ, "CRASHING_PLUGIN": manner},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("manner", "status", "cause"),
    [
        ("abort", -signal.SIGABRT, "Assertion `kernel.ok()' failed"),
        ("exit", 7, ""),
        ("segfault", -signal.SIGSEGV, ""),
        ("recursion", 1, "RecursionError: maximum recursion depth exceeded"),
        ("llvm", -signal.SIGABRT, "LLVM ERROR: Cannot select: intrinsic %llvm.x86.sse42.crc32"),
    ],
)
def test_a_dying_code_generator_is_one_message_and_a_reproducer(
    thalweg, mistake, model, tmp_path, monkeypatch, manner, status, cause
):
    if manner == "llvm" and importlib.util.find_spec("llvmlite") is None:
        pytest.skip("llvmlite is not installed")
    output = tmp_path / "out.twm"
    monkeypatch.setenv("CRASHING_PLUGIN", manner)
    line = mistake("compile", model, "-o", output)
    start = f"the code generator of 'crashing' died on a computed op (kernel {KERNEL}) (exit status "
    assert line.startswith(f"{start}{status}"), line
    assert cause in line
    assert not output.exists()
    (reproducer,) = re.findall(r"a reproducer is in (\S+\.json), ", line)
    assert Path(reproducer).parent == tmp_path / "reproducers"
    again = replay(reproducer, manner)
    assert again.returncode == status
    assert cause in again.stderr
    mended = replay(reproducer, "")
    assert (mended.returncode, mended.stdout, mended.stderr) == (0, f"{KERNEL}: 4 bytes\n", "")
    monkeypatch.setenv("CRASHING_PLUGIN", "")
    assert thalweg("compile", model, "-o", output).status == 0  # this process lives on


def test_a_death_without_a_place_for_the_reproducer_is_still_one_message(
    mistake, model, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    # the workers' standard error goes there too, to a file without a name
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open(tmp_path / "stderr", "w+b"))  # noqa: SIM115
    monkeypatch.setenv("CRASHING_PLUGIN", "exit")
    line = mistake("compile", model, "-o", tmp_path / "out.twm")
    reason = f"(exit status 7); a reproducer cannot be written to {tmp_path}/full"
    assert f"died on a computed op (kernel {KERNEL}) {reason}" in line


def test_a_worker_that_cannot_be_started_is_one_message(mistake, model, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    assert "no-python: No such file or directory" in mistake("compile", model, "-o", tmp_path / "out.twm")


def test_a_reproducer_that_is_none_is_one_line(tmp_path):
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "other.json").write_text("{}")
    for name, message in [
        ("none.json", "no such file: "),
        ("text.json", "is not a reproducer"),
        ("other.json", "is not a reproducer"),
    ]:
        done = replay(str(tmp_path / name), "")
        assert done.returncode == 1
        assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr
