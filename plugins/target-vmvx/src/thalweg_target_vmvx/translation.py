"""From a dispatch to a bytecode function."""

from __future__ import annotations

from thalweg.api import NotSupported
from thalweg.dtypes import numpy_dtype
from thalweg.extents import is_static, static
from thalweg.ir import Dispatch, element_name
from thalweg.ir.attributes import number
from thalweg.ir.dialects.tw import SplatOp, StructuredOp
from thalweg.ir.evaluate import constant_array, generic_form
from thalweg.ir.types import extents_of
from thalweg.semantics import splat
from xdsl.dialects import arith, func, tensor
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Operation, SSAValue

from thalweg_target_vmvx.bytecode import (
    Constant,
    Function,
    Generic,
    Instruction,
    Splat,
    Structured,
    TensorType,
)


def tensor_type_of(value: SSAValue) -> TensorType:
    """Return the register type of a tensor value."""
    return TensorType(element_name(value.type), extents_of(value))


def translate_dispatch(dispatch: Dispatch) -> Function:
    """Translate a dispatch to one function.

    :raises NotSupported: naming an op that the bytecode does not have.
    """
    translator = _Translator(dispatch)
    for op in dispatch.function.body.block.ops:
        if not isinstance(op, func.ReturnOp):
            translator.add(op)
    return Function(
        dispatch.name,
        tuple(tensor_type_of(value) for value in dispatch.operands),
        tuple(tensor_type_of(value) for value in dispatch.results),
        tuple(translator.instructions),
        tuple(translator.register(value) for value in dispatch.results),
        dispatch.dimensions,
    )


def _splat(op: SplatOp) -> Constant | Splat:
    type_ = tensor_type_of(op.result)
    dtype = numpy_dtype(type_.dtype)
    if is_static(type_.shape):
        return Constant(splat(value=number(op.value), shape=static(type_.shape), dtype=dtype))
    return Splat(splat(value=number(op.value), shape=(), dtype=dtype), type_)


class _Translator:
    def __init__(self, dispatch: Dispatch):
        self.name = dispatch.name
        self.instructions: list[Instruction] = []
        self._registers: dict[SSAValue, int] = {value: i for i, value in enumerate(dispatch.operands)}
        self._count = len(self._registers)
        self._constants: dict[SSAValue, Constant | Splat] = {}

    def register(self, value: SSAValue) -> int:
        """Return the register that holds ``value``; a constant gets its instruction at its first use."""
        if value in self._constants:
            self._emit(self._constants.pop(value), (value,))
        if value not in self._registers:
            raise NotSupported("undefined-tensor", f"vmvx: dispatch {self.name} reads a tensor.empty")
        return self._registers[value]

    def add(self, op: Operation) -> None:
        """Append the instruction of one op."""
        if isinstance(op, arith.ConstantOp):
            self._constants[op.results[0]] = Constant(constant_array(op.value, {}))
        elif isinstance(op, SplatOp):
            self._constants[op.result] = _splat(op)
        elif isinstance(op, tensor.EmptyOp):
            return
        elif isinstance(op, StructuredOp):
            operands = tuple(self.register(value) for value in op.operands)
            name, result = op.name.removeprefix("tw."), tensor_type_of(op.results[0])
            self._emit(Structured(name, operands, op.parameters(), result), op.results)
        elif isinstance(op, GenericOp):
            self._add_generic(op)
        else:
            raise NotSupported(op.name, f"vmvx: dispatch {self.name} has an op without bytecode: {op.name}")

    def _add_generic(self, op: GenericOp) -> None:
        form = generic_form(op)
        inputs = tuple(self.register(value) for value in op.inputs)
        initial: tuple[int | None, ...] = (None,) * len(op.outputs)
        if form.reads_outputs:
            initial = tuple(self.register(value) for value in op.outputs)
        self._emit(Generic(form, inputs, initial), op.results)

    def _emit(self, instruction: Instruction, results) -> None:
        self.instructions.append(instruction)
        for value in results:
            self._registers[value] = self._count
            self._count += 1
