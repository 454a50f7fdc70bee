"""What the passes share: reading constants, replacing ops, asking about generics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from xdsl.dialects import arith, builtin, func, tensor
from xdsl.ir import Block, Operation, SSAValue

from thalweg.dtypes import dtype_name, numpy_dtype
from thalweg.errors import ThalwegError
from thalweg.ir.builder import INLINE_CONSTANT_LIMIT, dense_attribute, splat_attribute, unique_resource_name
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.program import Program
from thalweg.ir.types import element_name, shape_of, tensor_type

SOURCE = "tw.source"
"""The attribute that holds the name of the model's node (of several: with `` + ``) that an op comes from."""


@dataclass(frozen=True)
class Pass:
    """A named transformation of a program, in place."""

    name: str
    summary: str
    run: Callable[[Program], None]


def constant_array(value: SSAValue, program: Program) -> np.ndarray | None:
    """Return the array of a constant tensor value, or ``None`` if it is not one (or its resource is not
    here).

    A splat comes back as a read-only broadcast of one element.
    """
    op = value.owner
    if not isinstance(op, arith.ConstantOp) or not isinstance(
        op.value, builtin.DenseIntOrFPElementsAttr | builtin.DenseResourceAttr
    ):
        return None
    if isinstance(op.value, builtin.DenseResourceAttr):
        return program.resources.get(op.value.resource_handle.data)
    shape, dtype = shape_of(value), numpy_dtype(element_name(value.type))
    if 0 in shape:
        return np.zeros(shape, dtype)
    if op.value.is_splat():
        return np.broadcast_to(np.array(op.value.get_values()[0]).astype(dtype), shape)
    return np.array(list(op.value.get_values())).astype(dtype).reshape(shape)


def is_splat(value: SSAValue) -> bool:
    """Return whether a value is a constant tensor of one repeated element."""
    op = value.owner
    return isinstance(op, tw.SplatOp) or (
        isinstance(op, arith.ConstantOp)
        and isinstance(op.value, builtin.DenseIntOrFPElementsAttr)
        and 0 not in shape_of(value)
        and op.value.is_splat()
    )


def make_constant(array: np.ndarray, program: Program, name: str = "folded") -> arith.ConstantOp:
    """Return a constant op for ``array``: splats and small arrays as text, others as a new resource."""
    array = np.asarray(array)
    dtype = dtype_name(array.dtype)
    if array.size and (array.size == 1 or all(s == 0 for s, n in zip(array.strides, array.shape) if n > 1)):
        return arith.ConstantOp(splat_attribute(array.ravel()[0].item(), array.shape, dtype))
    if array.size <= INLINE_CONSTANT_LIMIT:
        return arith.ConstantOp(dense_attribute(array))
    handle = unique_resource_name(program.resources, name)
    program.resources[handle] = np.ascontiguousarray(array)
    return arith.ConstantOp(builtin.DenseResourceAttr.from_params(handle, tensor_type(array.shape, dtype)))


def constant_op(value: SSAValue) -> arith.ConstantOp:
    """Return the op of a value known to be a constant.

    :raises ThalwegError: something else makes the value.
    """
    if not isinstance(value.owner, arith.ConstantOp):
        raise ThalwegError(f"a constant was expected; found {value}")
    return value.owner


def resource_name(op: arith.ConstantOp) -> str | None:
    """Return the name of the resource that a constant refers to; ``None`` for a constant in the text."""
    return op.value.resource_handle.data if isinstance(op.value, builtin.DenseResourceAttr) else None


def constant_identity(op: arith.ConstantOp) -> str:
    """Return what tells a constant from the others: its resource's name, or its text."""
    return resource_name(op) or str(op.value)


def source_name(op: Operation) -> str | None:
    """Return the name of the model's node that an op comes from."""
    source = op.attributes.get(SOURCE)
    return source.data if isinstance(source, builtin.StringAttr) else None


def parent_block(op: Operation) -> Block:
    """Return the block that an op stands in.

    :raises ThalwegError: it stands in none.
    """
    if op.parent is None:
        raise ThalwegError(f"{op.name} stands in no block")
    return op.parent


def replace_function(old: func.FuncOp, new: Operation) -> None:
    """Put ``new`` in the place of a function."""
    parent_block(old).insert_op_before(new, old)
    old.detach()
    old.erase()


def replace(op: Operation, *new: Operation, value: SSAValue | None = None) -> None:
    """Put ``new`` ops in the place of ``op``; its result becomes ``value``, or the last new op's result."""
    block = parent_block(op)
    for item in new:
        block.insert_op_before(item, op)
        if SOURCE in op.attributes and SOURCE not in item.attributes:
            item.attributes[SOURCE] = op.attributes[SOURCE]
    op.results[0].replace_all_uses_with(value if value is not None else new[-1].results[0])
    op.detach()
    op.erase()


def only_user(value: SSAValue) -> Operation | None:
    """Return the one op that uses ``value`` (perhaps several times), or ``None``."""
    users = {use.operation for use in value.uses}
    return users.pop() if len(users) == 1 else None


def is_elementwise(op: Operation | Block) -> TypeGuard[linalg.GenericOp]:
    """Return whether ``op`` is a ``linalg.generic`` without reductions, over the identity of its result."""
    return (
        isinstance(op, linalg.GenericOp)
        and len(op.results) == 1
        and all(kind.data is linalg.IteratorType.PARALLEL for kind in op.iterator_types)
        and op.indexing_maps.data[-1].data.is_minor_identity()
        and isinstance(op.outputs[0].owner, tensor.EmptyOp)
    )


def uses_index(op: linalg.GenericOp) -> bool:
    """Return whether the body asks for iteration indices."""
    return any(isinstance(inner, linalg.IndexOp) for inner in op.body.block.ops)


def functions(program: Program) -> list[func.FuncOp]:
    """Return the functions with a body."""
    return [f for f in program.functions() if f.body.blocks]
