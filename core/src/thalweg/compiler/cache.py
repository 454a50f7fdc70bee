"""The compile cache, as the command line and ``thalweg.compile`` use it: one object for each compilation.

Finding a module imports neither the compiler nor any plugin's code beyond its spec.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.compiler.cache_folder import cache_directory, cache_size_limit
from thalweg.compiler.cache_key import (
    FileState,
    Tools,
    file_digest,
    make_key,
    process_start,
    tools_of,
)
from thalweg.compiler.cache_store import CacheStore, StoredModule
from thalweg.errors import Unavailable
from thalweg.plugin.registry import Registry

_log = logging.getLogger(__name__)


def open_store(environment: Mapping[str, str] = os.environ) -> CacheStore | None:
    """Return the cache of ``THALWEG_CACHE_DIR``; ``None``, with a warning, where it cannot be used.

    :raises InvalidArgument: ``THALWEG_CACHE_SIZE`` is not a size.
    """
    limit = cache_size_limit(environment)
    try:
        return CacheStore(cache_directory(environment), limit)
    except Unavailable as error:
        _log.warning("the compile cache cannot be used: %s", error)
        return None


@dataclass(frozen=True)
class ModelSource:
    """The model of a compilation: a file, or what identifies one in memory."""

    name: str
    path: Path | None = None
    content: bytes = b""
    """Digest of a model in memory."""


class CachedCompilation:
    """One compilation, looked up before it runs and kept after it.

    :param settings: every argument that shapes the module; ``target_backends`` is among them.
    :raises PluginError: a target backend cannot be loaded. :raises UnknownName: there is none of that name.
    """

    def __init__(
        self, store: CacheStore, registry: Registry, model: ModelSource, settings: Mapping[str, Any]
    ):
        self._store = store
        self._registry = registry
        self._model = model
        self._settings = dict(settings)
        self._started = time.time_ns()
        self._tools = self._current_tools()
        self._state = FileState.of(model.path) if model.path else None
        self.key = make_key(self._model_identity(), self._settings, self._tools)

    @classmethod
    def of(
        cls, store: CacheStore | None, registry: Registry, model: ModelSource, settings: Mapping[str, Any]
    ) -> CachedCompilation | None:
        """Return the compilation; ``None`` if there is no cache, or nothing to know the compilation by.

        A model that is not there or cannot be read is left to the compiler to complain of.
        """
        if store is None or not store.limit:
            return None
        try:
            return cls(store, registry, model, settings)
        except (OSError, TypeError) as error:
            _log.info("compile cache: not used: %s", error)
            return None

    def find(self) -> StoredModule | None:
        """Return the module that this compilation gives, if it is in the cache and intact."""
        stored = self._store.find(self.key)
        if stored is None or not self._same_files(stored.entry.get("files", {})):
            return None
        if not self._store.report_path(stored.digest).exists():
            self._remember(stored.digest, stored.entry.get("report", {}))
        return stored

    def _remember(self, digest: str, report: Mapping[str, Any]) -> None:
        try:
            self._store.write_report(digest, report)
        except OSError as error:
            _log.warning("the compile report was not stored: %s", error)

    def keep(
        self,
        write: Callable[[Path], Any],
        report: Mapping[str, Any],
        dependencies: Sequence[Path] | None,
    ) -> str | None:
        """Store the module of this compilation, with its report, and return the module's digest.

        :param write: writes the module file to the path it is given.
        :param dependencies: the files that the model is made of beside its own; ``None``: not known.
        :returns: ``None`` if nothing is stored: the module is larger than the cache, what it was made of is
            not known, or was written to meanwhile.
        """
        try:
            reason = self._doubt(dependencies)
            if reason:
                _log.info("compile cache: the module is not kept: %s", reason)
                return None
            files = {os.path.relpath(path, self._folder()): file_digest(path) for path in dependencies or ()}
            entry = {"files": files, "report": dict(report), "model": self._model.name}
            digest = self._store.keep(self.key, entry, write)
        except OSError as error:  # the module is made; that it is not kept is worth a line, not a failure
            _log.warning("the module was not kept in the compile cache: %s", error)
            return None
        if digest is not None:
            self._remember(digest, report)
        return digest

    def _model_identity(self) -> Mapping[str, Any]:
        path = self._model.path
        if path is None:
            return {"name": self._model.name, "memory": self._model.content.hex()}
        return {"name": path.stem, "suffix": path.suffix, "file": file_digest(path)}

    def _current_tools(self) -> Tools:
        return tools_of(self._registry, self._settings["target_backends"])

    def _folder(self) -> Path:
        return self._model.path.parent if self._model.path else Path()

    def _same_files(self, digests: Mapping[str, str]) -> bool:
        try:
            return all(file_digest(self._folder() / name) == digest for name, digest in digests.items())
        except OSError:  # gone: the compiler will say so
            return False

    def _doubt(self, dependencies: Sequence[Path] | None) -> str:
        """Return why the module may not be what the key says; empty if it is."""
        if dependencies is None:
            return "its importer does not say which files the model is made of"
        if self._model.path and FileState.of(self._model.path) != self._state:
            return f"{self._model.path} was written to while it was compiled"
        for path in dependencies:
            if path.stat().st_mtime_ns >= self._started:
                return f"{path} was written to while the model was compiled"
        if self._tools.newest >= process_start():
            return "the compiler's files are newer than this process"
        if self._current_tools() != self._tools:
            return "the compiler's files changed while the model was compiled"
        return ""


def file_source(path: Path) -> ModelSource:
    """Identify a model's file."""
    return ModelSource(path.name, path)


def content_source(name: str, parts: Sequence[bytes | memoryview]) -> ModelSource:
    """Identify a model in memory by the bytes that determine it."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f"{memoryview(part).nbytes}\0".encode())
        whole.update(part)
    return ModelSource(name, None, whole.digest())
