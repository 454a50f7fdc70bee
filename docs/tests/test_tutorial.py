"""The tutorial's commands and Python run as they stand and print what the page says (``...`` is anything)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parent.parent / "tutorial.md"


def blocks() -> list[tuple[str, str]]:
    """Return (language, text) of each fenced block, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """Return (command, expected output) pairs of a console block."""
    pairs: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            pairs.append((line[2:], []))
        else:
            pairs[-1][1].append(line)
    return [(command, "\n".join(lines)) for command, lines in pairs]


def matches(expected: str, found: str) -> bool:
    """Return whether ``found`` is ``expected`` with anything in the place of each ``...``."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("..."))
    return re.fullmatch(pattern, found.strip(), re.DOTALL) is not None


def test_the_tutorial_runs_and_prints_what_it_says(tmp_path: Path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["THALWEG_CACHE_DIR"] = str(tmp_path / "cache")
    ran = 0
    for language, text in blocks():
        steps = commands(text) if language == "console" else [("", "")]
        for command, expected in steps:
            words = ["bash", "-c", command] if language == "console" else [sys.executable, "-c", text]
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{command or text}\n{done.stdout}{done.stderr}"
            if language == "console":
                assert matches(expected, done.stdout), (
                    f"$ {command}\n{done.stdout}\nbut the page says:\n{expected}"
                )
            ran += 1
    assert ran >= 14
