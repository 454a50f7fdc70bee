"""Where the compile cache lies, how large it may grow, and that nobody else can write there."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from thalweg.errors import InvalidArgument, Unavailable

FOLDER_VARIABLE = "THALWEG_CACHE_DIR"
SIZE_VARIABLE = "THALWEG_CACHE_SIZE"
DEFAULT_SIZE = 8 << 30

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return ``THALWEG_CACHE_DIR``, by default ``thalweg`` in the user's cache folder."""
    if environment.get(FOLDER_VARIABLE):
        return Path(environment[FOLDER_VARIABLE])
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "thalweg"


def cache_size_limit(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many bytes the cache may hold: ``THALWEG_CACHE_SIZE``, as ``500MB`` or ``8GiB``.

    :raises InvalidArgument: it is not a size.
    """
    text = environment.get(SIZE_VARIABLE) or ""
    if not text:
        return DEFAULT_SIZE
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE | re.ASCII)
    if match is None or (match[3] and not match[2]):
        raise InvalidArgument(f"{SIZE_VARIABLE}={text!r} is not a size; write bytes, or as 500MB or 8GiB")
    units = _BINARY_UNITS if match[3] else _UNITS
    return int(float(match[1]) * units[match[2].lower()])


def private_folder(folder: Path) -> Path:
    """Make ``folder`` (mode 0700) where it is not there, check that it is this user's alone, and return it.

    What lies in the cache runs as machine code, so that nobody else may be able to write to it.
    :raises Unavailable: it cannot be made, or others can write to it; says what to do.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise Unavailable(f"{error.filename or folder}: {error.strerror or error}") from None
    if hasattr(os, "getuid"):
        if status.st_uid != os.getuid():
            raise Unavailable(f"{folder} belongs to another user; name another folder by {FOLDER_VARIABLE}")
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise Unavailable(f"{folder} can be written to by others; chmod 700 it, or name another folder")
    return folder
