"""The ``tw`` dialect: structured tensor ops that linalg lacks.

All are pure, on ranked tensors whose dimensions are numbers or expressions (``extents_of``). Elementwise
maps, broadcasts, transposes and plain reductions are ``linalg.generic``. What each op means is defined by the
NumPy function of the same name in ``thalweg.semantics``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IntegerAttr, StringAttr, TensorType, i64
from xdsl.ir import Attribute, Dialect, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from thalweg.extents import Expression, Extent, parse
from thalweg.ir.attributes import i64_array, number, read_extents
from thalweg.ir.types import extents_of

ANY_TENSOR = TensorType


class StructuredOp(IRDLOperation):
    """Base of the ops of this dialect; ``parameters()`` gives the attributes as plain Python values."""

    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)

    def parameters(self) -> dict[str, int | float | str | tuple[Extent, ...]]:
        """Return property name → int, float, str or tuple of int, as ``thalweg.semantics`` takes them; an
        offset of a slice may be an expression.
        """
        values: dict[str, int | float | str | tuple[Extent, ...]] = {}
        for name, attribute in sorted(self.properties.items()):
            if name == "operandSegmentSizes":
                continue
            if isinstance(attribute, DenseArrayBase | ArrayAttr):
                values[name] = read_extents(attribute)
            elif isinstance(attribute, StringAttr):
                values[name] = attribute.data
            else:
                values[name] = number(attribute)
        return values

    @classmethod
    def create_from(
        cls,
        operands: Sequence[SSAValue | Sequence[SSAValue]],
        result: Attribute,
        properties: dict[str, Attribute],
    ) -> Self:
        """Build the op from operands in definition order, its result type and its properties."""
        return cls.build(operands=operands, result_types=[result], properties=properties)

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            raise VerifyException(f"{self.name}: {message}")


_ASSEMBLY = "attr-dict `:` functional-type(operands, results)"


@irdl_op_definition
class MatmulOp(StructuredOp):
    """Batched matrix product: ``a`` [..., m, k] × ``b`` [..., k, n] → [..., m, n]; leading dimensions
    broadcast.
    """

    name = "tw.matmul"
    a = operand_def(ANY_TENSOR)
    b = operand_def(ANY_TENSOR)
    result = result_def(ANY_TENSOR)
    assembly_format = "$a `,` $b " + _ASSEMBLY

    def verify_(self) -> None:
        a, b = extents_of(self.a), extents_of(self.b)
        self._require(len(a) >= 2 and len(a) == len(b) and a[-1] == b[-2], f"cannot multiply {a} by {b}")


@irdl_op_definition
class ConvOp(StructuredOp):
    """Convolution: ``x`` [n, c, spatial…], ``w`` [o, c/groups, kernel…] → [n, o, out…].

    ``pads_low`` and ``pads_high`` are zeros before and after each spatial dimension.
    """

    name = "tw.conv"
    x = operand_def(ANY_TENSOR)
    w = operand_def(ANY_TENSOR)
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    pads_low = prop_def(DenseArrayBase)
    pads_high = prop_def(DenseArrayBase)
    groups = prop_def(IntegerAttr)
    result = result_def(ANY_TENSOR)
    assembly_format = "$x `,` $w " + _ASSEMBLY

    def verify_(self) -> None:
        x, w = extents_of(self.x), extents_of(self.w)
        rank, groups = len(x), self.groups.value.data
        self._require(rank == len(w) and rank >= 3, f"ranks of {x} and {w}")
        self._require(
            x[1] == w[1] * groups and w[0] % groups == 0, f"channels of {x}, {w} in {groups} groups"
        )


@irdl_op_definition
class ReduceWindowOp(StructuredOp):
    """Reduce a sliding window over every dimension of ``x``: ``kind`` is ``max`` (padded with the least
    value) or ``sum`` (padded with 0). One entry per dimension in each array.
    """

    name = "tw.reduce_window"
    x = operand_def(ANY_TENSOR)
    kind = prop_def(StringAttr)
    window = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    pads_low = prop_def(DenseArrayBase)
    pads_high = prop_def(DenseArrayBase)
    result = result_def(ANY_TENSOR)
    assembly_format = "$x " + _ASSEMBLY

    def verify_(self) -> None:
        self._require(self.kind.data in ("max", "sum"), f"unknown kind {self.kind.data!r}")


@irdl_op_definition
class SoftmaxOp(StructuredOp):
    """``exp(x - max) / sum(exp(x - max))`` along ``axis``."""

    name = "tw.softmax"
    x = operand_def(ANY_TENSOR)
    axis = prop_def(IntegerAttr)
    result = result_def(ANY_TENSOR)
    assembly_format = "$x " + _ASSEMBLY


@irdl_op_definition
class LayerNormOp(StructuredOp):
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over the dimensions from ``axis`` on.

    ``scale`` and ``bias`` have the shape of those dimensions.
    """

    name = "tw.layer_norm"
    x = operand_def(ANY_TENSOR)
    scale = operand_def(ANY_TENSOR)
    bias = operand_def(ANY_TENSOR)
    axis = prop_def(IntegerAttr)
    epsilon = prop_def(AnyAttr())
    result = result_def(ANY_TENSOR)
    assembly_format = "$x `,` $scale `,` $bias " + _ASSEMBLY


