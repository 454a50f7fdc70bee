"""Functions whose commands run one at a time, for tools that look between them: profile, trace, comparison.

Memory is laid out as in a normal call (one arena), so that what a step reads is what earlier steps left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import index

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.extents import evaluate, static
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.driver import Device
from thalweg.module.module import Variant
from thalweg.module.program import (
    Command,
    DispatchCommand,
    FunctionSignature,
    HostFunction,
    SlotKind,
    Span,
    TensorSignature,
)
from thalweg.module.specialization import specialize, specialize_signature
from thalweg.module.verification import verify_specialized
from thalweg.plugin.registry import Registry
from thalweg.runtime import transfer
from thalweg.runtime.addresses import aligned_bytes, aligned_empty, bytes_of
from thalweg.runtime.arguments import TensorCheck
from thalweg.runtime.dimensions import Dimensions
from thalweg.runtime.inline_function import inline_step
from thalweg.runtime.loaders import Loaders
from thalweg.runtime.loading import place_constants
from thalweg.runtime.program import Program
from thalweg.runtime.recording import record_command

Run = Callable[[], object]
"""Runs one command to its end."""


@dataclass(frozen=True)
class FixedFunction:
    """A stored function at fixed dimensions.

    ``dispatch_numbers``: number of a command here → number of the dispatch among the stored function's, which
    debug info counts by. Dispatches that have no work at these dimensions are not here.
    """

    signature: FunctionSignature
    function: HostFunction
    dimensions: Mapping[str, int]
    dispatch_numbers: Mapping[int, int]

    @classmethod
    def at(cls, program: Program, name: str, shapes: Sequence[tuple[int, ...]]) -> FixedFunction:
        """Fix function ``name`` of a program at its inputs' shapes.

        :raises InvalidArgument: the shapes do not fit the signature, or a dimension is beyond a limit.
        """
        signature = program[name].signature
        stored = next(f for f in program.variant.functions if f.name == name)
        dispatches = [command for command in stored.commands if isinstance(command, DispatchCommand)]
        if signature.is_static:
            return cls(signature, stored, {}, _numbers(stored, range(len(dispatches))))
        dimensions = Dimensions(signature)
        values = dimensions.check(dimensions.key(list(shapes)), list(shapes))
        fixed, function = specialize_signature(signature, values), specialize(stored, values)
        module = program.module
        sizes = [module.constants[key].nbytes for key in program.variant.constants]
        where = f"module {module.name!r}, variant {program.variant.name!r}"
        verify_specialized(function, fixed, program.variant, sizes, where)
        kept = [
            number
            for number, dispatch in enumerate(dispatches)
            if all(evaluate(count, values) for count in dispatch.workgroup_count)
        ]
        return cls(fixed, function, values, _numbers(function, kept))


def _numbers(function: HostFunction, kept: Sequence[int]) -> dict[int, int]:
    commands = [i for i, command in enumerate(function.commands) if isinstance(command, DispatchCommand)]
    return dict(zip(commands, kept, strict=True))


class SteppedFunction(ABC):
    """A function in memory of its own. Not thread-safe."""

    def __init__(self, fixed: FixedFunction, variant: Variant, constants: Sequence[np.ndarray]):
        self.fixed = fixed
        self.variant = variant
        self._constants = [bytes_of(np.ascontiguousarray(array)) for array in constants]

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands, in an order in which they may run."""
        return self.fixed.function.commands

    @abstractmethod
    def prepare(self, number: int) -> Run:
        """Return what runs command ``number``; calling it costs little beside the command."""

    @abstractmethod
    def _read_slot(self, slot: int, offset: int, length: int) -> np.ndarray: ...

    @abstractmethod
    def _write_slot(self, slot: int, offset: int, data: np.ndarray) -> None: ...

    def read(self, span: Span) -> np.ndarray:
        """Return a copy of a span's bytes (uint8)."""
        offset, length = index(span.offset), index(span.length)
        slot = self.fixed.function.slots[span.slot]
        if slot.kind is SlotKind.CONSTANT:
            return self._constants[slot.index][offset : offset + length].copy()
        return self._read_slot(span.slot, offset, length)

    def write(self, span: Span, data: np.ndarray) -> None:
        """Replace a span's bytes (uint8, as many as it has)."""
        self._write_slot(span.slot, index(span.offset), data)

    def set_inputs(self, inputs: Sequence[np.ndarray]) -> None:
        """Place the inputs.

        :raises InvalidArgument: one does not fit the signature.
        """
        signature = self.fixed.signature
        for number, (tensor, value) in enumerate(zip(signature.inputs, inputs, strict=True)):
            checked = TensorCheck.of(tensor, "input", signature.name).accept(value)
            slot = self._slot(SlotKind.INPUT, number)
            if slot is not None:  # an input that nothing reads may have none
                self._write_slot(slot, 0, bytes_of(np.ascontiguousarray(np.asarray(checked))))

    def results(self) -> list[np.ndarray]:
        """Return copies of the outputs, in order."""
        return [self._result(number, t) for number, t in enumerate(self.fixed.signature.outputs)]

    def _result(self, number: int, tensor: TensorSignature) -> np.ndarray:
        shape, dtype = static(tensor.shape), numpy_dtype(tensor.dtype)
        slot = self._slot(SlotKind.OUTPUT, number)
        if slot is None or 0 in shape:
            return np.empty(shape, dtype)
        length = index(self.fixed.function.slots[slot].size)
        return self._read_slot(slot, 0, length).view(dtype).reshape(shape)

    def _slot(self, kind: SlotKind, number: int) -> int | None:
        for i, slot in enumerate(self.fixed.function.slots):
            if slot.kind is kind and slot.index == number:
                return i
        return None


