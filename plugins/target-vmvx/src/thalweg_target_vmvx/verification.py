"""Checks a decoded function in full before it runs: registers, types, shapes, parameters.

What passes runs without reading outside an array; only values (a gather's indices) are checked while it runs.
Of a function with dimensions, what is right or wrong for every call is checked here; the function of numbers
that a call makes of it is verified again, in full.
"""

from __future__ import annotations

from contextlib import suppress

from thalweg.api import ModuleFormatError
from thalweg.dtypes import dtype_name, numpy_dtype
from thalweg.extents import UnknownOrder, lower_bound, upper_bound

from thalweg_target_vmvx.bytecode import Constant, Function, Generic, Instruction, Splat, TensorType
from thalweg_target_vmvx.generic_rules import check_generic
from thalweg_target_vmvx.rules import Malformed, require, same_type
from thalweg_target_vmvx.structured_rules import check_structured

MAX_TENSOR_BYTES = 1 << 40
"""No tensor of a kernel is larger."""


def verify(function: Function) -> None:
    """Check ``function``.

    :raises ModuleFormatError: naming the instruction and the rule.
    """
    types = list(function.operands)
    _check_sizes(function, [*types, *function.results])
    for number, instruction in enumerate(function.instructions):
        try:
            made = _results(instruction, types)
        except Malformed as error:
            raise ModuleFormatError(
                f"vmvx function {function.name!r}, instruction {number}: {error}"
            ) from None
        _check_sizes(function, made)
        types += made
    for number, (register, type_) in enumerate(zip(function.returned, function.results)):
        if register >= len(types) or not _may_be(types[register], type_):
            raise ModuleFormatError(
                f"vmvx function {function.name!r}: register {register} is not result {number}, a {type_}"
            )


def _may_be(a: TensorType, b: TensorType) -> bool:
    """Return whether two types are equal, or are at some calls."""
    try:
        return same_type(a, b)
    except UnknownOrder:
        return True


def _check_sizes(function: Function, types: list[TensorType]) -> None:
    for type_ in types:
        negative = [extent for extent in type_.shape if upper_bound(extent) < 0]
        if negative:
            raise ModuleFormatError(f"vmvx function {function.name!r} has a tensor with extent {negative[0]}")
        if lower_bound(type_.size) > MAX_TENSOR_BYTES:
            raise ModuleFormatError(f"vmvx function {function.name!r} has a tensor of {type_.size} bytes")


def _results(instruction: Instruction, types: list[TensorType]) -> list[TensorType]:
    if isinstance(instruction, Constant):
        return [TensorType(dtype_name(instruction.array.dtype), instruction.array.shape)]
    if isinstance(instruction, Splat):
        same_element = instruction.element.dtype == numpy_dtype(instruction.result.dtype)
        require(same_element and instruction.element.shape == (), "a splat repeats one element of its type")
        return [instruction.result]
    for register in instruction.operands:
        require(0 <= register < len(types), f"reads register {register} of {len(types)}")
    if isinstance(instruction, Generic):
        initial = [None if register is None else types[register] for register in instruction.initial]
        return check_generic(instruction.form, [types[register] for register in instruction.inputs], initial)
    with suppress(UnknownOrder):  # the answer depends on the call: checked when the dimensions are numbers
        check_structured(instruction, [types[register] for register in instruction.operands])
    return [instruction.result]
