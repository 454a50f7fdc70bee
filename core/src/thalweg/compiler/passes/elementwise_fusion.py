"""Elementwise fusion: producers are written into the generics that use them."""

from __future__ import annotations

from math import prod

from xdsl.dialects import builtin
from xdsl.ir import Block, Region, SSAValue
from xdsl.ir.affine import AffineMap

from thalweg.compiler.passes.canonicalize import eliminate_dead_code
from thalweg.compiler.passes.rewriting import Pass, functions, is_elementwise, only_user, replace, uses_index
from thalweg.extents import Extent, upper_bound
from thalweg.ir.dialects import linalg
from thalweg.ir.program import Program
from thalweg.ir.types import element_type_of, extents_of


def fuse_elementwise(program: Program) -> None:
    """Fuse each elementwise generic into the generic that is its only user.

    Nothing is computed more often than before: a producer that the consumer would broadcast is left alone,
    unless it only copies.
    """
    for function in functions(program):
        for op in list(function.body.block.ops):
            if isinstance(op, linalg.GenericOp):
                fused = op
                while (producer := _fusable_producer(fused)) is not None:
                    fused = _fuse(producer, fused)
    eliminate_dead_code(program)


def _fusable_producer(consumer: linalg.GenericOp) -> linalg.GenericOp | None:
    for value in consumer.inputs:
        producer = value.owner
        if not is_elementwise(producer) or uses_index(producer):
            continue
        if only_user(value) is not consumer or value in tuple(consumer.outputs):
            continue
        if _recomputes(producer, consumer):
            continue
        return producer
    return None


def _recomputes(producer: linalg.GenericOp, consumer: linalg.GenericOp) -> bool:
    if isinstance(producer.body.block.first_op, linalg.YieldOp):
        return False
    return upper_bound(prod(_iteration_shape(consumer)) - prod(extents_of(producer.results[0]))) > 0


def _iteration_shape(op: linalg.GenericOp) -> tuple[Extent, ...]:
    extents: dict[int, Extent] = {}
    for operand, map_ in zip((*op.inputs, *op.outputs), op.indexing_maps.data):
        for extent, expr in zip(extents_of(operand), map_.data.results):
            position = getattr(expr, "position", None)
            if position is not None:
                extents[position] = extent
    return tuple(extents.get(d, 1) for d in range(len(op.iterator_types.data)))


def _fuse(producer: linalg.GenericOp, consumer: linalg.GenericOp) -> linalg.GenericOp:
    """Replace both by one generic: the consumer, with the producer's body where its result was read."""
    operands: list[SSAValue] = []
    maps: list[AffineMap] = []
    block = Block()

    def argument(value: SSAValue, map_: AffineMap) -> SSAValue:
        for index, (seen, seen_map) in enumerate(zip(operands, maps)):
            if seen is value and seen_map == map_:
                return block.args[index]
        operands.append(value)
        maps.append(map_)
        return block.insert_arg(element_type_of(value), len(operands) - 1)

    mapping: dict[SSAValue, SSAValue] = {}
    consumer_block = consumer.body.block
    for value, map_, old in zip(consumer.inputs, consumer.indexing_maps.data, consumer_block.args):
        if value is not producer.results[0]:
            mapping[old] = argument(value, map_.data)
            continue
        inner: dict[SSAValue, SSAValue] = {}
        for source, source_map, source_old in zip(
            producer.inputs, producer.indexing_maps.data, producer.body.block.args
        ):
            inner[source_old] = argument(source, source_map.data.compose(map_.data))
        mapping[old] = _inline(producer.body.block, block, inner)
    mapping[consumer_block.args[-1]] = block.insert_arg(consumer_block.args[-1].type, len(operands))
    for op in consumer_block.ops:
        block.add_op(op.clone(mapping))
    fused = linalg.GenericOp(
        operands, list(consumer.outputs), Region(block),
        [builtin.AffineMapAttr(m) for m in (*maps, consumer.indexing_maps.data[-1].data)],
        consumer.iterator_types, [consumer.results[0].type],
    )  # fmt: skip
    replace(consumer, fused)
    producer.detach()
    producer.erase()
    return fused


def _inline(source: Block, target: Block, mapping: dict[SSAValue, SSAValue]) -> SSAValue:
    for op in source.ops:
        if isinstance(op, linalg.YieldOp):
            return mapping[op.operands[0]]
        target.add_op(op.clone(mapping))
    raise AssertionError("a generic's body ends in linalg.yield")


FUSE_ELEMENTWISE = Pass(
    "fuse-elementwise", "Write elementwise producers into the generics that use them.", fuse_elementwise
)
