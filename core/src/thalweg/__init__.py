"""Compile machine-learning models ahead of time and run them; every input, target and device is a plugin.

Importing this package is cheap: each name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.errors import ThalwegError
    from thalweg.python_api import (
        compile,
        create_device,
        get_driver,
        load,
        query_available_drivers,
        query_available_targets,
    )

    __version__: str

_HOMES = {
    "ThalwegError": "thalweg.errors",
    "compile": "thalweg.python_api",
    "create_device": "thalweg.python_api",
    "get_driver": "thalweg.python_api",
    "load": "thalweg.python_api",
    "query_available_drivers": "thalweg.python_api",
    "query_available_targets": "thalweg.python_api",
}

__all__ = [
    "ThalwegError",
    "compile",
    "create_device",
    "get_driver",
    "load",
    "query_available_drivers",
    "query_available_targets",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        import importlib_metadata  # slow to import, and few ask for the version

        value = importlib_metadata.version("thalweg")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'thalweg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
