"""Builders that importers and passes use to write the IR of phase ``input``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects import arith, builtin, func, math, tensor
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineMap

from thalweg.dtypes import dtype_name
from thalweg.errors import InvalidArgument
from thalweg.extents import Extent, broadcast_shapes, is_static, static
from thalweg.ir.attributes import extents_attribute
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.program import Program
from thalweg.ir.signatures import name_attributes, set_limits
from thalweg.ir.types import element_name, element_type, element_type_of, extents_of, tensor_type
from thalweg.module.program import Limit

INLINE_CONSTANT_LIMIT = 16
"""Constants of at most this many elements are printed in the text; larger ones are resources."""

_CMPF = {
    "false": 0,
    "oeq": 1,
    "ogt": 2,
    "oge": 3,
    "olt": 4,
    "ole": 5,
    "one": 6,
    "ord": 7,
    "ueq": 8,
    "une": 13,
}
_CMPI = {"eq": 0, "ne": 1, "slt": 2, "sle": 3, "sgt": 4, "sge": 5, "ult": 6, "ule": 7, "ugt": 8, "uge": 9}

_BINARY: dict[str, Callable[[SSAValue, SSAValue], Operation]] = {
    op.name.split(".")[1]: op
    for op in (
        arith.AddfOp, arith.SubfOp, arith.MulfOp, arith.DivfOp, arith.MaximumfOp, arith.MinimumfOp,
        arith.AddiOp, arith.SubiOp, arith.MuliOp, arith.DivSIOp, arith.RemSIOp, arith.MaxSIOp, arith.MinSIOp,
        arith.AndIOp, arith.OrIOp, arith.XOrIOp, math.PowFOp,
    )
}  # fmt: skip
_UNARY: dict[str, Callable[[SSAValue], Operation]] = {
    op.name.split(".")[1]: op
    for op in (
        math.ExpOp, math.LogOp, math.TanhOp, math.ErfOp, math.SqrtOp, math.RsqrtOp, math.AbsFOp, math.AbsIOp,
        math.CeilOp, math.FloorOp, math.RoundEvenOp, math.SinOp, math.CosOp, arith.NegfOp,
    )
}  # fmt: skip
_CASTS: dict[str, Callable[[SSAValue, Any], Operation]] = {
    op.name.split(".")[1]: op
    for op in (
        arith.SIToFPOp, arith.UIToFPOp, arith.FPToSIOp, arith.FPToUIOp, arith.ExtFOp, arith.TruncFOp,
        arith.ExtSIOp, arith.ExtUIOp, arith.TruncIOp,
    )
}  # fmt: skip

SCALAR_OPERATIONS = (
    frozenset(_BINARY) | frozenset(_UNARY) | frozenset(_CASTS) | {"cmpf", "cmpi", "select", "constant"}
)
"""What the body of a ``linalg.generic`` may hold (with ``linalg.index``); every target must lower these, and
``tw.extent`` if it takes dynamic dimensions."""


class ScalarBuilder:
    """Writes the scalar body of a ``linalg.generic``.

    Every arith or math op is a method named as in MLIR (``s.addf(x, y)``, ``s.exp(x)``, ``s.sitofp(x,
    "f32")``).
    """

    def __init__(self, block: Block):
        self._block = block

    def _add(self, op: Operation) -> SSAValue:
        self._block.add_op(op)
        return op.results[0]

    def __getattr__(self, name: str) -> Callable[..., SSAValue]:
        if name in _BINARY:
            return lambda a, b: self._add(_BINARY[name](a, b))
        if name in _UNARY:
            return lambda a: self._add(_UNARY[name](a))
        if name in _CASTS:
            return lambda a, dtype: self._add(_CASTS[name](a, element_type(dtype)))
        raise AttributeError(f"no scalar operation named {name!r}")

    def constant(self, value: float | int | bool, dtype: str) -> SSAValue:
        """A scalar constant of element type ``dtype``."""
        return self._add(arith.ConstantOp(scalar_attribute(value, dtype)))

    def extent(self, extent: Extent) -> SSAValue:
        """An extent (i64): a constant, or what the dimensions make of it at the call."""
        return self.constant(extent, "i64") if isinstance(extent, int) else self._add(tw.ExtentOp.of(extent))

    def count(self, extent: Extent, dtype: str) -> SSAValue:
        """An extent as a float of type ``dtype``."""
        if isinstance(extent, int):
            return self.constant(extent, dtype)
        return self.sitofp(self.extent(extent), dtype)

    def cmpf(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """Compare floats: ``oeq``, ``ogt``, ``oge``, ``olt``, ``ole``, ``one``, ``une``."""
        return self._add(arith.CmpfOp(a, b, _CMPF[predicate]))

    def cmpi(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """Compare integers: ``eq``, ``ne``, ``slt``, ``sle``, ``sgt``, ``sge``, ``ult``, …"""
        return self._add(arith.CmpiOp(a, b, _CMPI[predicate]))

    def select(self, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
        """``a`` where ``condition`` (i1), else ``b``."""
        return self._add(arith.SelectOp(condition, a, b))

    def index(self, dimension: int) -> SSAValue:
        """The index (i64) of an iteration dimension."""
        raw = self._add(linalg.IndexOp(dimension))
        return self._add(arith.IndexCastOp(raw, builtin.i64))


ScalarFunction = Callable[..., SSAValue]
"""(ScalarBuilder, one scalar per operand…) → the result scalar."""


class FunctionBuilder:
    """Builds one function on tensors, op after op; each method returns the new value.

    :param inputs: (name, shape, dtype) of each argument.
    :param resources: shared by the functions of a program; large constants are put there.

    Set ``source`` to the model's node name; ops made after carry it as ``tw.source`` for diagnostics.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[tuple[str, Sequence[Extent], str]],
        resources: dict[str, np.ndarray] | None = None,
    ):
        self.name = name
        self.source = ""
        self.resources: dict[str, np.ndarray] = {} if resources is None else resources
        self._inputs = list(inputs)
        self._limits: list[Limit] = []
        self.block = Block(arg_types=[tensor_type(shape, dtype) for _, shape, dtype in inputs])
        self._constants: dict[tuple[str, tuple[int, ...], bytes], SSAValue] = {}

    @property
    def arguments(self) -> tuple[SSAValue, ...]:
        """The function's arguments."""
        return tuple(self.block.args)

    def add(self, op: Operation) -> SSAValue:
        """Append an op; returns its first result."""
        if self.source:
            op.attributes["tw.source"] = builtin.StringAttr(self.source)
        self.block.add_op(op)
        return op.results[0]

    def limit(self, extent: Extent, maximum: int, reason: str) -> None:
        """Say that the program is right only where ``extent`` is at most ``maximum``; the call checks it.

        :param reason: what the maximum is, for the message.
        :raises InvalidArgument: the extent is a number, and larger.
        """
        if isinstance(extent, int):
            if extent > maximum:
                raise InvalidArgument(f"{extent} exceeds {reason or 'the limit'}={maximum}")
            return
        self._limits.append(Limit(extent, maximum, reason))

    # -- constants -------------------------------------------------------------------------------------------

    def constant(self, array: np.ndarray, name: str | None = None) -> SSAValue:
        """A constant tensor. ``name`` is the resource's (made unique); small arrays are held in the text."""
        array = np.asarray(array, order="C")
        dtype = dtype_name(array.dtype)
        if array.size <= INLINE_CONSTANT_LIMIT:
            key = (dtype, array.shape, array.tobytes())
            if key not in self._constants:
                self._constants[key] = self.add(arith.ConstantOp(dense_attribute(array)))
            return self._constants[key]
        handle = unique_resource_name(self.resources, name or "constant")
        self.resources[handle] = array
        type_ = tensor_type(array.shape, dtype)
        return self.add(arith.ConstantOp(builtin.DenseResourceAttr.from_params(handle, type_)))

    # -- linalg.generic --------------------------------------------------------------------------------------

    def elementwise(
        self, operands: Sequence[SSAValue], body: ScalarFunction, dtype: str | None = None
    ) -> SSAValue:
        """Apply ``body`` to each element of the operands, broadcast against each other as NumPy does.

        :param dtype: the result's element type; that of the first operand if left out.
        """
        shapes = [extents_of(v) for v in operands]
        result_shape = broadcast_shapes(shapes)
        maps = [broadcast_map(shape, result_shape) for shape in shapes]
        return self._generic(operands, maps, result_shape, dtype or element_name(operands[0].type), body)

    def transpose(self, x: SSAValue, permutation: Sequence[int]) -> SSAValue:
        """``result.shape[i] == x.shape[permutation[i]]``."""
        if list(permutation) == list(range(len(permutation))):
            return x
        shape = extents_of(x)
        position = {axis: i for i, axis in enumerate(permutation)}
        map_ = AffineMap(len(shape), 0, tuple(AffineDimExpr(position[axis]) for axis in range(len(shape))))
        result_shape = [shape[axis] for axis in permutation]
        return self._generic([x], [map_], result_shape, element_name(x.type), lambda s, v: v)

    def broadcast_to(self, x: SSAValue, shape: Sequence[Extent]) -> SSAValue:
        """Broadcast as NumPy does."""
        if tuple(shape) == extents_of(x):
            return x
        map_ = broadcast_map(extents_of(x), shape)
        return self._generic([x], [map_], shape, element_name(x.type), lambda s, v: v)

    def generate(self, shape: Sequence[Extent], dtype: str, body: ScalarFunction) -> SSAValue:
        """A tensor whose elements ``body(s)`` computes from ``s.index(dimension)``."""
        return self._generic([], [], shape, dtype, body)

    def reduce(
        self,
        operands: Sequence[SSAValue],
        axes: Sequence[int],
        initial: float | int,
        body: ScalarFunction,
        dtype: str | None = None,
        keepdims: bool = False,
    ) -> SSAValue:
        """Reduce over ``axes``: ``body(s, one scalar per operand…, accumulator)`` returns the new
        accumulator.

        All operands have one shape. ``body`` must be associative and commutative in the accumulator.
        """
        shape = extents_of(operands[0])
        axes = sorted(axis % len(shape) for axis in axes)
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        identity = AffineMap.identity(len(shape))
        output = AffineMap(len(shape), 0, tuple(AffineDimExpr(axis) for axis in kept))
        iterators = ["reduction" if axis in axes else "parallel" for axis in range(len(shape))]
        dtype = dtype or element_name(operands[0].type)
        result_shape = [shape[axis] for axis in kept]
        init = self.splat(initial, result_shape, dtype)
        result = self._emit_generic(operands, [identity] * len(operands), init, output, iterators, body, True)
        if keepdims:
            result = self.reshape(result, [1 if axis in axes else shape[axis] for axis in range(len(shape))])
        return result

    def splat(self, value: float | int, shape: Sequence[Extent], dtype: str) -> SSAValue:
        """A tensor of one repeated value."""
        if is_static(shape):
            return self.add(arith.ConstantOp(splat_attribute(value, static(shape), dtype)))
        attribute = scalar_attribute(value, dtype)
        return self.add(tw.SplatOp.create_from([], tensor_type(shape, dtype), {"value": attribute}))

    def _generic(self, operands, maps, shape, dtype, body) -> SSAValue:
        init = self.add(tensor.EmptyOp([], tensor_type(shape, dtype)))
        iterators = ["parallel"] * len(shape)
        return self._emit_generic(
            operands, maps, init, AffineMap.identity(len(shape)), iterators, body, False
        )

    def _emit_generic(self, operands, maps, init, output_map, iterators, body, pass_accumulator) -> SSAValue:
        scalars = [element_type_of(v) for v in operands]
        block = Block(arg_types=[*scalars, element_type_of(init)])
        arguments = block.args if pass_accumulator else block.args[:-1]
        block.add_op(linalg.YieldOp(body(ScalarBuilder(block), *arguments)))
        return self.add(
            linalg.GenericOp(
                list(operands), [init], Region(block),
                [builtin.AffineMapAttr(m) for m in (*maps, output_map)],
                [linalg.IteratorTypeAttr(linalg.IteratorType(name)) for name in iterators],
                [init.type],
            )
        )  # fmt: skip

    # -- structured ops --------------------------------------------------------------------------------------

    def reshape(self, x: SSAValue, shape: Sequence[Extent]) -> SSAValue:
        """Row-major reshape to ``shape``."""
        if tuple(shape) == extents_of(x):
            return x
        return self.structured(tw.ReshapeOp, [x], shape)

    def structured(
        self,
        op: type[tw.StructuredOp],
        operands: Sequence[Any],
        shape: Sequence[Extent],
        dtype: str | None = None,
        **properties: Any,
    ) -> SSAValue:
        """Append a ``tw`` op with result ``shape``; properties are ints, floats, strings or sequences of int.

        A float property named ``value`` or ``epsilon`` is stored as f64. Variadic operands are a nested
        sequence.
        """
        first = operands[0][0] if isinstance(operands[0], (list, tuple)) else operands[0]
        result = tensor_type(shape, dtype or element_name(first.type))
        attributes = {name: _attribute(value) for name, value in properties.items()}
        return self.add(op.create_from(operands, result, attributes))

    # -- end -------------------------------------------------------------------------------------------------

    def finish(self, outputs: Sequence[tuple[str, SSAValue]]) -> func.FuncOp:
        """End the function: returns (name, value) pairs, and gives back the ``func.func``."""
        values = [value for _, value in outputs]
        self.block.add_op(func.ReturnOp(*values))
        types = ([arg.type for arg in self.block.args], [value.type for value in values])
        function = func.FuncOp(
            self.name, types, Region(self.block),
            arg_attrs=name_attributes([name for name, _, _ in self._inputs]),
            res_attrs=name_attributes([name for name, _ in outputs]),
        )  # fmt: skip
        set_limits(function, self._limits)
        return function

    def program(self, outputs: Sequence[tuple[str, SSAValue]]) -> Program:
        """End the function and return a program with it alone."""
        return Program(builtin.ModuleOp([self.finish(outputs)]), self.resources)


