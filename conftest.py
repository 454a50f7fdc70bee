"""What holds for the tests of every package: a compile cache of its own for each test, so that none finds a
module of the user or of another test.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

VARIABLE = "THALWEG_CACHE_DIR"


@pytest.fixture(scope="session", autouse=True)
def session_cache() -> Iterator[Path]:
    """Give fixtures that live longer than a test a folder that vanishes with the session."""
    before = os.environ.get(VARIABLE)
    folder = Path(tempfile.mkdtemp(prefix="thalweg-cache-"))
    os.environ[VARIABLE] = str(folder / "session")
    yield folder
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test an empty cache; it is made when something is kept there, and deleted after the test."""
    folder = session_cache / "test"
    monkeypatch.setenv(VARIABLE, str(folder))
    yield
    shutil.rmtree(folder, ignore_errors=True)
