"""Runs verified bytecode over bindings: one instruction after the other, on NumPy arrays.

A kernel keeps no state between calls, so it may run on several threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from thalweg.api import Aborted, InvalidArgument, OutOfRange
from thalweg.dtypes import numpy_dtype
from thalweg.semantics import evaluate_generic, evaluate_structured

from thalweg_target_vmvx.bytecode import Constant, Function, Generic, Instruction, TensorType


class Kernel:
    """One verified function, ready to run; ``run`` is what a ``HostKernel`` calls."""

    def __init__(self, function: Function):
        self.function = function
        self._releases = _releases(function)

    def run(
        self,
        bindings: Sequence[memoryview],
        constants: tuple[int, ...],
        workgroup_id: tuple[int, int, int],
        workgroup_count: tuple[int, int, int],
    ) -> None:
        """Run the function's only workgroup.

        :raises InvalidArgument: bindings that do not fit. :raises Aborted: the data is not allowed.
        """
        function = self.function
        types = (*function.operands, *function.results)
        if len(bindings) != len(types) or workgroup_count != (1, 1, 1):
            raise InvalidArgument(
                f"{function.name} takes {len(types)} bindings and one workgroup;"
                f" got {len(bindings)} and {workgroup_count}"
            )
        arrays = [_array(binding, type_, function.name) for binding, type_ in zip(bindings, types)]
        registers = dict(enumerate(arrays[: len(function.operands)]))
        made = len(registers)
        try:
            for instruction, released in zip(function.instructions, self._releases):
                for result in _execute(instruction, registers):
                    registers[made] = result
                    made += 1
                for register in released:
                    del registers[register]
        except OutOfRange as error:
            raise Aborted(f"{function.name}: {error}") from error
        for target, register in zip(arrays[len(function.operands) :], function.returned):
            np.copyto(target, registers[register])


def _array(binding: memoryview, type_: TensorType, name: str) -> np.ndarray:
    if binding.nbytes < type_.size:
        raise InvalidArgument(f"{name}: a binding of {binding.nbytes} bytes for a tensor of {type_.size}")
    if type_.size == 0:
        return np.empty(type_.shape, numpy_dtype(type_.dtype))
    return np.frombuffer(binding[: type_.size], numpy_dtype(type_.dtype)).reshape(type_.shape)


def _execute(instruction: Instruction, registers: dict[int, np.ndarray]) -> list[np.ndarray]:
    if isinstance(instruction, Constant):
        return [instruction.array]
    if isinstance(instruction, Generic):
        inputs = [registers[register] for register in instruction.inputs]
        initial = [None if register is None else registers[register] for register in instruction.initial]
        return evaluate_generic(instruction.form, inputs, initial)
    operands = [registers[register] for register in instruction.operands]
    result = instruction.result
    dtype = numpy_dtype(result.dtype)
    return [evaluate_structured(instruction.name, operands, instruction.parameters, result.shape, dtype)]


def _releases(function: Function) -> list[list[int]]:
    """Return, per instruction, the registers that nothing reads after it: their memory is given back."""
    released: list[list[int]] = []
    kept = set(function.returned)
    for instruction in reversed(function.instructions):
        operands = () if isinstance(instruction, Constant) else instruction.operands
        last = [register for register in dict.fromkeys(operands) if register not in kept]
        kept.update(last)
        released.append(last)
    return released[::-1]
