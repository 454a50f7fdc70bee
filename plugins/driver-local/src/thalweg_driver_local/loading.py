"""Which loader takes an executable of some format, among the loaders that are installed or were given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from thalweg.api import NotSupported, Registry
from thalweg.hal.executable import ExecutableLoader, ExecutableRecord
from thalweg.hal.host_executable import HostExecutable

GROUP = "thalweg.executable_loaders"


@dataclass
class LoaderEntry:
    """A loader with the formats it names; made when first used."""

    name: str
    formats: tuple[str, ...]
    create: Callable[[], ExecutableLoader]

    @cached_property
    def loader(self) -> ExecutableLoader:
        """The loader itself."""
        return self.create()


class LoaderSet:
    """The loaders of a local device. Thread-safe."""

    def __init__(self, entries: Iterable[LoaderEntry]):
        self._entries = list(entries)
        self._lock = threading.Lock()

    @classmethod
    def installed(cls, registry: Registry) -> LoaderSet:
        """Return the loaders that are installed and available on this machine.

        :raises PluginError: one of them is broken; the message names its distribution.
        """
        entries = []
        for name in registry.names(GROUP):
            if registry.availability(GROUP, name).available:
                spec = registry.executable_loader(name)
                entries.append(LoaderEntry(name, spec.formats, spec.create))
        return cls(entries)

    def formats(self) -> list[str]:
        """Return the formats that can run here, sorted."""
        with self._lock:
            return sorted(
                {name for entry in self._entries for name in entry.formats if entry.loader.can_run(name)}
            )

    def features(self) -> frozenset[str]:
        """Return the processor features that some loader's code may use."""
        with self._lock:
            return frozenset().union(*(entry.loader.machine_features() for entry in self._entries))

    def load(self, record: ExecutableRecord) -> HostExecutable:
        """Load ``record`` with the loader of its format; see ``Device.prepare_executable``."""
        with self._lock:
            for entry in self._entries:
                if record.format in entry.formats and entry.loader.can_run(record.format):
                    return HostExecutable(record, entry.loader.load(record))
        raise NotSupported(
            record.format,
            f"executable {record.name!r} has the format {record.format!r}, which this device does not run;"
            f" it runs: {', '.join(self.formats()) or 'none (no executable loader is installed)'}",
        )
