"""The tutorial's commands and Python run as they stand and print what the page says (``...`` is anything)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from documentation_pages import run_page

TUTORIAL = Path(__file__).parent.parent / "tutorial.md"


def test_the_tutorial_runs_and_prints_what_it_says(tmp_path: Path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["THALWEG_CACHE_DIR"] = str(tmp_path / "cache")
    assert run_page(TUTORIAL, tmp_path, environment) >= 14
