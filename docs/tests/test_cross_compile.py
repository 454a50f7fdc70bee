"""The commands of the page about cross compilation run as they stand and print what the page says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from documentation_pages import run_page

PAGE = Path(__file__).parent.parent / "how-to" / "cross-compile.md"


def test_the_page_about_cross_compilation_runs_and_prints_what_it_says(tmp_path: Path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["THALWEG_CACHE_DIR"] = str(tmp_path / "cache")
    assert run_page(PAGE, tmp_path, environment) >= 9
