"""Generic decompositions: ``tw`` ops that a target does not take are rewritten to ops that every target
takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import prod
from typing import Any

from xdsl.ir import SSAValue

from thalweg.compiler.passes.rewriting import Pass, functions, replace
from thalweg.ir.attributes import number
from thalweg.ir.builder import FunctionBuilder
from thalweg.ir.dialects import tw
from thalweg.ir.program import Program
from thalweg.ir.types import element_name, extents_of


def _softmax(b: FunctionBuilder, op: tw.SoftmaxOp) -> SSAValue:
    dtype = element_name(op.x.type)
    axis = op.axis.value.data
    top = b.reduce([op.x], [axis], float("-inf"), lambda s, v, a: s.maximumf(v, a), keepdims=True)
    exps = b.elementwise([op.x, top], lambda s, v, m: s.exp(s.subf(v, m)))
    total = b.reduce([exps], [axis], 0.0, lambda s, v, a: s.addf(v, a), dtype, keepdims=True)
    return b.elementwise([exps, total], lambda s, v, t: s.divf(v, t))


def _layer_norm(b: FunctionBuilder, op: tw.LayerNormOp) -> SSAValue:
    dtype, shape = element_name(op.x.type), extents_of(op.x)
    axes = list(range(op.axis.value.data, len(shape)))
    count = prod(shape[axis] for axis in axes)

    def mean(x: SSAValue) -> SSAValue:
        total = b.reduce([x], axes, 0.0, lambda s, v, a: s.addf(v, a), keepdims=True)
        return b.elementwise([total], lambda s, v: s.divf(v, s.count(count, dtype)))

    centred = b.elementwise([op.x, mean(op.x)], lambda s, v, m: s.subf(v, m))
    variance = mean(b.elementwise([centred], lambda s, v: s.mulf(v, v)))
    epsilon = number(op.epsilon)

    def normalize(s, v, var, scale, bias):
        root = s.sqrt(s.addf(var, s.constant(epsilon, dtype)))
        return s.addf(s.mulf(s.divf(v, root), scale), bias)

    return b.elementwise([centred, variance, op.scale, op.bias], normalize)


DECOMPOSITIONS: dict[str, Callable[[FunctionBuilder, Any], SSAValue]] = {
    "tw.softmax": _softmax,
    "tw.layer_norm": _layer_norm,
}
"""Op name → function of a builder and an op of that name, which writes the decomposition."""


def decompose(program: Program, names: Collection[str] = tuple(DECOMPOSITIONS)) -> None:
    """Rewrite every op whose name is in ``names`` by its decomposition."""
    for function in functions(program):
        for op in list(function.body.block.ops):
            if op.name not in names:
                continue
            builder = FunctionBuilder("scratch", [], program.resources)
            DECOMPOSITIONS[op.name](builder, op)
            ops = list(builder.block.ops)
            for item in ops:
                item.detach()
            replace(op, *ops)


DECOMPOSE = Pass("decompose", "Rewrite softmax and layer_norm to generics.", decompose)
