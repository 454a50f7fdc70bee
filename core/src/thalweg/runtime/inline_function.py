"""Functions that run in the host program, without the HAL: the runtime walks the commands itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from operator import index
from typing import Any

import numpy as np

from thalweg.errors import Aborted, NotSupported
from thalweg.extents import static
from thalweg.hal.executable import HostKernel, LoadedLibrary
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import (
    BarrierCommand,
    Command,
    CopyCommand,
    DispatchCommand,
    FillCommand,
    FunctionSignature,
    HostFunction,
    SlotKind,
    Span,
)
from thalweg.runtime.addresses import aligned_empty, bytes_of
from thalweg.runtime.arguments import TensorCheck
from thalweg.runtime.device_array import DeviceArray
from thalweg.runtime.host_memory_function import HostMemoryFunction

Slots = list[memoryview]
Step = Callable[[Slots], None]
"""One command, run on the memory of every slot."""
Libraries = Sequence[tuple[ExecutableRecord, LoadedLibrary]]
"""The variant's executables, loaded."""


class InlineFunction(HostMemoryFunction):
    """Walks the commands in order on host memory. Each call takes its own transient arena from a pool."""

    def __init__(
        self,
        signature: FunctionSignature,
        function: HostFunction,
        libraries: Libraries,
        constants: Sequence[np.ndarray],
    ):
        """Prepare a verified function.

        :param constants: their bytes (uint8, read-only, aligned), by number.
        :raises NotSupported: a kernel is native code, which runs through the HAL only.
        """
        super().__init__(signature)
        self._slots = function.slots
        self._constants = constants
        self._transient_bytes = sum(
            index(slot.size) for slot in function.slots if slot.kind is SlotKind.TRANSIENT
        )
        self._idle: list[np.ndarray] = []
        self._steps = [inline_step(command, libraries) for command in function.commands]

    def compute(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Run the commands on these arrays."""
        try:
            arena = self._idle.pop()
        except IndexError:
            arena = aligned_empty(self._transient_bytes)
        memory: dict[SlotKind, Sequence[np.ndarray]] = {
            SlotKind.CONSTANT: self._constants,
            SlotKind.INPUT: inputs,
            SlotKind.OUTPUT: outputs,
            SlotKind.TRANSIENT: (arena,),
        }
        slots = [bytes_of(memory[slot.kind][slot.index]).data for slot in self._slots]
        for step in self._steps:
            step(slots)
        self._idle.append(arena)

    def new_result(self, check: TensorCheck) -> DeviceArray:
        """Return a new array in host memory."""
        memory = aligned_empty(check.nbytes)
        return DeviceArray(check.shape, check.dtype, host=np.ndarray(check.shape, check.dtype, buffer=memory))


def inline_step(command: Command, libraries: Libraries) -> Step:
    """Return what runs one command, whose sizes are numbers.

    :raises NotSupported: its kernel is native code.
    """
    return _STEPS[type(command)](command, libraries)


def _dispatch(command: DispatchCommand, libraries: Libraries) -> Step:
    record, library = libraries[command.executable]
    entry, kernel = record.entries[command.entry], library.kernels[command.entry]
    if not isinstance(kernel, HostKernel):
        raise NotSupported(
            "inline-native",
            f"kernel {entry.name!r} ({record.format}) is native code; inline variants run host kernels only",
        )
    x, y, z = static(command.workgroup_count)
    constants = static(command.constants)
    accesses = entry.binding_access or ("rw",) * entry.binding_count
    spans = tuple(zip(command.bindings, accesses))

    def run(slots: Slots) -> None:
        bindings = []
        for span, access in spans:
            view = _view(slots, span)
            bindings.append(view if "w" in access else view.toreadonly())
        try:
            for k, j, i in product(range(z), range(y), range(x)):
                kernel.function(bindings, constants, (i, j, k), (x, y, z))
        except Exception as error:
            raise Aborted(f"kernel {entry.name!r} failed: {error}") from error

    return run


def _copy(command: CopyCommand, _: Any) -> Step:
    def run(slots: Slots) -> None:
        _view(slots, command.target)[:] = _view(slots, command.source)

    return run


def _fill(command: FillCommand, _: Any) -> Step:
    repeats = index(command.target.length) // len(command.pattern)

    def run(slots: Slots) -> None:
        _view(slots, command.target)[:] = command.pattern * repeats

    return run


def _barrier(command: BarrierCommand, _: Any) -> Step:
    return lambda slots: None  # commands run one after the other


def _view(slots: Slots, span: Span) -> memoryview:
    start = index(span.offset)
    return slots[span.slot][start : start + index(span.length)]


_STEPS: dict[type, Callable[[Any, Libraries], Step]] = {
    DispatchCommand: _dispatch,
    CopyCommand: _copy,
    FillCommand: _fill,
    BarrierCommand: _barrier,
}
