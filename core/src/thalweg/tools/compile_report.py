"""How long each phase of a compilation took, kept in the compile cache: a module's bytes depend on its inputs
alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from thalweg.compiler.cache_folder import cache_directory
from thalweg.compiler.cache_key import file_digest
from thalweg.compiler.cache_store import REPORTS


def report_path(module_file: Path) -> Path:
    """Return where the report about ``module_file`` is, by the digest of its bytes."""
    return cache_directory() / REPORTS / f"{file_digest(module_file)}.json"


def read_report(module_file: Path) -> dict[str, Any] | None:
    """Return the report about ``module_file``; ``None`` if it was not compiled here, or the cache emptied."""
    path = report_path(module_file)
    return json.loads(path.read_text("utf-8")) if path.exists() else None
