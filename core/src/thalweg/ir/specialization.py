"""Specialization: named dimensions of a program replaced by numbers or by other extents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.dialects import arith, builtin, func
from xdsl.ir import Attribute, Operation, SSAValue

from thalweg.errors import InvalidArgument
from thalweg.extents import Expression, Extent, evaluate, is_static, names_in, static, substitute
from thalweg.ir.attributes import extents_attribute, number
from thalweg.ir.builder import splat_attribute
from thalweg.ir.dialects.tw import ExtentOp, SliceOp, SplatOp
from thalweg.ir.program import Program
from thalweg.ir.signatures import LIMITS, limits_of, set_limits
from thalweg.ir.types import element_name, extents_of, tensor_type
from thalweg.module.program import Limit


def dimensions_of(function: func.FuncOp) -> tuple[str, ...]:
    """Return the names of the dimensions of a function's inputs, sorted."""
    return names_in([e for argument in function.body.block.args for e in extents_of(argument)])


def bind_dimensions(function: func.FuncOp, shapes: Sequence[Sequence[int]]) -> dict[str, int]:
    """Return the value of each dimension that the inputs' shapes give.

    :raises InvalidArgument: a shape does not fit, or two inputs disagree about a dimension.
    """
    found: dict[str, int] = {}
    expected = [extents_of(argument) for argument in function.body.block.args]
    for number_, (extents, shape) in enumerate(zip(expected, shapes)):
        if len(extents) != len(shape):
            raise InvalidArgument(f"input {number_} has {len(extents)} dimensions; got {list(shape)}")
        for extent, value in zip(extents, shape):
            if isinstance(extent, Expression) and str(extent) in names_in(extent):
                found.setdefault(str(extent), value)
    for number_, (extents, shape) in enumerate(zip(expected, shapes)):
        wanted = [evaluate(extent, found) for extent in extents]
        if wanted != list(shape):
            raise InvalidArgument(f"input {number_} must be {wanted}; got {list(shape)}")
    return found


def specialize(program: Program, dimensions: Mapping[str, Extent]) -> Program:
    """Return a copy of a program (phases up to ``dispatch-creation``) with dimensions replaced.

    :raises InvalidArgument: a number is less than 1 or beyond a limit of the program.
    """
    module = program.module.clone()
    for function in (op for op in module.ops if isinstance(op, func.FuncOp)):
        _specialize_function(function, dimensions)
    return Program(module, program.resources)


def _specialize_function(function: func.FuncOp, dimensions: Mapping[str, Extent]) -> None:
    limits: list[Limit] = []
    for limit in limits_of(function):
        extent = substitute(limit.extent, dimensions)
        if isinstance(extent, int) and extent > limit.maximum:
            reason = f" ({limit.reason})" if limit.reason else ""
            if limit.maximum < 0:
                least = f"{-extent}, and is at least {-limit.maximum}"
                raise InvalidArgument(f"{-limit.extent} would be {least}{reason}")
            raise InvalidArgument(f"{limit.extent} would be {extent}, and is at most {limit.maximum}{reason}")
        if isinstance(extent, Expression):
            limits.append(Limit(extent, limit.maximum, limit.reason))
    function.attributes.pop(LIMITS, None)
    set_limits(function, limits)
    for op in list(function.walk()):
        for value in [*op.results, *(a for region in op.regions for b in region.blocks for a in b.args)]:
            _retype(value, dimensions)
        _rewrite(op, dimensions)
    inputs, outputs = (
        [_type(t, dimensions) for t in side.data]
        for side in (function.function_type.inputs, function.function_type.outputs)
    )
    function.properties["function_type"] = builtin.FunctionType.from_lists(inputs, outputs)


def _retype(value: SSAValue, dimensions: Mapping[str, Extent]) -> None:
    value._type = _type(value.type, dimensions)  # pyright: ignore[reportAttributeAccessIssue] xDSL has no setter


def _type(type_: Attribute, dimensions: Mapping[str, Extent]) -> Attribute:
    if not isinstance(type_, builtin.TensorType) or is_static(extents_of(type_)):
        return type_
    return tensor_type([substitute(e, dimensions) for e in extents_of(type_)], element_name(type_))


def _rewrite(op: Operation, dimensions: Mapping[str, Extent]) -> None:
    if isinstance(op, SliceOp):
        op.properties["offsets"] = extents_attribute([substitute(e, dimensions) for e in op.offset_extents()])
    elif isinstance(op, ExtentOp):
        extent = substitute(op.extent(), dimensions)
        if isinstance(extent, int):
            _replace(op, arith.ConstantOp(builtin.IntegerAttr(extent, builtin.i64)))
        else:
            op.properties["value"] = builtin.StringAttr(str(extent))
    elif isinstance(op, SplatOp) and is_static(extents_of(op.result)):
        shape = static(extents_of(op.result))
        attribute = splat_attribute(number(op.value), shape, element_name(op.result.type))
        _replace(op, arith.ConstantOp(attribute))


def _replace(op: Operation, new: Operation) -> None:
    block = op.parent
    assert block is not None
    block.insert_op_before(new, op)
    op.results[0].replace_all_uses_with(new.results[0])
    op.detach()
    op.erase()
