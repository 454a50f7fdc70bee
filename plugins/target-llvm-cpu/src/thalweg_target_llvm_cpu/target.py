"""The target backend: emitters → LLVM → linker."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.codegen.target import (
    DispatchPlan,
    KernelSource,
    LinkedExecutable,
    TargetBackend,
    TargetConfiguration,
    TranslatedKernel,
)
from thalweg.hal.executable import EntryPoint
from thalweg.ir import Dispatch

from thalweg_target_llvm_cpu import configuration, emitters, linker, machine
from thalweg_target_llvm_cpu.options import LlvmCpuOptions


class LlvmCpuBackend(TargetBackend):
    """Machine code for processors."""

    def __init__(self, options: LlvmCpuOptions):
        self._options = options

    def configuration(self) -> TargetConfiguration:
        """Resolve the options; see ``configuration.resolve``."""
        return configuration.resolve(self._options)

    def plan(self, dispatch: Dispatch, config: TargetConfiguration) -> DispatchPlan:
        """Choose an emitter for ``dispatch`` and ask it."""
        return emitters.plan(dispatch, config)

    def translate(self, kernel: KernelSource, config: TargetConfiguration) -> TranslatedKernel:
        """Return the kernel's object code; the dumps are its LLVM IR, also optimised, and its assembly."""
        dispatch = Dispatch.parse(kernel.text)
        text = emitters.emit(kernel, dispatch, config)
        code = machine.compile_text(text, config.settings, assembly=kernel.dumps)
        access = ("r",) * len(dispatch.operands) + ("w",) * len(dispatch.results)
        entry = EntryPoint(
            kernel.name,
            len(access),
            len(dispatch.dimensions),
            local_memory=kernel.plan.local_memory,
            binding_access=access,
        )
        if not kernel.dumps:
            return TranslatedKernel(entry, code.object)
        dumps = {
            ".ll": text.encode(),
            ".optimized.ll": code.ir.encode(),
            ".s": code.assembly.encode(),
            ".o": code.object,
        }
        return TranslatedKernel(entry, code.object, dumps)

    def link(self, translated: Sequence[TranslatedKernel], config: TargetConfiguration) -> LinkedExecutable:
        """Link the kernels' objects and the builtins that they call into one image."""
        entries = tuple(kernel.entry for kernel in translated)
        objects = [(kernel.entry.name, kernel.payload) for kernel in translated]
        image = linker.link(objects, [entry.name for entry in entries], config.settings)
        return LinkedExecutable(config.executable_format, image, entries)
