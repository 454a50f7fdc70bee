"""Planning: the target backend is asked about every kernel before memory is laid out, and constants are
packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects import arith, func
from xdsl.ir import Attribute, SSAValue

from thalweg.codegen.packing import Packing
from thalweg.codegen.target import DispatchPlan, KernelSource, TargetBackend, TargetConfiguration
from thalweg.compiler.diagnosis import describe_kernel
from thalweg.compiler.passes.rewriting import (
    constant_array,
    constant_identity,
    constant_op,
    make_constant,
    parent_block,
    resource_name,
    source_name,
)
from thalweg.errors import CompileError, NotSupported, ThalwegError
from thalweg.extents import dimension
from thalweg.ir import Dispatch
from thalweg.ir.attributes import extents_attribute
from thalweg.ir.dialects.host import DispatchOp
from thalweg.ir.program import Program


@dataclass
class PlannedProgram:
    """A program in phase ``flow`` whose dispatches are planned; ``plans`` by kernel name, in order."""

    program: Program
    plans: dict[str, DispatchPlan] = field(default_factory=dict)
    sources: dict[str, KernelSource] = field(default_factory=dict)


def kernels(program: Program) -> dict[str, func.FuncOp]:
    """Return the outlined kernel functions by name."""
    return {f.sym_name.data: f for f in program.functions() if f.sym_visibility is not None}


def plan_dispatches(program: Program, target: TargetBackend, config: TargetConfiguration) -> PlannedProgram:
    """Ask for a plan for each kernel, set workgroup counts, and pack the constants as the plans ask.

    :raises CompileError: the backend cannot do a dispatch; names the source node and the kernel.
    """
    planned = PlannedProgram(program)
    functions = kernels(program)
    packed: dict[tuple[str, Packing], SSAValue] = {}
    push_constants: dict[str, Attribute] = {}
    for op in list(program.module.walk()):
        if not isinstance(op, DispatchOp):
            continue
        name = op.callee.root_reference.data
        if name not in planned.plans:
            constants = frozenset(
                i for i, v in enumerate(op.arguments) if isinstance(v.owner, arith.ConstantOp)
            )
            dispatch = Dispatch(functions[name], constants)
            plan = _plan(dispatch, op, target, config)
            shapes = {i: packing.shape for i, packing in plan.packings.items()}
            planned.plans[name] = plan
            planned.sources[name] = KernelSource(
                name, dispatch.text(), plan.kernel, shapes, node=source_name(op) or ""
            )
            if dispatch.dimensions:
                push_constants[name] = extents_attribute([dimension(d) for d in dispatch.dimensions])
        plan = planned.plans[name]
        op.properties["workgroup_count"] = extents_attribute(plan.kernel.workgroup_count)
        if name in push_constants:
            op.properties["constants"] = push_constants[name]
        _pack_operands(op, plan.packings, program, packed)
    _drop_unused_constants(program)
    return planned


def _plan(
    dispatch: Dispatch, op: DispatchOp, target: TargetBackend, config: TargetConfiguration
) -> DispatchPlan:
    try:
        return target.plan(dispatch, config)
    except NotSupported as error:
        where = describe_kernel(dispatch.name, source_name(op) or "")
        raise CompileError(
            f"target backend {config.backend!r} cannot compile {where}: {error}; try another --target-backend"
        ) from None


def _pack_operands(
    op: DispatchOp,
    packings: Mapping[int, Packing],
    program: Program,
    packed: dict[tuple[str, Packing], SSAValue],
) -> None:
    for index, packing in sorted(packings.items()):
        value = op.arguments[index]
        array = constant_array(value, program)
        if array is None:
            raise ThalwegError(f"operand {index} of {op.callee} is to be packed but is not a constant")
        key = (constant_identity(constant_op(value)), packing)
        if key not in packed:
            constant = make_constant(np.ascontiguousarray(packing.apply(array)), program, "packed")
            parent_block(op).insert_op_before(constant, op)
            packed[key] = constant.result
        op.operands[index] = packed[key]


def _drop_unused_constants(program: Program) -> None:
    for op in reversed(list(program.module.walk())):
        if isinstance(op, arith.ConstantOp) and not op.result.uses and op.parent_op() is not None:
            if (name := resource_name(op)) is not None:
                program.resources.pop(name, None)
            op.detach()
            op.erase()
