"""The plain Python processor: what a command list means, on host memory. Faster processors are tested against
it.

Commands run one after another in the order of recording, which every barrier allows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from itertools import product
from math import prod

from thalweg.errors import Aborted
from thalweg.hal.binding_table import BoundRange, resolve
from thalweg.hal.command_buffer import (
    BufferRef,
    CommandRecord,
    CopyRecord,
    DispatchRecord,
    FillRecord,
    UpdateRecord,
)
from thalweg.hal.executable import HostKernel, NativeKernel
from thalweg.hal.host_executable import (
    DispatchState,
    HostExecutable,
    NativeFunction,
    WorkgroupState,
    kernel_failure,
)
from thalweg.hal.host_memory import MINIMUM_ALIGNMENT

Locate = Callable[[BufferRef], tuple[int, int]]
"""Reference → (host address, length in bytes)."""


def locate_in(table: dict[int, BoundRange]) -> Locate:
    """Return the ``Locate`` of a checked binding table; the caller keeps the table while the commands run."""

    def locate(ref: BufferRef) -> tuple[int, int]:
        bound = resolve(ref, table)
        return bound.buffer.host_address + bound.offset, bound.length

    return locate


def run_commands(commands: Sequence[CommandRecord], locate: Locate) -> None:
    """Run ``commands`` over checked references.

    :raises Aborted: a kernel failed; the message names the command and the kernel.
    """
    for index, command in enumerate(commands):
        if isinstance(command, DispatchRecord):
            _dispatch(index, command, locate)
        elif isinstance(command, CopyRecord):
            (source, length), (target, _) = locate(command.source), locate(command.target)
            ctypes.memmove(target, source, length)
        elif isinstance(command, FillRecord):
            target, length = locate(command.target)
            ctypes.memmove(target, command.pattern * (length // len(command.pattern)), length)
        elif isinstance(command, UpdateRecord):
            ctypes.memmove(locate(command.target)[0], command.data, len(command.data))


def _dispatch(index: int, command: DispatchRecord, locate: Locate) -> None:
    executable = command.executable
    assert isinstance(
        executable, HostExecutable
    )  # a device checks its executables when it takes a submission
    kernel = executable.library.kernels[command.function]
    ranges = [locate(ref) for ref in command.bindings]
    if isinstance(kernel, NativeKernel):
        _dispatch_native(index, command, kernel, ranges)
    else:
        _dispatch_host(index, command, kernel, ranges)


def _dispatch_native(
    index: int, command: DispatchRecord, kernel: NativeKernel, ranges: list[tuple[int, int]]
) -> None:
    entry = command.executable.entries[command.function]
    bindings = (ctypes.c_void_p * max(len(ranges), 1))(*(address for address, _ in ranges))
    constants = (ctypes.c_uint32 * max(len(command.constants), 1))(*command.constants)
    local = ctypes.create_string_buffer(entry.local_memory + MINIMUM_ALIGNMENT)
    local_address = -(-ctypes.addressof(local) // MINIMUM_ALIGNMENT) * MINIMUM_ALIGNMENT
    dispatch = DispatchState(
        ctypes.addressof(bindings),
        ctypes.addressof(constants),
        command.workgroup_count,
        len(ranges),
        len(command.constants),
    )
    function = NativeFunction(kernel.address)
    for z, y, x in _workgroups(command.workgroup_count):
        workgroup = WorkgroupState((x, y, z), 0, local_address, entry.local_memory)
        status = function(ctypes.byref(dispatch), ctypes.byref(workgroup))
        if status:
            raise kernel_failure(entry.name, index, status)


def _dispatch_host(
    index: int, command: DispatchRecord, kernel: HostKernel, ranges: list[tuple[int, int]]
) -> None:
    entry = command.executable.entries[command.function]
    views: list[memoryview] = []
    for (address, length), access in zip(ranges, entry.accesses()):
        view = memoryview((ctypes.c_ubyte * length).from_address(address)).cast("B")
        views.append(view if "w" in access else view.toreadonly())
    for z, y, x in _workgroups(command.workgroup_count):
        try:
            kernel.function(views, command.constants, (x, y, z), command.workgroup_count)
        except Exception as error:
            raise Aborted(f"kernel {entry.name!r} (command {index}) failed: {error}") from error


def _workgroups(count: tuple[int, int, int]) -> product[tuple[int, ...]]:
    assert prod(count) >= 0
    return product(range(count[2]), range(count[1]), range(count[0]))
