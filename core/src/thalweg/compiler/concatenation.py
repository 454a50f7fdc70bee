"""Concatenations that cost nothing: the parts are written to where they belong in the whole.

A concatenation whose dimensions before the axis are all 1 lays its operands one after the other. Where each
operand is the result of a dispatch (or of such a concatenation) and belongs to no other one, dispatches write
straight into the whole's memory and no kernel is needed. ``create_dispatches`` leaves these ops in the
function; ``lower_to_stream`` places them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from xdsl.ir import Block, Operation, SSAValue

from thalweg.dtypes import numpy_dtype
from thalweg.extents import Extent, is_multiple
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.types import element_name, extents_of
from thalweg.module.arena import ALIGNMENT


def byte_size(value: SSAValue) -> Extent:
    """Return the size in bytes of a tensor value."""
    return prod(extents_of(value)) * numpy_dtype(element_name(value.type)).itemsize


def storage_root(value: SSAValue) -> SSAValue:
    """Follow reshapes to the value that owns the bytes."""
    while isinstance(value.owner, tw.ReshapeOp):
        value = value.owner.x
    return value


def parts(op: tw.ConcatOp) -> Iterator[tuple[SSAValue, Extent]]:
    """Yield (the value that owns the bytes, its offset in bytes in the whole) of each operand."""
    offset: Extent = 0
    for value in op.inputs:
        yield storage_root(value), offset
        offset = offset + byte_size(value)


def free_concatenations(block: Block) -> set[Operation]:
    """Return the concatenations of a function that need no kernel."""
    last = block.last_op
    assert last is not None
    claimed = {storage_root(value) for value in last.operands}
    free: set[Operation] = set()
    for op in block.ops:
        if not isinstance(op, tw.ConcatOp) or not _is_contiguous(op):
            continue
        found = list(parts(op))
        owners = [root for root, _ in found]
        if len(set(owners)) < len(owners) or claimed.intersection(owners):
            continue
        if all(_is_computed(root) and is_multiple(offset, ALIGNMENT) for root, offset in found):
            free.add(op)
            claimed.update(owners)
    return free


def _is_contiguous(op: tw.ConcatOp) -> bool:
    axis = op.axis.value.data
    return all(extent == 1 for extent in extents_of(op.result)[:axis])


def _is_computed(root: SSAValue) -> bool:
    op = root.owner
    return isinstance(op, tw.StructuredOp | linalg.GenericOp) and not isinstance(op, tw.SplatOp)
