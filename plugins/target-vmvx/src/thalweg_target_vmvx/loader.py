"""Loads vmvx's bytecode: read, verify in full, and give one host kernel per function. Needs no compiler."""

from __future__ import annotations

from thalweg.api import ModuleFormatError
from thalweg.hal.executable import ExecutableLoader, ExecutableRecord, HostKernel, LoadedLibrary

from thalweg_target_vmvx.encoding import decode_executable
from thalweg_target_vmvx.machine import Kernel
from thalweg_target_vmvx.verification import verify


class VmvxLibrary(LoadedLibrary):
    """The kernels of one executable."""

    def __init__(self, kernels: tuple[HostKernel, ...]):
        self.kernels = kernels

    def close(self) -> None:
        """Forget the kernels."""
        self.kernels = ()


class VmvxLoader(ExecutableLoader):
    """Loads executables of the format ``thalweg-vmvx-1``."""

    def load(self, record: ExecutableRecord) -> VmvxLibrary:
        """Load ``record``.

        :raises ModuleFormatError: for damaged data, or entry points that are not the bytecode's functions.
        """
        functions = decode_executable(record.data, record.name)
        if len(functions) != len(record.entries):
            raise ModuleFormatError(
                f"executable {record.name} lists {len(record.entries)} entry points;"
                f" its bytecode has {len(functions)} functions"
            )
        for function, entry in zip(functions, record.entries):
            verify(function)
            bindings = len(function.operands) + len(function.results)
            if (entry.name, entry.binding_count, entry.constant_count) != (
                function.name,
                bindings,
                len(function.dimensions),
            ):
                raise ModuleFormatError(
                    f"executable {record.name}: entry {entry.name} has {entry.binding_count} bindings and"
                    f" {entry.constant_count} constants; function {function.name} has {bindings} and"
                    f" {len(function.dimensions)}"
                )
        return VmvxLibrary(tuple(HostKernel(Kernel(function).run) for function in functions))
