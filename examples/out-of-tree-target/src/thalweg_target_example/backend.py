"""The target backend: what the compiler asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from thalweg.codegen.target import (
    DispatchPlan,
    KernelPlan,
    KernelSource,
    LinkedExecutable,
    TargetBackend,
    TargetConfiguration,
    TranslatedKernel,
)
from thalweg.extents import is_static, static
from thalweg.hal.executable import EntryPoint
from thalweg.ir import Dispatch, extents_of

from thalweg_target_example.compiler import compile_shared_object
from thalweg_target_example.emitter import Emitter
from thalweg_target_example.executable import MACHINE, pack
from thalweg_target_example.plugin import FORMAT, NAME
from thalweg_target_example.structured import RULES

WORKGROUPS = 16
"""Into how many workgroups the rows of a kernel's results are dealt, at most."""


class ExampleBackend(TargetBackend):
    """Writes one C file per dispatch; wants nothing packed.

    :param c_compiler: the program that compiles them.
    """

    def __init__(self, c_compiler: str):
        self._c_compiler = c_compiler

    def configuration(self) -> TargetConfiguration:
        """Return the configuration: code for local devices of this machine."""
        return TargetConfiguration(
            NAME,
            FORMAT,
            predicate={"device_kind": "local", "executable_format": FORMAT, "features": [MACHINE]},
        )

    def plan(self, dispatch: Dispatch, config: TargetConfiguration) -> DispatchPlan:
        """Plan the workgroups; refuses what there is no C for, by writing it."""
        Emitter(dispatch).kernel(RULES)
        rows = [extents_of(value)[:-1] for value in dispatch.results]
        count = WORKGROUPS
        if all(is_static(shape) for shape in rows):
            count = min(count, max(prod(static(shape)) for shape in rows))
        return DispatchPlan(KernelPlan((max(count, 1), 1, 1)))

    def translate(self, kernel: KernelSource, config: TargetConfiguration) -> TranslatedKernel:
        """Write one kernel as C."""
        dispatch = Dispatch.parse(kernel.text)
        text = Emitter(dispatch).kernel(RULES).encode()
        access = ("r",) * len(dispatch.operands) + ("w",) * len(dispatch.results)
        entry = EntryPoint(kernel.name, len(access), len(dispatch.dimensions), binding_access=access)
        return TranslatedKernel(entry, text, dumps={".c": text})

    def link(self, translated: Sequence[TranslatedKernel], config: TargetConfiguration) -> LinkedExecutable:
        """Compile the C files to one executable."""
        sources = [kernel.payload.decode() for kernel in translated]
        data = pack(compile_shared_object(self._c_compiler, sources))
        return LinkedExecutable(config.executable_format, data, tuple(kernel.entry for kernel in translated))
