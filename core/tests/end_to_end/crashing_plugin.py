"""A made-up isolated target backend whose code generator dies as ``CRASHING_PLUGIN`` says, or works."""

from __future__ import annotations

import ctypes
import os
import sys

from thalweg.api import TargetBackendSpec, hookimpl

THALWEG_ENTRY_POINTS = {"thalweg.target_backends": ["crashing"]}
FORMAT = "test-crashing-1"


def llvm_fatal_error() -> None:
    """Have LLVM end the process: ask for an instruction that the processor named does not have."""
    import llvmlite.binding as llvm  # only this manner needs it

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    code = (
        'target triple = "x86_64-unknown-linux-gnu"\n'
        "declare i32 @llvm.x86.sse42.crc32.32.8(i32, i8)\n"
        "define i32 @f(i32 %a, i8 %b) {\n"
        "  %r = call i32 @llvm.x86.sse42.crc32.32.8(i32 %a, i8 %b)\n  ret i32 %r\n}\n"
    )
    machine = llvm.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine(cpu="x86-64")
    machine.emit_object(llvm.parse_assembly(code))


def recurse(depth: int = 0) -> int:
    """Never return."""
    return recurse(depth + 1) + 1


def die(manner: str) -> None:
    """Die as ``manner`` says."""
    if manner == "abort":
        print("Assertion `kernel.ok()' failed", file=sys.stderr, flush=True)
        os.abort()
    elif manner == "exit":
        os._exit(7)
    elif manner == "segfault":
        ctypes.string_at(0)
    elif manner == "recursion":
        recurse()
    elif manner == "llvm":
        llvm_fatal_error()


def create_backend(options: object):
    """Make the backend."""
    from thalweg.codegen.target import (
        DispatchPlan,
        KernelPlan,
        LinkedExecutable,
        TargetBackend,
        TargetConfiguration,
        TranslatedKernel,
    )
    from thalweg.module.program import EntryPoint

    class Crashing(TargetBackend):
        def configuration(self):
            return TargetConfiguration("crashing", FORMAT, {"executable_format": FORMAT}, inline=True)

        def plan(self, dispatch, config):
            return DispatchPlan(KernelPlan((1, 1, 1)))

        def translate(self, kernel, config):
            if "math.exp" in kernel.text:
                die(os.environ.get("CRASHING_PLUGIN", ""))
            entry = EntryPoint(kernel.name, 2, binding_access=("r", "w"))
            return TranslatedKernel(entry, b"code")

        def link(self, translated, config):
            data = b"".join(kernel.payload for kernel in translated)
            return LinkedExecutable(FORMAT, data, tuple(kernel.entry for kernel in translated))

    return Crashing()


@hookimpl
def thalweg_target_backend(name):
    """Describe the backend."""
    return TargetBackendSpec(name=name, summary="Dies", create=create_backend, isolated=True)
