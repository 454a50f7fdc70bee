"""Which emitter makes the kernel of a dispatch."""

from __future__ import annotations

from types import ModuleType

from thalweg.api import NotSupported
from thalweg.codegen.target import DispatchPlan, KernelSource, TargetConfiguration
from thalweg.ir import Dispatch, element_name
from xdsl.ir import Operation

from thalweg_target_llvm_cpu import vector_math
from thalweg_target_llvm_cpu.builder import KernelBuilder
from thalweg_target_llvm_cpu.emitters import (
    contraction,
    gemm,
    generic,
    movement,
    normalization,
    reduction,
    softmax,
    window,
)
from thalweg_target_llvm_cpu.emitters.work import analyse

EMITTERS: dict[str, tuple[ModuleType, ...]] = {
    "linalg.generic": (generic, reduction),
    "tw.matmul": (gemm, contraction),
    "tw.conv": (window, gemm, contraction),
    "tw.reduce_window": (window,),
    "tw.softmax": (softmax,),
    "tw.layer_norm": (normalization,),
    "tw.gather": (movement,),
    "tw.concat": (movement,),
    "tw.slice": (movement,),
    "tw.pad": (movement,),
    "tw.reshape": (movement,),
}
"""Root op → the emitters to ask, in order. Each is a module with ``NAME``, ``accepts``, ``plan`` and
``emit``.
"""

_BY_NAME = {emitter.NAME: emitter for emitters in EMITTERS.values() for emitter in emitters}


def plan(dispatch: Dispatch, config: TargetConfiguration) -> DispatchPlan:
    """Choose the emitter of a dispatch and let it plan.

    :raises NotSupported: naming the op and its dtypes, when no emitter takes it.
    """
    root = analyse(dispatch).root
    for emitter in EMITTERS.get(root.name, ()):
        if emitter.accepts(dispatch):
            return emitter.plan(dispatch, config.settings)
    raise NotSupported(
        describe(root), f"llvm-cpu has no kernel for {describe(root)} (dispatch {dispatch.name!r})"
    )


def emit(kernel: KernelSource, parsed: Dispatch, config: TargetConfiguration) -> str:
    """Return the LLVM IR of a planned kernel and of the vector math that it calls.

    :param parsed: the dispatch of ``kernel.text``.
    """
    dispatch = Dispatch(parsed.function, parsed.constant_operands, dict(kernel.packed))
    b = KernelBuilder(kernel.name, dispatch.dimensions)
    _BY_NAME[kernel.plan.parameters["emitter"]].emit(b, dispatch, kernel.plan, config.settings)
    return b.text() + vector_math.library(b.math_calls, config.settings)


def describe(op: Operation) -> str:
    """Return an op's name with the element types of its operands and results."""
    operands = ", ".join(element_name(v.type) for v in op.operands)
    return f"{op.name} ({operands}) -> {', '.join(element_name(v.type) for v in op.results)}"
