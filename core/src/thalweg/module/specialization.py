"""From a function of named dimensions to a function of numbers: sizes evaluated, transients placed in one
arena.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from thalweg.errors import ModuleFormatError
from thalweg.extents import Extent, evaluate
from thalweg.module.arena import Lifetime, place
from thalweg.module.program import (
    BarrierCommand,
    Command,
    CopyCommand,
    DispatchCommand,
    FillCommand,
    FunctionSignature,
    HostFunction,
    Slot,
    SlotKind,
    Span,
    TensorSignature,
)


def specialize_signature(signature: FunctionSignature, dimensions: Mapping[str, int]) -> FunctionSignature:
    """Return the signature with every dimension a number; limits, checked by then, are dropped."""

    def static(tensor: TensorSignature) -> TensorSignature:
        return replace(tensor, shape=tuple(evaluate(extent, dimensions) for extent in tensor.shape))

    inputs, outputs = (tuple(map(static, side)) for side in (signature.inputs, signature.outputs))
    return FunctionSignature(signature.name, inputs, outputs)


def specialize(function: HostFunction, dimensions: Mapping[str, int]) -> HostFunction:
    """Return the function at these dimensions.

    Its transient slots become one arena, placed by lifetime. Dispatches over no workgroup and commands on no
    bytes are left out. What comes back is not verified yet.

    :raises InvalidArgument: a dimension has no value.
    :raises ModuleFormatError: a command names bytes outside of a slot.
    :raises OutOfRange: a size is out of all bounds.
    """
    return _Specializer(function, dimensions).function()


class _Specializer:
    def __init__(self, function: HostFunction, dimensions: Mapping[str, int]):
        self._source = function
        self._dimensions = dimensions
        self._slots: list[Slot] = []
        self._places: list[tuple[int, int, int]] = []
        """For each slot of the source: (slot, offset in it, bytes)."""

    def _value(self, extent: Extent) -> int:
        return evaluate(extent, self._dimensions)

    def function(self) -> HostFunction:
        self._place_slots()
        commands: list[Command] = []
        for command in self._source.commands:
            commands += self._command(command)
        return HostFunction(self._source.name, tuple(self._slots), tuple(commands))

    def _place_slots(self) -> None:
        transients = [slot for slot in self._source.slots if slot.kind is SlotKind.TRANSIENT]
        lifetimes = [
            Lifetime(self._value(slot.size), *(slot.lifetime or (0, len(self._source.commands))))
            for slot in transients
        ]
        offsets, total = place(lifetimes)
        arena: int | None = None
        remaining = iter(zip(offsets, lifetimes))
        for slot in self._source.slots:
            if slot.kind is not SlotKind.TRANSIENT:
                size = self._value(slot.size)
                self._places.append((len(self._slots), 0, size))
                self._slots.append(Slot(slot.kind, slot.index, size))
                continue
            if arena is None:
                arena = len(self._slots)
                self._slots.append(Slot(SlotKind.TRANSIENT, 0, total))
            offset, lifetime = next(remaining)
            self._places.append((arena, offset, lifetime.size))

    def _span(self, span: Span) -> Span:
        slot, base, size = self._places[span.slot]
        offset, length = self._value(span.offset), self._value(span.length)
        if offset < 0 or length < 0 or offset + length > size:
            at = ", ".join(f"{name}={value}" for name, value in self._dimensions.items())
            raise ModuleFormatError(
                f"function {self._source.name!r} at {at}:"
                f" bytes [{offset}, {offset + length}) of slot {span.slot}, which has {size}"
            )
        return Span(slot, base + offset, length)

    def _command(self, command: Command) -> list[Command]:
        match command:
            case DispatchCommand():
                x, y, z = (self._value(count) for count in command.workgroup_count)
                if 0 in (x, y, z):
                    return []
                constants = tuple(self._value(constant) for constant in command.constants)
                bindings = tuple(self._span(span) for span in command.bindings)
                return [DispatchCommand(command.executable, command.entry, (x, y, z), constants, bindings)]
            case CopyCommand():
                source, target = self._span(command.source), self._span(command.target)
                return [CopyCommand(source, target)] if source.length else []
            case FillCommand():
                target = self._span(command.target)
                return [FillCommand(target, command.pattern)] if target.length else []
            case BarrierCommand():
                return [command]
