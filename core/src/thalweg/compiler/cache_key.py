"""What a compilation depends on, as one digest.

The key covers the model's bytes, every setting, this machine's processor, and the tools: the files of thalweg
and of each plugin that takes part, and the distributions that they require, among them a code generator's
library. It is made without importing any of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import importlib_metadata

from thalweg.plugin.entry_points import PluginEntry
from thalweg.plugin.registry import Registry

KEY_VERSION = 1
"""Changes when the meaning of a key or an entry does."""

_CORE = "thalweg"


@dataclass(frozen=True)
class Tools:
    """What compiles: ``identity`` (JSON values), and when the newest of its files was written, in ns."""

    identity: Mapping[str, Any]
    newest: int


@dataclass(frozen=True)
class FileState:
    """What tells whether a file was written to: not its content, but cheap to ask."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Return the state of ``path`` now."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


def make_key(model: Mapping[str, Any], settings: Mapping[str, Any], tools: Tools) -> str:
    """Return the key, 64 hexadecimal digits.

    :param model: what identifies the model (JSON values): its name and the digest of its bytes.
    :param settings: every argument of the compilation that shapes its result.
    """
    document = {
        "version": KEY_VERSION,
        "model": dict(model),
        "settings": _plain(settings),
        "host": host_identity(),
        "tools": tools.identity,
    }
    text = json.dumps(document, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON; a path to a file stands for the file's content too.

    :raises TypeError: nothing tells what the value is.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Enum):
        return [type(value).__qualname__, _plain(value.value)]
    if isinstance(value, Path):
        return ["path", str(value), file_digest(value) if value.is_file() else None]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    raise TypeError(f"a setting of type {type(value).__name__} has no key")


# The processor


_PROCESSOR_FIELDS = frozenset(
    {
        *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
        *("isa", "uarch"),
    }
)
"""What ``/proc/cpuinfo`` says of a processor on x86, on Arm and on RISC-V, apart from clocks and numbers."""


@cache
def host_identity() -> str:
    """Return what tells this machine's processor, with its features, from others."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    return f"{platform.machine()} {hashlib.sha256(processor_lines(text).encode()).hexdigest()}"


def processor_lines(cpuinfo: str) -> str:
    """Return the lines of ``/proc/cpuinfo`` that say which processors there are, each once."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    found = {f"{key.strip()}: {value.strip()}" for key, _, value in lines if key.strip() in _PROCESSOR_FIELDS}
    return "\n".join(sorted(found))


# The tools


def tools_of(registry: Registry, target_backends: Iterable[str]) -> Tools:
    """Identify thalweg, the target backends and every input format: which of them reads a model is seen late.

    :raises PluginError: a target backend cannot be loaded. :raises UnknownName: there is none of that name.
    """
    names = list(target_backends)
    entries = [registry.entry("thalweg.target_backends", name) for name in names]
    for name in registry.names("thalweg.inputs"):
        entries += registry.claims("thalweg.inputs", name)
    distributions: dict[str, str] = {}
    trees = {_CORE: _tree(Path(__file__).parents[1])}
    _add_distribution(distributions, importlib_metadata.distribution(_CORE))
    for entry in entries:
        if entry.metadata is not None:
            _add_distribution(distributions, entry.metadata)
        trees[entry.module.partition(".")[0]] = _tree(_location(entry))
    identity = {
        "python": [sys.version, sys.byteorder, platform.machine()],
        "plugins": [f"{entry.group}:{entry.name}={entry.value}" for entry in entries],
        "identities": {name: registry.target_backend(name).identity() for name in names},
        "distributions": distributions,
        "files": {name: digest for name, (digest, _) in trees.items()},
    }
    return Tools(identity, max(newest for _, newest in trees.values()))


def _location(entry: PluginEntry) -> Path:
    """Return the folder of the plugin's package, or the file of a plugin that is a single module."""
    package = sys.modules.get(entry.module.partition(".")[0])
    if package is None:
        import importlib.util  # a plugin whose spec nobody asked for yet

        spec = importlib.util.find_spec(entry.module.partition(".")[0])
        paths, file = (spec.submodule_search_locations, spec.origin) if spec else (None, None)
    else:
        paths, file = getattr(package, "__path__", None), getattr(package, "__file__", None)
    if paths:
        return Path(next(iter(paths)))
    return Path(file or os.devnull)


def _tree(place: Path) -> tuple[str, int]:
    """Return a digest of the names and bytes of all files in a folder, and when the newest was written."""
    files = [place] if not place.is_dir() else _files(place)
    whole, newest = hashlib.sha256(), 0
    for path in files:
        data = path.read_bytes()
        whole.update(f"{path.relative_to(place)}\0{len(data)}\0".encode("utf-8", "surrogateescape"))
        whole.update(data)
        newest = max(newest, path.stat().st_mtime_ns)
    return whole.hexdigest(), newest


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        found += [Path(root, name) for name in names if not name.endswith((".pyc", ".pyo"))]
    return sorted(found)


def _add_distribution(found: dict[str, str], distribution: Any, extras: bool = True) -> None:
    """Add a distribution and all that it requires: a wheel's record has the digest of each of its files.

    :param extras: whether to add what its extras require, where it is installed; not that of its
    requirements.
    """
    name = str(distribution.name)
    if name in found:
        return
    found[name] = _describe(distribution)
    for requirement in distribution.requires or ():
        match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
        if match is None or (not extras and "extra ==" in requirement):
            continue
        try:
            required = importlib_metadata.distribution(match[0])
        except importlib_metadata.PackageNotFoundError:
            continue  # of an extra that nobody asked for
        _add_distribution(found, required, extras=False)


def _describe(distribution: Any) -> str:
    record = distribution.read_text("RECORD") or ""
    return f"{distribution.version} {hashlib.sha256(record.encode()).hexdigest()}"


@cache
def process_start() -> int:
    """Return when this process began, as ``time.time_ns()``: code that it runs is of files no newer.

    Where the system does not tell, it is when this is first asked.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError, AttributeError):
        age = 0.0
    return time.time_ns() - int(age * 1e9)
