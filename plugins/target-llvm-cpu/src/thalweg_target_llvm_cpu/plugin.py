"""The hook of this package. Cheap: what does the work is imported by ``create``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.api import Availability, TargetBackendSpec, hookimpl

from thalweg_target_llvm_cpu.options import LlvmCpuOptions

if TYPE_CHECKING:
    from thalweg.codegen.target import TargetBackend

API_VERSION = (1, 0)
"""The plugin API that this package is written for."""


def _create(options: LlvmCpuOptions) -> TargetBackend:
    from thalweg_target_llvm_cpu.target import LlvmCpuBackend  # listing plugins must not load LLVM

    return LlvmCpuBackend(options)


def _probe() -> Availability:
    from importlib.util import find_spec  # no cost where the plugin is only listed by name

    if find_spec("llvmlite") is None:
        return Availability(False, "llvmlite is not installed; pip install llvmlite")
    return Availability(True)


@hookimpl
def thalweg_target_backend(name: str) -> TargetBackendSpec | None:
    """Describe ``llvm-cpu``."""
    if name != "llvm-cpu":
        return None
    return TargetBackendSpec(
        name="llvm-cpu",
        summary="machine code for x86-64, AArch64 and RISC-V processors, through LLVM",
        api_version=API_VERSION,
        options=LlvmCpuOptions,
        probe=_probe,
        create=_create,
        isolated=True,
    )
