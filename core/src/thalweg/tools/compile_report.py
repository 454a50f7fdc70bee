"""How long each phase of a compilation took, kept in the compile cache: a module's bytes depend on its inputs
alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thalweg.compiler.cache_folder import cache_directory
from thalweg.compiler.cache_key import file_digest
from thalweg.compiler.cache_store import REPORTS

_log = logging.getLogger(__name__)


def report_path(module_file: Path) -> Path:
    """Return where the report about ``module_file`` is, by the digest of its bytes."""
    return cache_directory() / REPORTS / f"{file_digest(module_file)}.json"


def read_report(module_file: Path) -> dict[str, Any] | None:
    """Return the report about ``module_file``; ``None`` if it was not compiled here, or the cache emptied."""
    path = report_path(module_file)
    return json.loads(path.read_text("utf-8")) if path.exists() else None


@contextmanager
def copy_report(module_file: Path) -> Iterator[None]:
    """Keep the report about ``module_file`` for what the block makes of it."""
    before = report_path(module_file)
    content = before.read_bytes() if before.exists() else None
    yield
    if content is not None:
        try:
            report_path(module_file).write_bytes(content)
        except OSError as error:  # the module is there; that it has no report is worth a line, not a failure
            _log.warning("the compile report was not stored: %s", error)