def broadcast_map(shape: Sequence[Extent], result_shape: Sequence[Extent]) -> AffineMap:
    """Return the indexing map of an operand of ``shape`` broadcast to ``result_shape``."""
    lead = len(result_shape) - len(shape)
    results = tuple(
        AffineConstantExpr(0) if extent == 1 and result_shape[lead + i] != 1 else AffineDimExpr(lead + i)
        for i, extent in enumerate(shape)
    )
    return AffineMap(len(result_shape), 0, results)


def dense_attribute(array: np.ndarray) -> builtin.DenseIntOrFPElementsAttr:
    """Return ``dense<…>`` with the elements of a small array."""
    return _dense(array.ravel(), array.shape, dtype_name(array.dtype))


def splat_attribute(value: float | int, shape: Sequence[int], dtype: str) -> builtin.DenseIntOrFPElementsAttr:
    """Return ``dense<value>`` of the given shape."""
    return _dense([value], shape, dtype)


def _dense(values: Iterable[Any], shape: Sequence[int], dtype: str) -> builtin.DenseIntOrFPElementsAttr:
    type_ = element_type(dtype)
    if isinstance(type_, builtin.IntegerType):
        integers = [int(value) for value in values]
        return builtin.DenseIntOrFPElementsAttr.from_list(builtin.TensorType(type_, list(shape)), integers)
    floats = [float(value) for value in values]
    return builtin.DenseIntOrFPElementsAttr.from_list(builtin.TensorType(type_, list(shape)), floats)


def scalar_attribute(value: float | int | bool, dtype: str) -> builtin.IntegerAttr | builtin.FloatAttr:
    """Return a scalar as an attribute of element type ``dtype``."""
    type_ = element_type(dtype)
    if isinstance(type_, builtin.IntegerType):
        return builtin.IntegerAttr(int(value), type_)
    return builtin.FloatAttr(float(value), type_)


def unique_resource_name(resources: dict[str, np.ndarray], name: str) -> str:
    """Return ``name``, made an MLIR identifier and unique among ``resources``."""
    stem = "".join(c if c.isalnum() or c in "_$." else "_" for c in name)
    if not stem or not (stem[0].isalpha() or stem[0] == "_"):
        stem = "_" + stem
    candidate, count = stem, 0
    while candidate in resources:
        count += 1
        candidate = f"{stem}_{count}"
    return candidate


def _attribute(value: Any) -> Any:
    if isinstance(value, str):
        return builtin.StringAttr(value)
    if isinstance(value, bool | int | np.integer):
        return builtin.IntegerAttr(int(value), builtin.i64)
    if isinstance(value, float | np.floating):
        return builtin.FloatAttr(float(value), builtin.f64)
    return extents_attribute(value)
