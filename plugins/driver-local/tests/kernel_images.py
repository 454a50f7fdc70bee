"""The test kernels of ``kernels.c``: their entry points, and their compilation by the system's C compiler."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from thalweg.hal import kernel_abi
from thalweg.module.program import EntryPoint
from thalweg_driver_local.elf_loader import MACHINE_FORMATS

ENTRIES = (
    EntryPoint("add", 3, constant_count=1, binding_access=("r", "r", "w")),
    EntryPoint("describe", 1, constant_count=2, binding_access=("w",)),
    EntryPoint("fail", 0, constant_count=2),
    EntryPoint("use_local_memory", 1, constant_count=1, local_memory=40000, binding_access=("w",)),
    EntryPoint("increment", 1, binding_access=("rw",)),
    EntryPoint("read_table", 1, binding_access=("w",)),
    EntryPoint("spin", 1, constant_count=1, binding_access=("w",)),
    EntryPoint("wait_for_word", 1, constant_count=1, binding_access=("r",)),
    EntryPoint("spin_uneven", 2, binding_access=("r", "w")),
    EntryPoint("wait_for_others", 1, constant_count=2, binding_access=("rw",)),
)


def host_format() -> str:
    """Return the ELF format of this machine."""
    return MACHINE_FORMATS[platform.machine()]


def compile_kernels(folder: Path, *flags: str) -> bytes:
    """Compile ``kernels.c`` into an ELF image that the loader takes."""
    image = folder / "kernels.so"
    source = Path(__file__).with_name("kernels.c")
    command = ["cc", "-O2", "-fPIC", "-shared", "-nostdlib", "-Wl,--hash-style=sysv", "-Wl,-z,norelro"]
    subprocess.run(
        [*command, *flags, "-I", kernel_abi.header_directory(), str(source), "-o", str(image)], check=True
    )
    return image.read_bytes()
