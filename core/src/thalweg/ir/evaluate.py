"""Evaluate programs of phase ``input`` with NumPy: constant folding, and what targets are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from xdsl.dialects import arith, builtin, func, tensor
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.dialects.linalg.ops import GenericOp, IndexOp, YieldOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineMap

from thalweg.dtypes import numpy_dtype
from thalweg.errors import InvalidArgument, NotSupported, UnknownName
from thalweg.extents import Extent
from thalweg.ir.builder import SCALAR_OPERATIONS
from thalweg.ir.dialects.tw import ExtentOp, StructuredOp
from thalweg.ir.program import Program
from thalweg.ir.specialization import bind_dimensions, dimensions_of, specialize
from thalweg.ir.types import element_name, extents_of, shape_of
from thalweg.semantics.generic import BROADCAST, GenericForm, ScalarStep, evaluate_generic
from thalweg.semantics.precision import stored
from thalweg.semantics.scalar import SCALARS, Family
from thalweg.semantics.structured import evaluate_structured


def evaluate(program: Program, inputs: Sequence[np.ndarray], function: str = "main") -> list[np.ndarray]:
    """Evaluate ``function`` of ``program`` on ``inputs``; returns its results in order. Its dimensions are
    read from the inputs' shapes.

    :raises UnknownName: no such function. :raises InvalidArgument: an input's count, shape or dtype is wrong,
        two inputs disagree about a dimension, or one is beyond a limit.
    :raises NotSupported: naming an op that has no meaning here.
    """
    found = _find(program, function)
    if dimensions_of(found):
        _check_count(found, inputs)
        values = bind_dimensions(found, [np.shape(given) for given in inputs])
        alone = Program(builtin.ModuleOp([found.clone()]), program.resources)
        found = _find(specialize(alone, values), function)
    return evaluate_function(found, inputs, program.resources)


def _find(program: Program, name: str) -> func.FuncOp:
    for candidate in program.functions():
        if candidate.sym_name.data == name:
            return candidate
    names = ", ".join(f.sym_name.data for f in program.functions())
    raise UnknownName(f"no function {name!r} in the program; it has: {names}")


def _check_count(function: func.FuncOp, inputs: Sequence[np.ndarray]) -> None:
    count = len(function.body.block.args)
    if len(inputs) != count:
        raise InvalidArgument(f"{function.sym_name.data} takes {count} inputs; got {len(inputs)}")


def evaluate_function(
    function: func.FuncOp, inputs: Sequence[np.ndarray], resources: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Evaluate one function of static shapes; see ``evaluate``. Values are dropped after their last use."""
    block = function.body.block
    _check_count(function, inputs)
    values: dict[SSAValue, np.ndarray] = {}
    for number, (argument, given) in enumerate(zip(block.args, inputs)):
        array = np.asarray(given)
        shape, dtype = shape_of(argument), numpy_dtype(element_name(argument.type))
        if array.shape != shape or array.dtype != dtype:
            raise InvalidArgument(f"input {number} must be {shape} {dtype}; got {array.shape} {array.dtype}")
        values[argument] = array
    last_use = {operand: op for op in block.ops for operand in op.operands}
    for op in block.ops:
        if isinstance(op, func.ReturnOp):
            return [values[operand] for operand in op.operands]
        results = evaluate_results(op, [values[operand] for operand in op.operands], resources)
        values.update(zip(op.results, results))
        for operand in op.operands:
            if last_use[operand] is op:
                values.pop(operand, None)
    raise InvalidArgument(f"function {function.sym_name.data} has no return")


