"""The dialects of the later phases: ``flow`` (dispatches), ``stream`` (memory and time), ``hal`` and ``vm``
(the host program).

``flow`` works on tensor values. From ``stream`` on a function has no tensors: it declares *slots* (constants,
the transient arena, inputs, outputs) and runs commands on byte ranges of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TensorType,
    i64,
)
from xdsl.ir import Attribute, Dialect, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
    var_result_def,
)

from thalweg.errors import InvalidArgument
from thalweg.extents import Extent, parse
from thalweg.ir.attributes import extents_attribute, i64_array, number


@irdl_op_definition
class DispatchOp(IRDLOperation):
    """Run the kernel function ``callee`` on tensors. Planning adds ``workgroup_count`` [x, y, z] and
    ``constants``, the values of the dynamic dimensions that the kernel needs; both are extents.
    """

    name = "flow.dispatch"
    arguments = var_operand_def(TensorType)
    results_ = var_result_def(TensorType)
    callee = prop_def(SymbolRefAttr)
    workgroup_count = opt_prop_def(AnyAttr())
    constants = opt_prop_def(AnyAttr())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$callee `(` $arguments `)` attr-dict `:` functional-type($arguments, $results_)"


@irdl_attr_definition
class SlotType(ParametrizedAttribute, TypeAttribute):
    """Memory that is placed when a function is loaded or called."""

    name = "stream.slot"


class SlotOpBase(IRDLOperation):
    """Declares a slot: ``kind`` constant, transient, input or output; ``index`` among its kind; ``size`` in
    bytes, an extent; ``lifetime``, of a transient buffer of a dynamic function: its first and last epoch.
    """

    kind = prop_def(StringAttr)
    index = prop_def(IntegerAttr)
    size = prop_def(AnyAttr())
    resource = opt_prop_def(StringAttr)
    lifetime = opt_prop_def(DenseArrayBase)
    result = result_def(SlotType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict `:` type($result)"

    @classmethod
    def make(
        cls,
        kind: str,
        index: int,
        size: Extent,
        resource: str | None = None,
        lifetime: tuple[int, int] | None = None,
    ) -> SlotOpBase:
        """Build the op; ``resource`` names the constant."""
        properties: dict[str, Attribute | None] = {
            "kind": StringAttr(kind), "index": IntegerAttr(index, i64),
            "size": IntegerAttr(size, i64) if isinstance(size, int) else StringAttr(str(size)),
            "resource": StringAttr(resource) if resource is not None else None,
            "lifetime": i64_array(lifetime) if lifetime is not None else None,
        }  # fmt: skip
        return cls.build(result_types=[SlotType()], properties=properties)

    def size_extent(self) -> Extent:
        """Return the size in bytes."""
        return parse(self.size.data) if isinstance(self.size, StringAttr) else int(number(self.size))


class CommandOpBase(IRDLOperation):
    """A command on byte ranges: operand ``i`` is ``lengths[i]`` bytes at ``offsets[i]`` of its slot.

    ``access[i]`` is ``r``, ``w`` or ``rw``. ``callee`` is a kernel's name; in ``hal`` and ``vm`` it is also
    numbered (``entry`` = [executable, function]). Offsets, lengths, ``workgroup_count`` and ``constants`` are
    extents.
    """

    slots = var_operand_def(SlotType)
    offsets = prop_def(AnyAttr())
    lengths = prop_def(AnyAttr())
    access = prop_def(ArrayAttr[StringAttr])
    callee = opt_prop_def(StringAttr)
    entry = opt_prop_def(DenseArrayBase)
    workgroup_count = opt_prop_def(AnyAttr())
    constants = opt_prop_def(AnyAttr())
    pattern = opt_prop_def(AnyAttr())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "`(` $slots `)` attr-dict `:` type($slots)"

    def callee_name(self) -> str:
        """Return the name of the kernel that this dispatches.

        :raises InvalidArgument: it names none.
        """
        if self.callee is None:
            raise InvalidArgument(f"{self.name} names no callee")
        return self.callee.data

    @classmethod
    def make(
        cls,
        slots: Sequence[SSAValue],
        offsets: Sequence[Extent],
        lengths: Sequence[Extent],
        access: Sequence[str],
        **properties: Attribute,
    ) -> CommandOpBase:
        """Build the op."""
        return cls.build(
            operands=[list(slots)],
            properties={
                "offsets": extents_attribute(offsets), "lengths": extents_attribute(lengths),
                "access": ArrayAttr([StringAttr(a) for a in access]), **properties,
            },
        )  # fmt: skip


class BarrierOpBase(IRDLOperation):
    """What stands before ends before what stands after starts."""

    assembly_format = "attr-dict"


@irdl_op_definition
class StreamSlotOp(SlotOpBase):
    name = "stream.declare"


@irdl_op_definition
class StreamDispatchOp(CommandOpBase):
    name = "stream.dispatch"


@irdl_op_definition
class StreamCopyOp(CommandOpBase):
    name = "stream.copy"


@irdl_op_definition
class StreamBarrierOp(BarrierOpBase):
    name = "stream.barrier"


@irdl_op_definition
class HalSlotOp(SlotOpBase):
    name = "hal.binding_slot"


@irdl_op_definition
class HalDispatchOp(CommandOpBase):
    name = "hal.command_buffer.dispatch"


@irdl_op_definition
class HalCopyOp(CommandOpBase):
    name = "hal.command_buffer.copy"


@irdl_op_definition
class HalBarrierOp(BarrierOpBase):
    name = "hal.command_buffer.execution_barrier"


@irdl_op_definition
class VmFunctionOp(IRDLOperation):
    """One function of the stored host program, in the encoding that the module file holds (JSON)."""

    name = "vm.function"
    sym_name = prop_def(StringAttr)
    program = prop_def(StringAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict"


FLOW = Dialect("flow", [DispatchOp])
STREAM = Dialect("stream", [StreamSlotOp, StreamDispatchOp, StreamCopyOp, StreamBarrierOp], [SlotType])
HAL = Dialect("hal", [HalSlotOp, HalDispatchOp, HalCopyOp, HalBarrierOp])
VM = Dialect("vm", [VmFunctionOp])
