"""What the compiler tells tools about a variant: each kernel's IR and work, each dispatch's nodes."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.ir import SSAValue

from thalweg.codegen.target import DispatchPlan
from thalweg.compiler.passes.rewriting import source_name
from thalweg.compiler.planning import PlannedProgram, kernels
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.dialects.host import HalDispatchOp
from thalweg.ir.operation_count import count_operations
from thalweg.ir.program import Program
from thalweg.module.debug_info import BindingInfo, DebugInfo, KernelInfo


def kernel_infos(planned: PlannedProgram) -> tuple[KernelInfo, ...]:
    """Return what there is to know of each kernel; ``planned`` is in a phase that still has them."""
    functions = kernels(planned.program)
    return tuple(_kernel(Dispatch(functions[name]), plan) for name, plan in planned.plans.items())


def _kernel(dispatch: Dispatch, plan: DispatchPlan) -> KernelInfo:
    return KernelInfo(
        name=dispatch.name,
        text=dispatch.text(),
        operations=count_operations(dispatch),
        operands=_bindings(dispatch.operands),
        results=_bindings(dispatch.results),
        packings={
            index: (packing.view, packing.padded, packing.split, packing.permutation)
            for index, packing in plan.packings.items()
        },
    )


def _bindings(values: Iterable[SSAValue]) -> tuple[BindingInfo, ...]:
    return tuple(BindingInfo(extents_of(value), element_name(value.type)) for value in values)


def debug_info(program: Program, infos: tuple[KernelInfo, ...]) -> DebugInfo:
    """Return the debug info of a program in phase ``hal``."""
    nodes = {
        function.sym_name.data: tuple(
            source_name(op) or "" for op in function.body.block.ops if isinstance(op, HalDispatchOp)
        )
        for function in program.functions()
    }
    return DebugInfo(infos, nodes)
