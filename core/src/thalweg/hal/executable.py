"""Executables, and the loaders that local devices use for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thalweg.errors import UnknownName
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import EntryPoint

__all__ = [
    "CodeSymbol",
    "EntryPoint",
    "Executable",
    "ExecutableLoader",
    "ExecutableRecord",
    "HostKernel",
    "LoadedLibrary",
    "NativeKernel",
]


class Executable:
    """A loaded executable. Functions are numbered; the name is the stable identity. A driver subclasses
    it.
    """

    def __init__(self, record: ExecutableRecord):
        self.name = record.name
        self.format = record.format
        self.entries: tuple[EntryPoint, ...] = record.entries

    def lookup_function(self, name: str) -> int:
        """Return the number of the function called ``name``.

        :raises UnknownName: naming those there are.
        """
        for index, entry in enumerate(self.entries):
            if entry.name == name:
                return index
        known = ", ".join(entry.name for entry in self.entries)
        raise UnknownName(f"no function {name!r} in executable {self.name!r}; it has: {known}")


@dataclass(frozen=True)
class NativeKernel:
    """A kernel at ``address``, called by the kernel C ABI (``thalweg_kernel.h`` of driver-local)."""

    address: int


@dataclass(frozen=True)
class HostKernel:
    """A kernel that is a Python callable, for one workgroup.

    Called as ``function(bindings, constants, workgroup_id, workgroup_count)``: writable memoryviews (format
    ``B``; a read-only one for a binding of access ``r``), a tuple of u32, and two (x, y, z). It raises to
    fail.
    """

    function: Callable[
        [Sequence[memoryview], tuple[int, ...], tuple[int, int, int], tuple[int, int, int]], None
    ]


@dataclass(frozen=True)
class CodeSymbol:
    """A function in this process's memory: ``size`` bytes of machine code at ``address``."""

    address: int
    size: int
    name: str


class LoadedLibrary(ABC):
    """What a loader returns: its kernels, in the order of the record's entries; kept alive while they are
    used.
    """

    kernels: tuple[NativeKernel | HostKernel, ...]
    symbols: tuple[CodeSymbol, ...] = ()
    """Its machine code's functions, for profilers and debuggers; empty where there is none."""

    @abstractmethod
    def close(self) -> None:
        """Unload; the kernels must not run afterwards."""


class ExecutableLoader(ABC):
    """Loads executables of some formats into this process."""

    @abstractmethod
    def load(self, record: ExecutableRecord) -> LoadedLibrary:
        """Load ``record``.

        :raises ModuleFormatError: for damaged data, with what is wrong and where.
        :raises NotSupported: this machine cannot run it.
        """

    def can_run(self, format: str) -> bool:
        """Return whether this machine can run ``format``, one of the spec's formats."""
        return True

    def machine_features(self) -> frozenset[str]:
        """Return the processor features that code of these formats may use here (``avx2``, …)."""
        return frozenset()
