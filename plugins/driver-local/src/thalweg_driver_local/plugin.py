"""The hooks of this package. Cheap: what does the work is imported by the ``create`` functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.api import ConformanceProfileSpec, ExecutableLoaderSpec, HalDriverSpec, hookimpl

if TYPE_CHECKING:
    from thalweg.hal.driver import Driver
    from thalweg.hal.executable import ExecutableLoader

API_VERSION = (1, 0)
"""The plugin API that this package is written for."""

DRIVER_SUMMARIES = {
    "local-sync": "this machine's processor, on the calling thread",
    "local-task": "this machine's processors, on native worker threads",
}

ELF_FORMATS = ("thalweg-elf-x86_64-1", "thalweg-elf-aarch64-1", "thalweg-elf-riscv64-1")

CAPABILITIES = frozenset(
    {"host-addressable", "prepared-calls", "import-host", "mapping", "wait-idle", "allocator-statistics"}
)


@hookimpl
def thalweg_hal_driver(name: str) -> HalDriverSpec | None:
    """Describe ``local-sync`` or ``local-task``."""
    if name not in DRIVER_SUMMARIES:
        return None

    def create() -> Driver:
        from thalweg_driver_local.driver import LocalDriver  # listing drivers stays free of NumPy

        return LocalDriver(name)

    return HalDriverSpec(
        name=name,
        summary=DRIVER_SUMMARIES[name],
        api_version=API_VERSION,
        capabilities=CAPABILITIES,
        create=create,
    )


@hookimpl
def thalweg_executable_loader(name: str) -> ExecutableLoaderSpec | None:
    """Describe the loader of Thalweg's ELF images."""
    if name != "thalweg-elf":
        return None

    def create() -> ExecutableLoader:
        from thalweg_driver_local.elf_loader import ElfLoader  # only a device that loads one needs it

        return ElfLoader()

    return ExecutableLoaderSpec(
        name=name,
        summary="native code as ELF images, mapped by an own loader",
        api_version=API_VERSION,
        formats=ELF_FORMATS,
        create=create,
    )


@hookimpl
def thalweg_conformance_profile(name: str) -> ConformanceProfileSpec | None:
    """Describe what to test of ``local-sync`` or ``local-task``."""
    if name not in DRIVER_SUMMARIES:
        return None
    uris = (f"{name}://",) if name == "local-sync" else (f"{name}://?threads=1", f"{name}://?threads=2")
    return ConformanceProfileSpec(
        name=name,
        summary=DRIVER_SUMMARIES[name],
        api_version=API_VERSION,
        capabilities=CAPABILITIES,
        driver=name,
        device_uris=uris,
        executable_formats=ELF_FORMATS,
    )
