"""A made-up target backend and loader, a plugin without packaging: each kernel multiplies by a number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from thalweg.api import ExecutableLoaderSpec, TargetBackendSpec, hookimpl

THALWEG_ENTRY_POINTS = {
    "thalweg.target_backends": ["doubling"],
    "thalweg.executable_loaders": ["doubling"],
}
FORMAT = "test-doubling-1"


@dataclass(frozen=True)
class Options:
    factor: int = field(default=2, metadata={"help": "what to multiply by", "flag": "--doubling-factor"})
    fail: bool = field(default=False, metadata={"help": "refuse every dispatch", "flag": "--doubling-fails"})


def create_backend(options: Options):
    from thalweg.api import NotSupported
    from thalweg.codegen.target import (
        DispatchPlan,
        KernelPlan,
        LinkedExecutable,
        TargetBackend,
        TargetConfiguration,
        TranslatedKernel,
    )
    from thalweg.module.program import EntryPoint

    class Doubling(TargetBackend):
        def configuration(self):
            predicate = {"device_kind": "local", "executable_format": FORMAT}
            return TargetConfiguration("doubling", FORMAT, predicate, inline=True)

        def plan(self, dispatch, config):
            if options.fail:
                raise NotSupported("doubling")
            return DispatchPlan(KernelPlan((1, 1, 1)))

        def translate(self, kernel, config):
            entry = EntryPoint(kernel.name, 2, binding_access=("r", "w"))
            return TranslatedKernel(entry, bytes([options.factor]))

        def link(self, translated, config):
            data = b"".join(kernel.payload for kernel in translated)
            return LinkedExecutable(FORMAT, data, tuple(kernel.entry for kernel in translated))

    return Doubling()


def create_loader():
    from thalweg.hal.executable import ExecutableLoader, HostKernel, LoadedLibrary

    class Library(LoadedLibrary):
        def __init__(self, factors: bytes):
            self.kernels = tuple(HostKernel(multiply_by(factor)) for factor in factors)

        def close(self):
            pass

    class Loader(ExecutableLoader):
        def load(self, record):
            return Library(record.data)

    return Loader()


def multiply_by(factor: int):
    def multiply(bindings, constants, workgroup_id, workgroup_count):
        source, target = (np.frombuffer(binding, np.float32) for binding in bindings)
        np.multiply(source, np.float32(factor), out=target)

    return multiply


@hookimpl
def thalweg_target_backend(name):
    return TargetBackendSpec(name=name, summary="Multiplies", options=Options, create=create_backend)


@hookimpl
def thalweg_executable_loader(name):
    return ExecutableLoaderSpec(
        name=name,
        summary="Multiplies",
        formats=(FORMAT,),
        create=create_loader,
        capabilities=frozenset({"host-kernels"}),
    )
