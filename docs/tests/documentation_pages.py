"""Runs a page of the documentation: its commands, its Python and its changes to files, in order.

``console`` blocks hold commands after ``$ `` and what they print, where ``...`` is anything; ``python``
blocks are programs; ``diff`` blocks change files. Other blocks are for reading.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return (language, text) of each fenced block, in order."""
    return re.findall(r"```(\w+)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


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


def run_page(page: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """Run a page in ``folder``; return how many steps there were.

    :param environment: its ``PATH`` decides which ``python`` and ``thalweg`` run.
    :raises AssertionError: a step fails, or prints something other than the page says.
    """
    ran = 0
    for language, text in blocks(page):
        if language == "console":
            for command, expected in commands(text):
                found = _run(["bash", "-c", command], "", folder, environment)
                assert matches(expected, found), f"$ {command}\n{found}\nbut the page says:\n{expected}"
                ran += 1
        elif language in ("python", "diff"):
            words = ["python", "-"] if language == "python" else ["git", "apply", "-"]
            _run(words, text, folder, environment)
            ran += 1
    return ran


def _run(words: list[str], given: str, folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        words, input=given, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{words[-1]}\n{given}{done.stdout}{done.stderr}"
    return done.stdout
