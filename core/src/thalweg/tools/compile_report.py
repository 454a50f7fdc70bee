"""How long each phase of a compilation took, kept beside the module: its bytes depend on its inputs alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CACHE_VARIABLE = "THALWEG_CACHE_DIR"


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return ``THALWEG_CACHE_DIR``, by default ``thalweg`` in the user's cache folder."""
    if environment.get(CACHE_VARIABLE):
        return Path(environment[CACHE_VARIABLE])
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "thalweg"


def report_path(module_file: Path) -> Path:
    """Return where the report about ``module_file`` is, by the digest of its bytes."""
    with open(module_file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return cache_directory() / "compile-reports" / f"{digest}.json"


def write_report(module_file: Path, report: Mapping[str, Any]) -> Path:
    """Store a report about ``module_file`` and return its path."""
    path = report_path(module_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    temporary.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    os.replace(temporary, path)
    return path


def read_report(module_file: Path) -> dict[str, Any] | None:
    """Return the report about ``module_file``; ``None`` if it was not compiled here, or the cache emptied."""
    path = report_path(module_file)
    return json.loads(path.read_text("utf-8")) if path.exists() else None
