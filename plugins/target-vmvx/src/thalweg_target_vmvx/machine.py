"""Runs verified bytecode over bindings: one instruction after the other, on NumPy arrays.

A kernel keeps nothing of a call but the functions that it made for dimensions, so it may run on several
threads at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from thalweg.api import Aborted, InvalidArgument, ModuleFormatError, OutOfRange
from thalweg.dtypes import numpy_dtype
from thalweg.extents import static
from thalweg.semantics import evaluate_generic, evaluate_structured

from thalweg_target_vmvx.bytecode import Constant, Function, Generic, Instruction, Splat
from thalweg_target_vmvx.rules import Malformed
from thalweg_target_vmvx.specialization import specialize
from thalweg_target_vmvx.verification import verify

CACHE_SIZE = 32
"""For how many sets of dimensions a kernel keeps its function; the one unused for longest goes first."""


class Kernel:
    """One verified function, ready to run; ``run`` is what a ``HostKernel`` calls."""

    def __init__(self, function: Function):
        self.function = function
        self._static = None if function.dimensions else StaticKernel(function)
        self._prepared: OrderedDict[tuple[int, ...], StaticKernel] = OrderedDict()
        self._lock = threading.Lock()

    def run(
        self,
        bindings: Sequence[memoryview],
        constants: tuple[int, ...],
        workgroup_id: tuple[int, int, int],
        workgroup_count: tuple[int, int, int],
    ) -> None:
        """Run the function's only workgroup.

        :param constants: the values of the function's dimensions.
        :raises InvalidArgument: bindings or dimensions that do not fit.
        :raises Aborted: the data is not allowed.
        """
        kernel = self._at(tuple(constants)) if self._static is None else self._static
        kernel.run(bindings, workgroup_count)

    def _at(self, constants: tuple[int, ...]) -> StaticKernel:
        """Return the function at these dimensions, made and verified at their first call."""
        with self._lock:
            kernel = self._prepared.get(constants)
            if kernel is not None:
                self._prepared.move_to_end(constants)
                return kernel
        kernel = StaticKernel(_at_dimensions(self.function, constants))
        with self._lock:
            self._prepared[constants] = kernel
            if len(self._prepared) > CACHE_SIZE:
                self._prepared.popitem(last=False)
        return kernel


def _at_dimensions(function: Function, constants: tuple[int, ...]) -> Function:
    names = function.dimensions
    if len(constants) != len(names):
        raise InvalidArgument(
            f"{function.name} takes {len(names)} constants ({', '.join(names)}); got {len(constants)}"
        )
    values = dict(zip(names, constants))
    where = f"{function.name} at {', '.join(f'{name}={value}' for name, value in values.items())}"
    if min(constants) < 1:
        raise InvalidArgument(f"{where}: a dimension is at least 1")
    try:
        found = specialize(function, values)
        verify(found)
    except (InvalidArgument, Malformed, ModuleFormatError, OutOfRange) as error:
        raise InvalidArgument(f"{where}: {error}") from None
    return found


class StaticKernel:
    """A verified function whose extents are numbers."""

    def __init__(self, function: Function):
        self.name = function.name
        self._operands = len(function.operands)
        self._types = [
            (static(type_.shape), numpy_dtype(type_.dtype), static((type_.size,))[0])
            for type_ in (*function.operands, *function.results)
        ]
        self._instructions = list(zip(function.instructions, _releases(function)))
        self._returned = function.returned

    def run(self, bindings: Sequence[memoryview], workgroup_count: tuple[int, int, int]) -> None:
        """Run the only workgroup; see ``Kernel.run``."""
        if len(bindings) != len(self._types) or workgroup_count != (1, 1, 1):
            raise InvalidArgument(
                f"{self.name} takes {len(self._types)} bindings and one workgroup;"
                f" got {len(bindings)} and {workgroup_count}"
            )
        arrays = [self._array(binding, *type_) for binding, type_ in zip(bindings, self._types)]
        registers = dict(enumerate(arrays[: self._operands]))
        made = len(registers)
        try:
            for instruction, released in self._instructions:
                for result in _execute(instruction, registers):
                    registers[made] = result
                    made += 1
                for register in released:
                    del registers[register]
        except OutOfRange as error:
            raise Aborted(f"{self.name}: {error}") from error
        for target, register in zip(arrays[self._operands :], self._returned):
            np.copyto(target, registers[register])

    def _array(self, binding: memoryview, shape: tuple[int, ...], dtype: np.dtype, size: int) -> np.ndarray:
        if binding.nbytes < size:
            raise InvalidArgument(f"{self.name}: a binding of {binding.nbytes} bytes for a tensor of {size}")
        if size == 0:
            return np.empty(shape, dtype)
        return np.frombuffer(binding[:size], dtype).reshape(shape)


def _execute(instruction: Instruction, registers: dict[int, np.ndarray]) -> list[np.ndarray]:
    if isinstance(instruction, Constant):
        return [instruction.array]
    if isinstance(instruction, Generic):
        inputs = [registers[register] for register in instruction.inputs]
        initial = [None if register is None else registers[register] for register in instruction.initial]
        return evaluate_generic(instruction.form, inputs, initial)
    if isinstance(instruction, Splat):
        element, result = instruction.element, instruction.result
        return [np.broadcast_to(element, static(result.shape))]
    operands = [registers[register] for register in instruction.operands]
    result = instruction.result
    shape, dtype = static(result.shape), numpy_dtype(result.dtype)
    return [evaluate_structured(instruction.name, operands, instruction.parameters, shape, dtype)]


def _releases(function: Function) -> list[list[int]]:
    """Return, per instruction, the registers that nothing reads after it: their memory is given back."""
    released: list[list[int]] = []
    kept = set(function.returned)
    for instruction in reversed(function.instructions):
        operands = () if isinstance(instruction, Constant | Splat) else instruction.operands
        last = [register for register in dict.fromkeys(operands) if register not in kept]
        kept.update(last)
        released.append(last)
    return released[::-1]
