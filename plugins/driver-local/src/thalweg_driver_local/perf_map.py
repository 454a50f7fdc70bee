"""Names for loaded kernels, for ``perf``: lines of ``/tmp/perf-PID.map``.

The form is Linux's (``tools/perf/Documentation/jit-interface.txt``): start and size in hexadecimal, then the
name. The file is the process's own; it stays after the end, when ``perf report`` reads it.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

from thalweg.api import InvalidArgument
from thalweg.hal.executable import CodeSymbol

PERF_MAP_VARIABLE = "THALWEG_PERF_MAP"
PERF_MAP_FOLDER = Path("/tmp")
"""Where perf looks."""
SWITCH = {"0": False, "1": True}

_lock = threading.Lock()


def map_path() -> Path:
    """Return the file that perf reads for this process."""
    return PERF_MAP_FOLDER / f"perf-{os.getpid()}.map"


def write_symbols(symbols: Iterable[CodeSymbol]) -> None:
    """Append functions to the map of this process.

    :raises InvalidArgument: the file cannot be written, or is not this user's own.
    """
    lines = [f"{symbol.address:x} {symbol.size:x} {_one_word(symbol.name)}\n" for symbol in symbols]
    path = map_path()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with _lock:
        try:
            handle = os.open(path, flags, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                found = os.fstat(handle)
                if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                    raise InvalidArgument(f"{path} is not a file of this user's; perf would not read it")
                file.writelines(lines)
        except OSError as error:
            raise InvalidArgument(f"cannot write the perf map {path}: {error.strerror}") from None


def _one_word(name: str) -> str:
    """Return a name that cannot end its line: names come from the module's file."""
    return "".join(letter if "!" <= letter <= "~" else "_" for letter in name)


def parse_perf_map(parameter: str | None, text: str | None) -> bool:
    """Return whether maps are written: the URI's ``perf_map``, else ``THALWEG_PERF_MAP``; 0 or 1.

    :raises InvalidArgument: another value.
    """
    value, source = (parameter, "perf_map") if parameter is not None else (text or "0", PERF_MAP_VARIABLE)
    if value not in SWITCH:
        raise InvalidArgument(f"{source}={value!r} is not 0 or 1")
    return SWITCH[value]
