"""Reshape propagation: elementwise generics work in the shape of what they read, so that they fuse with it.

An importer puts a product of [1, tokens, width] as a product of rows, reshaped; the bias is then added to [1,
tokens, width], and the reshape between keeps it from becoming the product's epilogue. Here the generic moves
to the other side of a reshape that only adds or drops dimensions of 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import builtin, tensor
from xdsl.ir import Block, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineMap

from thalweg.compiler.passes.rewriting import Pass, functions, is_elementwise, only_user, replace, uses_index
from thalweg.extents import Extent
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.program import Program
from thalweg.ir.types import element_name, extents_of, tensor_type


def propagate_reshapes(program: Program) -> None:
    """Move every elementwise generic that alone reads a reshape of unit dimensions before that reshape."""
    for function in functions(program):
        for op in list(function.body.block.ops):
            if not is_elementwise(op) or uses_index(op):
                continue
            reshape = _movable(op)
            if reshape is not None:
                _move(op, reshape)


def _movable(op: linalg.GenericOp) -> tw.ReshapeOp | None:
    """Return the operand to move before: a reshape of computed values, of the generic's own shape, read by it
    alone.
    """
    shape = extents_of(op.results[0])
    identity = AffineMap.identity(len(shape))
    if not all(_is_plain(m.data) for m in op.indexing_maps.data):
        return None
    for value, map_ in zip(op.inputs, op.indexing_maps.data):
        reshape = value.owner
        if not isinstance(reshape, tw.ReshapeOp) or map_.data != identity or only_user(value) is not op:
            continue
        source = reshape.x.owner
        if not isinstance(source, tw.StructuredOp | linalg.GenericOp) or isinstance(source, tw.ReshapeOp):
            continue
        if only_user(reshape.x) is reshape and _without_ones(extents_of(reshape.x)) == _without_ones(shape):
            return reshape
    return None


def _is_plain(map_: AffineMap) -> bool:
    return all(isinstance(expr, AffineDimExpr | AffineConstantExpr) for expr in map_.results)


def _without_ones(shape: Sequence[Extent]) -> list[Extent]:
    return [extent for extent in shape if extent != 1]


def _move(op: linalg.GenericOp, reshape: tw.ReshapeOp) -> None:
    old, new = extents_of(op.results[0]), extents_of(reshape.x)
    real = [d for d, extent in enumerate(old) if extent != 1]
    positions = dict(zip(real, (d for d, extent in enumerate(new) if extent != 1)))
    block = op.parent
    assert isinstance(block, Block)
    operands: list[SSAValue] = []
    maps: list[AffineMap] = []
    for value, attribute in zip(op.inputs, op.indexing_maps.data):
        if value is reshape.result and attribute.data == AffineMap.identity(len(old)):
            operands.append(reshape.x)
            maps.append(AffineMap.identity(len(new)))
            continue
        kept = {
            axis: positions[expr.position]
            for axis, expr in enumerate(attribute.data.results)
            if isinstance(expr, AffineDimExpr) and expr.position in positions
        }
        maps.append(AffineMap(len(new), 0, tuple(map(AffineDimExpr, kept.values()))))
        shape = [extents_of(value)[axis] for axis in kept]
        if len(shape) < len(extents_of(value)):
            type_ = tensor_type(shape, element_name(value.type))
            dropped = tw.ReshapeOp.create_from([value], type_, {})
            block.insert_op_before(dropped, op)
            value = dropped.result
        operands.append(value)
    empty = tensor.EmptyOp([], tensor_type(new, element_name(op.results[0].type)))
    moved = linalg.GenericOp(
        operands, [empty.tensor], op.detach_region(op.body),
        [builtin.AffineMapAttr(m) for m in (*maps, AffineMap.identity(len(new)))],
        [linalg.IteratorTypeAttr(linalg.IteratorType.PARALLEL)] * len(new), [empty.tensor.type],
    )  # fmt: skip
    back = tw.ReshapeOp.create_from([moved.results[0]], op.results[0].type, {})
    replace(op, empty, moved, back)


PROPAGATE_RESHAPES = Pass(
    "propagate-reshapes", "Move elementwise generics before reshapes of unit dimensions.", propagate_reshapes
)