@irdl_op_definition
class GatherOp(StructuredOp):
    """Take slices of ``data`` along ``axis`` at ``indices`` (i32 or i64; negative counts from the end).

    Result shape: data[:axis] + indices + data[axis+1:]. An index out of range fails the kernel.
    """

    name = "tw.gather"
    data = operand_def(ANY_TENSOR)
    indices = operand_def(ANY_TENSOR)
    axis = prop_def(IntegerAttr)
    result = result_def(ANY_TENSOR)
    assembly_format = "$data `[` $indices `]` " + _ASSEMBLY


@irdl_op_definition
class ConcatOp(StructuredOp):
    """Concatenate along ``axis``."""

    name = "tw.concat"
    inputs = var_operand_def(ANY_TENSOR)
    axis = prop_def(IntegerAttr)
    result = result_def(ANY_TENSOR)
    assembly_format = "$inputs " + _ASSEMBLY


@irdl_op_definition
class SliceOp(StructuredOp):
    """``x[offset : offset + size·stride : stride]`` in every dimension; strides may be negative."""

    name = "tw.slice"
    x = operand_def(ANY_TENSOR)
    offsets = prop_def(AnyAttr())
    strides = prop_def(DenseArrayBase)
    result = result_def(ANY_TENSOR)
    assembly_format = "$x " + _ASSEMBLY

    def offset_extents(self) -> tuple[Extent, ...]:
        """Return the offsets; those that depend on the call are expressions."""
        return read_extents(self.offsets)


@irdl_op_definition
class PadOp(StructuredOp):
    """Add ``low`` and ``high`` elements of ``value`` (a scalar attribute) around each dimension; all ≥ 0."""

    name = "tw.pad"
    x = operand_def(ANY_TENSOR)
    low = prop_def(DenseArrayBase)
    high = prop_def(DenseArrayBase)
    value = prop_def(AnyAttr())
    result = result_def(ANY_TENSOR)
    assembly_format = "$x " + _ASSEMBLY


@irdl_op_definition
class ReshapeOp(StructuredOp):
    """Row-major reshape; costs nothing."""

    name = "tw.reshape"
    x = operand_def(ANY_TENSOR)
    result = result_def(ANY_TENSOR)
    assembly_format = "$x " + _ASSEMBLY


@irdl_op_definition
class SplatOp(StructuredOp):
    """A tensor of one repeated ``value`` (a scalar attribute): what ``arith.constant dense<…>`` is for static
    shapes.
    """

    name = "tw.splat"
    value = prop_def(AnyAttr())
    result = result_def(ANY_TENSOR)
    assembly_format = "attr-dict `:` type($result)"


OPERATIONS: list[type[StructuredOp]] = [
    MatmulOp,
    ConvOp,
    ReduceWindowOp,
    SoftmaxOp,
    LayerNormOp,
    GatherOp,
    ConcatOp,
    SliceOp,
    PadOp,
    ReshapeOp,
    SplatOp,
]


@irdl_op_definition
class ExtentOp(IRDLOperation):
    """Inside the body of a ``linalg.generic``: the value (i64) of an extent, given as text."""

    name = "tw.extent"
    value = prop_def(StringAttr)
    result = result_def(i64)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict `:` type($result)"

    @classmethod
    def of(cls, extent: Expression) -> Self:
        """Build the op."""
        return cls.build(result_types=[i64], properties={"value": StringAttr(str(extent))})

    def extent(self) -> Extent:
        """Return the extent."""
        return parse(self.value.data)


TW = Dialect("tw", [*OPERATIONS, ExtentOp])

__all__ = [
    "TW", "ConcatOp", "ConvOp", "ExtentOp", "GatherOp", "LayerNormOp", "MatmulOp", "PadOp",
    "ReduceWindowOp", "ReshapeOp", "SliceOp", "SoftmaxOp", "SplatOp", "StructuredOp", "i64_array",
]  # fmt: skip
