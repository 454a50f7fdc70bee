"""A function at given dimensions: every extent becomes its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from thalweg.extents import Extent, evaluate
from thalweg.semantics import ScalarStep

from thalweg_target_vmvx.bytecode import (
    Constant,
    Function,
    Generic,
    Instruction,
    Splat,
    Structured,
    TensorType,
)
from thalweg_target_vmvx.rules import require


def specialize(function: Function, values: Mapping[str, int]) -> Function:
    """Return the function of numbers; it is not verified yet.

    :param values: the value of each of the function's dimensions.
    :raises Malformed: a size is negative. :raises OutOfRange: a size is out of all bounds.
    :raises InvalidArgument: an extent divides by less than 1.
    """
    at = _Specializer(values)
    return Function(
        function.name,
        tuple(map(at.type, function.operands)),
        tuple(map(at.type, function.results)),
        tuple(map(at.instruction, function.instructions)),
        function.returned,
    )


class _Specializer:
    def __init__(self, values: Mapping[str, int]):
        self._values = values

    def extents(self, extents: tuple[Extent, ...]) -> tuple[int, ...]:
        return tuple(evaluate(extent, self._values) for extent in extents)

    def sizes(self, extents: tuple[Extent, ...]) -> tuple[int, ...]:
        found = self.extents(extents)
        for extent, size in zip(extents, found):
            require(size >= 0, f"{extent} is {size}")
        return found

    def type(self, type_: TensorType) -> TensorType:
        return TensorType(type_.dtype, self.sizes(type_.shape))

    def instruction(self, instruction: Instruction) -> Instruction:
        match instruction:
            case Constant():
                return instruction
            case Splat():
                return Constant(np.broadcast_to(instruction.element, self.sizes(instruction.result.shape)))
            case Structured():
                parameters = {
                    name: self.extents(value) if isinstance(value, tuple) else value
                    for name, value in instruction.parameters.items()
                }
                return replace(instruction, parameters=parameters, result=self.type(instruction.result))
            case Generic():
                form = instruction.form
                steps = tuple(map(self.step, form.steps))
                return replace(instruction, form=replace(form, extents=self.sizes(form.extents), steps=steps))

    def step(self, step: ScalarStep) -> ScalarStep:
        if step.name != "extent":
            return step
        return ScalarStep("constant", dtype=step.dtype, value=evaluate(step.extent, self._values))
