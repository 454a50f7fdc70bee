"""The compile cache on disk: modules by their digest, and entries that say which module a key stands for.

::

    entries/<key>.json             what was compiled, and the digest of the module it gave
    modules/<sha256>.twm           module files
    compile-reports/<sha256>.json  how long the phases took that made the module (``thalweg inspect``)

There are no locks. A file appears whole, by renaming, and is never changed; whoever finds one gone or damaged
compiles again. Modules hold machine code: each is verified by its digest every time it is taken.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.compiler.cache_folder import private_folder

ENTRIES, MODULES, REPORTS = "entries", "modules", "compile-reports"
PARTIAL = ".partial"
ABANDONED_SECONDS = 3600
"""Age of an unfinished file whose writer is taken for dead."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredModule:
    """A module of the cache, verified. ``content`` maps its file, which stays readable if it is evicted."""

    digest: str
    content: memoryview
    entry: Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """What the cache holds."""

    modules: int
    entries: int
    reports: int
    bytes: int


class CacheStore:
    """The cache in one folder. Safe to use from several processes and threads at once.

    :raises Unavailable: the folder cannot be used; says why.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder = private_folder(folder)
        self.limit = limit
        for name in (ENTRIES, MODULES, REPORTS):
            private_folder(self.folder / name)

    def find(self, key: str) -> StoredModule | None:
        """Return the module that ``key`` stands for; what is damaged is dropped with a warning."""
        path = self._entry_path(key)
        try:
            entry = _decode_entry(path.read_bytes(), key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._drop(path, f"entry {path.name} is damaged ({error})")
            return None
        module_path = self._module_path(entry["module"])
        try:
            content = _map(module_path)
        except FileNotFoundError:  # evicted
            return None
        except OSError as error:
            self._drop(module_path, f"module {module_path.name} cannot be read ({error.strerror or error})")
            return None
        if hashlib.sha256(content).hexdigest() != entry["module"]:
            self._drop(module_path, f"module {module_path.name} does not have its digest", path)
            return None
        for used in (path, module_path, self.report_path(entry["module"])):
            with suppress(OSError):
                os.utime(used)
        return StoredModule(entry["module"], content, entry)

    def keep(self, key: str, entry: Mapping[str, Any], write: Callable[[Path], Any]) -> str | None:
        """Store a module under ``key``, evict what has not been used for longest, and return its digest.

        :param entry: JSON values to find again in ``StoredModule.entry``.
        :param write: writes the module file to the path it is given.
        :returns: ``None`` if the module alone is larger than the cache may be; nothing is stored then.
        """
        with _replacing(self.folder / MODULES) as partial:
            write(partial.path)
            size = partial.path.stat().st_size
            if size > self.limit:
                return None
            with open(partial.path, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            partial.become(self._module_path(digest))
        with _replacing(self.folder / ENTRIES) as partial:
            partial.path.write_bytes(_encode_entry({**entry, "module": digest}, key))
            partial.become(self._entry_path(key))
        self.evict()
        return digest

    def write_report(self, digest: str, report: Mapping[str, Any]) -> Path:
        """Store how the module of this digest was compiled, and return the report's path."""
        path = self.report_path(digest)
        with _replacing(path.parent) as partial:
            partial.path.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
            partial.become(path)
        return path

    def usage(self) -> Usage:
        """Count what there is."""
        files = list(self._files())
        counts = {
            name: sum(path.parent.name == name for path, _ in files) for name in (ENTRIES, MODULES, REPORTS)
        }
        size = sum(status.st_size for _, status in files)
        return Usage(counts[MODULES], counts[ENTRIES], counts[REPORTS], size)

    def evict(self) -> None:
        """Delete files, least recently used first, until the cache is no larger than its limit."""
        files = sorted(self._files(), key=lambda item: item[1].st_mtime_ns)
        total = sum(status.st_size for _, status in files)
        for path, status in files:
            abandoned = path.suffix == PARTIAL and time.time() - status.st_mtime > ABANDONED_SECONDS
            if total > self.limit or abandoned:
                if path.suffix == PARTIAL and not abandoned:
                    continue  # somebody is writing it
                path.unlink(missing_ok=True)
                total -= status.st_size

    def clear(self) -> None:
        """Delete everything that the cache holds."""
        for path, _ in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for name in (ENTRIES, MODULES, REPORTS):
            for item in os.scandir(self.folder / name):
                with suppress(FileNotFoundError):  # somebody else evicted it
                    if item.is_file(follow_symlinks=False):
                        yield Path(item.path), item.stat(follow_symlinks=False)

    def _drop(self, path: Path, reason: str, *others: Path) -> None:
        _log.warning("compile cache: %s; it is dropped, and the model compiled again", reason)
        for damaged in (path, *others):
            with suppress(OSError):
                damaged.unlink(missing_ok=True)

    def _entry_path(self, key: str) -> Path:
        return self.folder / ENTRIES / f"{key}.json"

    def _module_path(self, digest: str) -> Path:
        return self.folder / MODULES / f"{digest}.twm"

    def report_path(self, digest: str) -> Path:
        """Return where the report about the module of this digest is, if there is one."""
        return self.folder / REPORTS / f"{digest}.json"


def _map(path: Path) -> memoryview:
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class _Partial:
    """A file that is being written, and then takes its place."""

    def __init__(self, path: Path):
        self.path = path

    def become(self, target: Path) -> None:
        """Take the place of ``target``."""
        os.replace(self.path, target)


@contextmanager
def _replacing(folder: Path) -> Iterator[_Partial]:
    """Yield a new file of ``folder``, readable by its owner only; it is gone afterwards unless it became
    one.
    """
    handle, name = tempfile.mkstemp(suffix=PARTIAL, dir=folder)
    os.close(handle)
    try:
        yield _Partial(Path(name))
    finally:
        Path(name).unlink(missing_ok=True)


def _encode_entry(entry: Mapping[str, Any], key: str) -> bytes:
    body = json.dumps({**entry, "key": key}, sort_keys=True)
    return json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body}).encode()


def _decode_entry(data: bytes, key: str) -> dict[str, Any]:
    """Return what ``_encode_entry`` took.

    :raises ValueError: it is damaged, or another key's.
    """
    document = json.loads(data)
    if not isinstance(document, dict) or not isinstance(document.get("body"), str):
        raise ValueError("not an entry")
    body: str = document["body"]
    if hashlib.sha256(body.encode()).hexdigest() != document.get("sha256"):
        raise ValueError("it does not have its digest")
    entry: dict[str, Any] = json.loads(body)
    if entry.get("key") != key:
        raise ValueError("it is another key's")
    return entry
