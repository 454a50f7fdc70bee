"""Exported functions' signatures: from the attributes of a function to the records of the module, and to
text.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, StringAttr, i64
from xdsl.dialects.builtin import IntegerAttr as Integer

from thalweg.extents import parse
from thalweg.ir.attributes import number
from thalweg.ir.program import Program
from thalweg.ir.types import element_name, extents_of
from thalweg.module.program import FunctionSignature, Limit, TensorSignature

NAME = "tw.name"
"""The argument and result attribute that holds a tensor's name in the model."""
LIMITS = "tw.limits"
"""The function attribute that holds what the program needs of its dimensions: [extent, maximum, reason]
each.
"""


def name_attributes(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    """Return the attributes that give tensors their names."""
    return ArrayAttr([DictionaryAttr({NAME: StringAttr(name)}) for name in names])


def set_limits(function: func.FuncOp, limits: Sequence[Limit]) -> None:
    """Write limits on a function; none are written as nothing."""
    rows = [
        ArrayAttr([StringAttr(str(limit.extent)), Integer(limit.maximum, i64), StringAttr(limit.reason)])
        for limit in dict.fromkeys(limits)
    ]
    if rows:
        function.attributes[LIMITS] = ArrayAttr(rows)


def limits_of(function: func.FuncOp) -> tuple[Limit, ...]:
    """Return a function's limits."""
    rows = function.attributes.get(LIMITS)
    limits: list[Limit] = []
    for row in rows.data if isinstance(rows, ArrayAttr) else ():
        assert isinstance(row, ArrayAttr)
        extent, maximum, reason = row.data
        assert isinstance(extent, StringAttr) and isinstance(reason, StringAttr)
        limits.append(Limit(parse(extent.data), int(number(maximum)), reason.data))
    return tuple(limits)


def signatures(program: Program) -> tuple[FunctionSignature, ...]:
    """Return the functions' signatures."""
    return tuple(_signature(function) for function in program.functions())


def _signature(function: func.FuncOp) -> FunctionSignature:
    inputs = _tensors(function.arg_attrs, function.function_type.inputs.data, "input")
    outputs = _tensors(function.res_attrs, function.function_type.outputs.data, "output")
    return FunctionSignature(function.sym_name.data, inputs, outputs, limits_of(function))


def _tensors(attributes, types, stem: str) -> tuple[TensorSignature, ...]:
    names = [a.data[NAME].data for a in attributes.data] if attributes is not None else []
    names += [f"{stem}{i}" for i in range(len(names), len(types))]
    return tuple(TensorSignature(n, extents_of(t), element_name(t)) for n, t in zip(names, types))


def describe_signature(signature: FunctionSignature) -> str:
    """Return ``main(x: 1x3x224x224xf32) -> (y: 1x1000xf32)``."""

    def one(t: TensorSignature) -> str:
        return f"{t.name}: {'x'.join([*map(str, t.shape), t.dtype])}"

    inputs, outputs = (", ".join(map(one, side)) for side in (signature.inputs, signature.outputs))
    return f"{signature.name}({inputs}) -> ({outputs})"