class _SteppedInline(SteppedFunction):
    """In host memory, without the HAL."""

    def __init__(self, program: Program, fixed: FixedFunction, loaders: Loaders):
        super().__init__(fixed, program.variant, _constants(program))
        self._libraries = [
            (item, loaders.loader(item.format).load(item)) for item in program.variant.executables
        ]
        constants = [aligned_bytes(array) for array in self._constants]
        self._slots = [
            (constants[slot.index] if slot.kind is SlotKind.CONSTANT else aligned_empty(index(slot.size)))
            for slot in fixed.function.slots
        ]

    def prepare(self, number: int) -> Run:
        step, slots = inline_step(self.commands[number], self._libraries), [s.data for s in self._slots]
        return lambda: step(slots)

    def _read_slot(self, slot: int, offset: int, length: int) -> np.ndarray:
        return self._slots[slot][offset : offset + length].copy()

    def _write_slot(self, slot: int, offset: int, data: np.ndarray) -> None:
        self._slots[slot][offset : offset + data.nbytes] = data


class _SteppedOnDevice(SteppedFunction):
    """In a device's buffers: each command is a command buffer of its own, with direct references."""

    def __init__(self, program: Program, fixed: FixedFunction, device: Device):
        super().__init__(fixed, program.variant, _constants(program))
        self._device = device
        self._executables = [device.prepare_executable(item) for item in program.variant.executables]
        constants = place_constants(device, _constants(program))
        self._buffers = [
            (
                constants[slot.index]
                if slot.kind is SlotKind.CONSTANT
                else device.allocator.allocate(index(slot.size), transfer.result_params(device))
            )
            for slot in fixed.function.slots
        ]

    def prepare(self, number: int) -> Run:
        buffer = CommandBuffer()
        record_command(buffer, self.commands[number], self._reference, self._executables)
        buffer.finalize()
        if {"prepared-calls", "host-addressable"} <= self._device.capabilities:
            call = self._device.prepare_call(buffer, {})
            return lambda: call([])
        return lambda: self._submit(buffer)

    def _submit(self, buffer: CommandBuffer) -> None:
        done = self._device.create_semaphore(0)
        self._device.queue_execute(buffer, signal=[(done, 1)])
        done.wait(1)

    def _reference(self, span: Span) -> BufferRef:
        return BufferRef(self._buffers[span.slot], index(span.offset), index(span.length))

    def _read_slot(self, slot: int, offset: int, length: int) -> np.ndarray:
        return transfer.read(self._device, self._buffers[slot], offset, length)

    def _write_slot(self, slot: int, offset: int, data: np.ndarray) -> None:
        transfer.write(self._device, self._buffers[slot], data, offset)


def _constants(program: Program) -> list[np.ndarray]:
    return [program.module.constants[key] for key in program.variant.constants]


def step_function(
    program: Program, name: str, inputs: Sequence[np.ndarray], registry: Registry
) -> SteppedFunction:
    """Return function ``name`` of a loaded program with its inputs placed, ready to run command by command.

    :raises InvalidArgument: the inputs do not fit.
    """
    fixed = FixedFunction.at(program, name, [value.shape for value in inputs])
    if program.variant.inline or program.device is None:
        stepped: SteppedFunction = _SteppedInline(program, fixed, Loaders(registry))
    else:
        stepped = _SteppedOnDevice(program, fixed, program.device)
    stepped.set_inputs(inputs)
    return stepped
