"""Batch-norm folding: per-channel affine maps after a convolution move into its weights and one bias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr

from thalweg.compiler.passes.rewriting import (
    Pass,
    constant_array,
    functions,
    is_elementwise,
    make_constant,
    only_user,
    replace,
)
from thalweg.ir.attributes import number
from thalweg.ir.builder import FunctionBuilder
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.program import Program
from thalweg.ir.types import element_name, extents_of

Affine = tuple[np.ndarray, np.ndarray]
"""(a, b): the value ``a * x + b``, each an array of one element per channel, or a scalar; float64."""

_AFFINE: dict[str, Callable[[Affine, Affine], Affine | None]] = {
    "arith.addf": lambda p, q: (p[0] + q[0], p[1] + q[1]),
    "arith.subf": lambda p, q: (p[0] - q[0], p[1] - q[1]),
    "arith.mulf": lambda p, q: (
        _scaled(p, q[1]) if _is_constant(q) else _scaled(q, p[1]) if _is_constant(p) else None
    ),
    "arith.divf": lambda p, q: (p[0] / q[1], p[1] / q[1]) if _is_constant(q) else None,
}


def _is_constant(value: Affine) -> bool:
    return not np.any(value[0])


def _scaled(value: Affine, factor: np.ndarray) -> Affine:
    return value[0] * factor, value[1] * factor


def fold_batch_norms(program: Program) -> None:
    """Fold chains ``conv → a*x + b → …`` (constants per output channel) into ``conv' → x + b``."""
    for function in functions(program):
        for op in list(function.body.block.ops):
            if isinstance(op, tw.ConvOp):
                _fold(op, program)


def _fold(conv: tw.ConvOp, program: Program) -> None:
    weight = constant_array(conv.w, program)
    if weight is None or weight.dtype not in (np.float32, np.float64):
        return
    scale, offset = np.ones(1), np.zeros(1)
    chain: list[linalg.GenericOp] = []
    value: SSAValue = conv.result
    while (step := _affine_consumer(value, program)) is not None:
        generic, (a, b) = step
        scale, offset = scale * a, offset * a + b
        chain.append(generic)
        value = generic.results[0]
    if not chain or (len(chain) == 1 and np.all(scale == 1)):
        return
    channels = weight.shape[0]
    folded = weight.astype(np.float64) * np.broadcast_to(scale, channels).reshape(
        -1, *[1] * (weight.ndim - 1)
    )
    last = chain[-1]
    new_weight = make_constant(folded.astype(weight.dtype), program, "folded_weight")
    new_conv = tw.ConvOp.create_from([conv.x, new_weight.result], conv.result.type, dict(conv.properties))
    bias_shape = (channels, *[1] * (weight.ndim - 2))
    bias = np.broadcast_to(offset, channels).reshape(bias_shape).astype(weight.dtype)
    new_bias = make_constant(np.ascontiguousarray(bias), program, "folded_bias")
    replace(last, new_weight, new_conv, new_bias, *_addition(new_conv.result, new_bias.result))


def _addition(x: SSAValue, bias: SSAValue) -> list[Operation]:
    builder = FunctionBuilder("scratch", [])
    builder.elementwise([x, bias], lambda s, v, b: s.addf(v, b))
    ops = list(builder.block.ops)
    for op in ops:
        op.detach()
    return ops


def _affine_consumer(value: SSAValue, program: Program) -> tuple[linalg.GenericOp, Affine] | None:
    user = only_user(value)
    if user is None or not isinstance(user, linalg.GenericOp) or not is_elementwise(user):
        return None
    if user.results[0].type != value.type:
        return None
    rank = len(extents_of(value))
    environment: dict[SSAValue, Affine] = {}
    for operand, map_, argument in zip(user.inputs, user.indexing_maps.data, user.body.block.args):
        if operand is value:
            if list(map_.data.results) != [AffineDimExpr(d) for d in range(rank)]:
                return None
            environment[argument] = (np.ones(1), np.zeros(1))
            continue
        array = _per_channel(operand, map_.data.results, program)
        if array is None:
            return None
        environment[argument] = (np.zeros(1), array)
    affine = _body(user, environment)
    return None if affine is None else (user, affine)


def _per_channel(operand: SSAValue, results: tuple, program: Program) -> np.ndarray | None:
    array = constant_array(operand, program)
    if array is None or element_name(operand.type) not in ("f32", "f64"):
        return None
    if any(extent != 1 and expr != AffineDimExpr(1) for extent, expr in zip(array.shape, results)):
        return None
    return np.asarray(array, np.float64).reshape(-1)


def _body(op: linalg.GenericOp, environment: dict[SSAValue, Affine]) -> Affine | None:
    for inner in op.body.block.ops:
        if isinstance(inner, linalg.YieldOp):
            return environment.get(inner.operands[0])
        if isinstance(inner, arith.ConstantOp):
            environment[inner.result] = (np.zeros(1), np.array([number(inner.value)], np.float64))
            continue
        rule = _AFFINE.get(inner.name)
        operands = [environment[v] for v in inner.operands if v in environment]
        if rule is None or len(operands) < len(inner.operands):
            return None
        result = rule(*operands)
        if result is None:
            return None
        environment[inner.results[0]] = result
    return None


FOLD_BATCH_NORMS = Pass(
    "fold-batch-norms", "Move per-channel affine maps after a convolution into its weights.", fold_batch_norms
)
