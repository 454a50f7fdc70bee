"""Executables whose kernels live in this process, and the call of one native kernel."""

from __future__ import annotations

import ctypes

from thalweg.errors import Aborted, ModuleFormatError
from thalweg.hal import kernel_abi
from thalweg.hal.executable import Executable, LoadedLibrary
from thalweg.module.module import ExecutableRecord


class HostExecutable(Executable):
    """An executable that a loader brought into this process; it owns what the loader returned.

    :raises ModuleFormatError: the loader found another number of kernels than the record names.
    """

    def __init__(self, record: ExecutableRecord, library: LoadedLibrary):
        super().__init__(record)
        if len(library.kernels) != len(record.entries):
            raise ModuleFormatError(
                f"executable {record.name!r} names {len(record.entries)} entry points;"
                f" its loader found {len(library.kernels)}"
            )
        self.library = library


class DispatchState(ctypes.Structure):
    """``thalweg_dispatch_t`` of the kernel ABI."""

    _fields_ = [
        ("bindings", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("workgroup_count", ctypes.c_uint32 * 3),
        ("binding_count", ctypes.c_uint32),
        ("constant_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class WorkgroupState(ctypes.Structure):
    """``thalweg_workgroup_t`` of the kernel ABI."""

    _fields_ = [
        ("id", ctypes.c_uint32 * 3),
        ("worker", ctypes.c_uint32),
        ("local_memory", ctypes.c_void_p),
        ("local_memory_size", ctypes.c_uint64),
    ]


NativeFunction = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.POINTER(DispatchState), ctypes.POINTER(WorkgroupState)
)
"""A kernel's C signature. Calls release the interpreter lock."""


def kernel_failure(entry_name: str, command: int, status: int) -> Aborted:
    """Return the error for a kernel that returned ``status``."""
    meaning = kernel_abi.STATUS_MESSAGES.get(status, "a status the kernel ABI does not define")
    return Aborted(f"kernel {entry_name!r} (command {command}) returned status {status}: {meaning}")