def evaluate_op(
    op: Operation, operands: Sequence[np.ndarray], resources: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Evaluate an op of one result on arrays; see ``evaluate_results``."""
    (result,) = evaluate_results(op, operands, resources)
    return result


def evaluate_results(
    op: Operation, operands: Sequence[np.ndarray], resources: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Evaluate one op on arrays; returns its results (which may be views of the operands).

    :param operands: one array per operand, a ``linalg.generic``'s initial outputs among them.
    :param resources: what ``arith.constant dense_resource<…>`` refers to.
    :raises NotSupported: naming an op that has no meaning here.
    """
    if isinstance(op, StructuredOp):
        (result,) = op.results
        name = op.name.removeprefix("tw.")
        dtype = numpy_dtype(element_name(result.type))
        return [evaluate_structured(name, operands, op.parameters(), shape_of(result), dtype)]
    if isinstance(op, GenericOp):
        form = generic_form(op)
        count = len(form.input_maps)
        return evaluate_generic(form, operands[:count], operands[count:])
    if isinstance(op, arith.ConstantOp):
        return [constant_array(op.value, resources)]
    if isinstance(op, tensor.EmptyOp):
        (result,) = op.results
        return [np.empty(shape_of(result), numpy_dtype(element_name(result.type)))]
    raise NotSupported(op.name, f"op {op.name} cannot be evaluated: {op}")


def constant_array(value: Attribute, resources: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the elements of ``dense<…>`` (a splat too) or ``dense_resource<…>``; perhaps read-only.

    :raises UnknownName: a resource that is not there.
    """
    if isinstance(value, builtin.DenseResourceAttr):
        handle = value.resource_handle.data
        if handle not in resources:
            raise UnknownName(f"no resource named {handle!r}; there are: {', '.join(sorted(resources))}")
        return resources[handle].reshape(shape_of(value.type))
    if isinstance(value, builtin.DenseIntOrFPElementsAttr):
        shape, dtype = shape_of(value.type), numpy_dtype(element_name(value.type))
        raw = value.data.data  # little-endian elements; a true i1 is any non-zero byte
        if dtype == np.bool_:
            return (np.frombuffer(raw, np.uint8) != 0).reshape(shape)
        bits = np.frombuffer(raw, f"<u{dtype.itemsize}").astype(f"u{dtype.itemsize}", copy=False)
        return bits.view(dtype).reshape(shape)
    raise NotSupported("constant", f"a constant of this form cannot be evaluated: {value}")


def generic_form(op: GenericOp) -> GenericForm:
    """Return a ``linalg.generic`` as plain data; its extents may be expressions.

    :raises NotSupported: naming a map that is no projected permutation, or an op of the body.
    """
    maps = [_projection(attribute.data) for attribute in op.indexing_maps]
    values = (*op.inputs, *op.outputs)
    extents = _extents([extents_of(value) for value in values], maps, len(op.iterator_types))
    kinds = [iterator.data for iterator in op.iterator_types]
    steps, yields = _body_steps(op)
    count = len(op.inputs)
    return GenericForm(
        extents=extents,
        reductions=tuple(i for i, kind in enumerate(kinds) if kind is IteratorType.REDUCTION),
        input_maps=tuple(maps[:count]),
        output_maps=tuple(maps[count:]),
        output_dtypes=tuple(element_name(value.type) for value in op.outputs),
        steps=steps,
        yields=yields,
    )


def _projection(map_: AffineMap) -> tuple[int, ...]:
    dimensions = []
    for expression in map_.results:
        if isinstance(expression, AffineDimExpr) and expression.position not in dimensions:
            dimensions.append(expression.position)
        elif isinstance(expression, AffineConstantExpr) and expression.value == 0:
            dimensions.append(BROADCAST)
        else:
            raise NotSupported("indexing-map", f"linalg.generic with map {map_}: no projected permutation")
    return tuple(dimensions)


def _extents(shapes, maps, rank: int) -> tuple[Extent, ...]:
    extents: dict[int, Extent] = {}
    for shape, map_ in zip(shapes, maps):
        for extent, dimension in zip(shape, map_):
            if dimension != BROADCAST and extents.setdefault(dimension, extent) != extent:
                raise InvalidArgument(f"iteration dimension {dimension} is {extents[dimension]} and {extent}")
    missing = [d for d in range(rank) if d not in extents]
    if missing:
        raise InvalidArgument(f"iteration dimension {missing[0]} of a linalg.generic has no extent")
    return tuple(extents[d] for d in range(rank))


def _body_steps(op: GenericOp) -> tuple[tuple[ScalarStep, ...], tuple[int, ...]]:
    block = op.body.block
    numbers: dict[SSAValue, int] = {value: number for number, value in enumerate(block.args)}
    steps: list[ScalarStep] = []
    for inner in block.ops:
        operands = tuple(numbers[value] for value in inner.operands)
        if isinstance(inner, YieldOp):
            return tuple(steps), operands
        if isinstance(inner, arith.IndexCastOp):
            numbers[inner.results[0]] = _cast_index(inner, steps, operands[0], len(block.args))
            continue
        numbers[inner.results[0]] = len(block.args) + len(steps)
        steps.append(_step(inner, operands))
    raise InvalidArgument("the body of a linalg.generic has no yield")


def _cast_index(op: Operation, steps: list[ScalarStep], operand: int, first: int) -> int:
    """``index`` is i64 here, so a cast to i64 is the value itself, and another width an integer cast."""
    dtype = element_name(op.results[0].type)
    if dtype in ("i64", "index"):
        return operand
    steps.append(ScalarStep("trunci", (operand,), dtype))
    return first + len(steps) - 1


def _step(op: Operation, operands: tuple[int, ...]) -> ScalarStep:
    if isinstance(op, IndexOp):
        return ScalarStep("index", dtype="i64", dimension=op.dim.value.data)
    if isinstance(op, ExtentOp):
        return ScalarStep("extent", dtype="i64", extent=op.extent())
    name = op.name.split(".")[1]
    if name not in SCALAR_OPERATIONS:
        raise NotSupported(op.name, f"{op.name} in the body of a linalg.generic cannot be evaluated")
    dtype = element_name(op.results[0].type)
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, builtin.IntegerAttr | builtin.FloatAttr), op
        value = op.value.value.data
        return ScalarStep("constant", dtype=dtype, value=stored(value, numpy_dtype(dtype)))
    if isinstance(op, arith.CmpfOp | arith.CmpiOp):
        return ScalarStep(name, operands, predicate=op.predicate.value.data)
    if SCALARS[name].family is Family.CAST:
        return ScalarStep(name, operands, dtype)
    return ScalarStep(name, operands)
