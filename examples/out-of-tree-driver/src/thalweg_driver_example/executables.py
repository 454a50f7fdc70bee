"""Executables: which formats the card runs, and how they get onto it."""

from __future__ import annotations

from thalweg.api import NotSupported, Registry
from thalweg.hal.executable import ExecutableLoader, ExecutableRecord
from thalweg.hal.host_executable import HostExecutable

LOADERS = "thalweg.executable_loaders"

FORMATS = ("thalweg-vmvx-1",)
"""What the card runs: Thalweg's portable bytecode, whose installed loader makes Python functions of it.

A card with machine code of its own names its own format here, which its target backend writes, and hands
``record.data`` to the vendor's library.
"""


def create_loaders() -> dict[str, ExecutableLoader]:
    """Return format → loader, of those that are installed here."""
    registry = Registry.from_environment()
    specs = [registry.executable_loader(name) for name in registry.names(LOADERS)]
    return {format: spec.create() for spec in specs for format in spec.formats if format in FORMATS}


def prepare(record: ExecutableRecord, loaders: dict[str, ExecutableLoader]) -> HostExecutable:
    """Load an executable; see ``Device.prepare_executable``."""
    if record.format not in loaders:
        offered = ", ".join(loaders) or "nothing, as no loader of theirs is installed"
        raise NotSupported(
            "executable-format",
            f"executable {record.name!r} has the format {record.format!r}; this card runs {offered}",
        )
    return HostExecutable(record, loaders[record.format].load(record))
