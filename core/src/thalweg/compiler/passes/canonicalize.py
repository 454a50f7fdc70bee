"""Small rewrites that are always good: reshape chains, identity ops, equal ops, dead ops."""

from __future__ import annotations

import io

from xdsl.dialects import arith, func, tensor
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineMap
from xdsl.printer import Printer

from thalweg.compiler.passes.rewriting import Pass, functions, is_elementwise, replace, resource_name
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.program import Program
from thalweg.ir.types import extents_of


def eliminate_dead_code(program: Program) -> None:
    """Erase ops without users, from the end backwards, and resources that nothing refers to."""
    for function in functions(program):
        for op in reversed(list(function.body.block.ops)):
            if not isinstance(op, func.ReturnOp) and not any(r.uses for r in op.results) and _is_pure(op):
                op.detach()
                op.erase()
    used = {resource_name(op) for op in program.module.walk() if isinstance(op, arith.ConstantOp)}
    for name in [name for name in program.resources if name not in used]:
        del program.resources[name]


def _is_pure(op: Operation) -> bool:
    return isinstance(op, tw.StructuredOp | linalg.GenericOp | arith.ConstantOp | tensor.EmptyOp)


def eliminate_common_subexpressions(program: Program) -> None:
    """Merge pure ops that are equal to the letter and have the same operands."""
    for function in functions(program):
        seen: dict[object, Operation] = {}
        for op in list(function.body.block.ops):
            if not _is_pure(op) or isinstance(op, tensor.EmptyOp):
                continue
            key = _key(op)
            if key in seen:
                replace(op, value=seen[key].results[0])
            else:
                seen[key] = op


def _key(op: Operation) -> object:
    operands = tuple(("empty", v.type) if isinstance(v.owner, tensor.EmptyOp) else id(v) for v in op.operands)
    body = _body_text(op) if op.regions else ""
    return (
        op.name,
        operands,
        tuple(sorted(op.properties.items(), key=lambda item: item[0])),
        op.results[0].type,
        body,
    )


def _body_text(op: Operation) -> str:
    text = io.StringIO()
    Printer(stream=text).print_region(op.regions[0])
    return text.getvalue()


def _reshape(op: tw.ReshapeOp) -> bool:
    source = op.x
    while isinstance(source.owner, tw.ReshapeOp):
        source = source.owner.x
    if source.type == op.result.type:
        replace(op, value=source)
        return True
    if source is not op.x:
        replace(op, tw.ReshapeOp.create_from([source], op.result.type, {}))
        return True
    return False


def _generic(op: linalg.GenericOp) -> bool:
    """A generic that only copies: the identity → its operand; a transpose of unit dims → a reshape."""
    if not is_elementwise(op) or len(op.inputs) != 1:
        return False
    block = op.body.block
    if not isinstance(block.first_op, linalg.YieldOp) or block.first_op.operands[0] is not block.args[0]:
        return False
    source, map_ = op.inputs[0], op.indexing_maps.data[0].data
    if source.type == op.results[0].type and map_ == AffineMap.identity(map_.num_dims):
        replace(op, value=source)
        return True
    if _moves_only_unit_dims(source, op.results[0], map_):
        replace(op, tw.ReshapeOp.create_from([source], op.results[0].type, {}))
        return True
    return False


def _moves_only_unit_dims(source: SSAValue, result: SSAValue, map_: AffineMap) -> bool:
    shape = extents_of(source)
    dims = [getattr(expr, "position", None) for expr in map_.results]
    real = [d for d, extent in zip(dims, shape) if extent != 1]
    result_real = [d for d, extent in enumerate(extents_of(result)) if extent != 1]
    return real == result_real


def _slice(op: tw.SliceOp) -> bool:
    strides = op.parameters()["strides"]
    assert isinstance(strides, tuple)
    if op.x.type == op.result.type and all(
        stride == 1 for stride, extent in zip(strides, extents_of(op.x)) if extent != 1
    ):  # of equal shapes and a negative stride, the slice reverses
        replace(op, value=op.x)
        return True
    return False


def _pad(op: tw.PadOp) -> bool:
    if op.x.type == op.result.type:
        replace(op, value=op.x)
        return True
    return False


def _concat(op: tw.ConcatOp) -> bool:
    if len(op.inputs) == 1:
        replace(op, value=op.inputs[0])
        return True
    return False


_RULES = {
    tw.ReshapeOp: _reshape,
    linalg.GenericOp: _generic,
    tw.SliceOp: _slice,
    tw.PadOp: _pad,
    tw.ConcatOp: _concat,
}


def canonicalize(program: Program) -> None:
    """Apply the small rewrites until none applies, then merge equal ops and drop dead ones."""
    for function in functions(program):
        changed = True
        while changed:
            changed = False
            for op in list(function.body.block.ops):
                rule = _RULES.get(type(op))
                if rule is not None and op.parent is not None and rule(op):
                    changed = True
    eliminate_common_subexpressions(program)
    eliminate_dead_code(program)


CANONICALIZE = Pass(
    "canonicalize", "Fold reshape chains and copies, merge equal ops, drop dead ones.", canonicalize
)
DEAD_CODE = Pass("eliminate-dead-code", "Erase ops and resources that nothing uses.", eliminate_dead_code)
COMMON_SUBEXPRESSIONS = Pass(
    "eliminate-common-subexpressions", "Merge pure ops that are equal.", eliminate_common_subexpressions
)
