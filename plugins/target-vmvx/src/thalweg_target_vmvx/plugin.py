"""What this package registers: target backends ``vmvx`` and ``vmvx-inline``, and their loader."""

from __future__ import annotations

from typing import Any

from thalweg.api import ConformanceProfileSpec, ExecutableLoaderSpec, TargetBackendSpec, hookimpl

API_VERSION = (1, 0)
"""The plugin API that this package is written for."""

FORMAT = "thalweg-vmvx-1"

_SUMMARIES = {
    "vmvx": "portable bytecode over NumPy microkernels, for any machine NumPy runs on",
    "vmvx-inline": "vmvx's kernels run inside the host program, without the HAL",
}


def _create_backend(name: str) -> Any:
    from thalweg_target_vmvx.backend import VmvxBackend  # needs the compiler, which listing plugins does not

    return VmvxBackend(name, inline=name == "vmvx-inline")


def _create_loader() -> Any:
    from thalweg_target_vmvx.loader import VmvxLoader  # imports NumPy, which listing plugins does not

    return VmvxLoader()


@hookimpl
def thalweg_target_backend(name: str) -> TargetBackendSpec | None:
    """Describe ``vmvx`` and ``vmvx-inline``."""
    if name not in _SUMMARIES:
        return None
    return TargetBackendSpec(
        name=name,
        summary=_SUMMARIES[name],
        api_version=API_VERSION,
        create=lambda options: _create_backend(name),
    )


@hookimpl
def thalweg_executable_loader(name: str) -> ExecutableLoaderSpec | None:
    """Describe the loader of vmvx's bytecode."""
    if name != "vmvx":
        return None
    return ExecutableLoaderSpec(
        name=name,
        summary="loads vmvx's bytecode",
        api_version=API_VERSION,
        capabilities=frozenset({"host-kernels"}),  # brings in no machine code
        formats=(FORMAT,),
        create=_create_loader,
    )


@hookimpl
def thalweg_conformance_profile(name: str) -> ConformanceProfileSpec | None:
    """Tell the conformance suite which executables this target makes."""
    if name != "vmvx":
        return None
    return ConformanceProfileSpec(
        name=name, summary=_SUMMARIES[name], api_version=API_VERSION, executable_formats=(FORMAT,)
    )
