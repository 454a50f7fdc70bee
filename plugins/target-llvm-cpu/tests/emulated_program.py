"""A whole compiled function under the emulator: the host program walked here, the kernels run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from emulator import PAGE, Guest
from thalweg.dtypes import numpy_dtype
from thalweg.extents import evaluate
from thalweg.module.module import Module
from thalweg.module.program import (
    BarrierCommand,
    Command,
    CopyCommand,
    DispatchCommand,
    FillCommand,
    SlotKind,
    Span,
)
from thalweg.module.specialization import specialize, specialize_signature


class EmulatedProgram:
    """A module of one variant, its executables and constants loaded into a guest."""

    def __init__(self, cpu: str, module: Module):
        (self._variant,) = module.variants
        self._module = module
        self._guest = Guest(cpu)
        self._executables = [self._guest.load(record) for record in self._variant.executables]
        self._constants = []
        for name in self._variant.constants:
            array = module.constants[name]
            self._constants.append(self._guest.map(max(array.nbytes, 1)))
            if array.nbytes:
                self._guest.write(self._constants[-1], array.tobytes())
        self.dispatches = 0
        """How many have run."""

    def run(
        self,
        inputs: Sequence[np.ndarray],
        name: str = "main",
        dimensions: Mapping[str, int] = MappingProxyType({}),
    ) -> list[np.ndarray]:
        """Run a function; returns its results."""
        (source,) = [function for function in self._variant.functions if function.name == name]
        (signature,) = [function for function in self._module.functions if function.name == name]
        function = specialize(source, dimensions)
        signature = specialize_signature(signature, dimensions)
        places = self._place(function.slots)
        for slot, (address, _) in zip(function.slots, places):
            if slot.kind is SlotKind.INPUT:
                self._guest.write(address, np.ascontiguousarray(inputs[slot.index]).tobytes())
        for command in function.commands:
            self._command(command, [address for address, _ in places])
        results: dict[int, np.ndarray] = {}
        for slot, (address, _) in zip(function.slots, places):
            if slot.kind is SlotKind.OUTPUT:
                tensor = signature.outputs[slot.index]
                shape = tuple(evaluate(extent, {}) for extent in tensor.shape)
                dtype = numpy_dtype(tensor.dtype)
                data = self._guest.read(address, int(np.prod(shape)) * dtype.itemsize)
                results[slot.index] = np.frombuffer(data, dtype).reshape(shape)
        for address, size in places:
            if size:
                self._guest.unmap(address, size)
        return [results[index] for index in sorted(results)]

    def _place(self, slots) -> list[tuple[int, int]]:
        """Return each slot's address, and its bytes where it was mapped for this run; new memory is all 0xff,
        which as floats is NaN.
        """
        places = []
        for slot in slots:
            if slot.kind is SlotKind.CONSTANT:
                places.append((self._constants[slot.index], 0))
                continue
            size = max(evaluate(slot.size, {}), 1)
            places.append((self._guest.map(size), size))
            self._guest.write(places[-1][0], b"\xff" * (-(-size // PAGE) * PAGE))
        return places

    def _command(self, command: Command, addresses: Sequence[int]) -> None:
        def at(span: Span) -> int:
            return addresses[span.slot] + evaluate(span.offset, {})

        guest = self._guest
        if isinstance(command, DispatchCommand):
            self._dispatch(command, [at(span) for span in command.bindings])
        elif isinstance(command, CopyCommand):
            length = evaluate(command.source.length, {})
            guest.write(at(command.target), guest.read(at(command.source), length))
        elif isinstance(command, FillCommand):
            length = evaluate(command.target.length, {})
            guest.write(at(command.target), command.pattern * (length // len(command.pattern)))
        else:
            assert isinstance(command, BarrierCommand)  # commands run one after the other as it is

    def _dispatch(self, command: DispatchCommand, bindings: Sequence[int]) -> None:
        entry = self._variant.executables[command.executable].entries[command.entry]
        status = self._guest.call(
            self._executables[command.executable][command.entry],
            bindings,
            [evaluate(constant, {}) for constant in command.constants],
            [evaluate(count, {}) for count in command.workgroup_count],
            entry.local_memory,
        )
        assert status == 0, f"kernel {entry.name} returned {status}"
        self.dispatches += 1
