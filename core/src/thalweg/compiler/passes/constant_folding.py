"""Constant folding: ops whose operands are all constants are evaluated with their NumPy meaning."""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.dialects import tensor
from xdsl.ir import Operation

from thalweg.compiler.passes.rewriting import (
    Pass,
    constant_array,
    functions,
    make_constant,
    replace,
    source_name,
)
from thalweg.dtypes import numpy_dtype
from thalweg.extents import is_static
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.evaluate import evaluate_op
from thalweg.ir.program import Program
from thalweg.ir.types import element_name, extents_of, shape_of

GROWTH_LIMIT = 1 << 16
"""A fold may make a constant larger than its operands only up to this many bytes."""


def fold_constants(program: Program) -> None:
    """Evaluate, in order, every op whose operands are constants; what would grow stays an op."""
    for function in functions(program):
        for op in list(function.body.block.ops):
            if not isinstance(op, tw.StructuredOp | linalg.GenericOp):
                continue
            inputs = op.inputs if isinstance(op, linalg.GenericOp) else op.operands
            arrays = [a for a in (constant_array(v, program) for v in inputs) if a is not None]
            if len(arrays) < len(inputs) or _depends_on_call(op) or not _worth(op, arrays):
                continue
            replace(op, make_constant(_evaluate(op, arrays, program), program, _name(op)))


def _depends_on_call(op: tw.StructuredOp | linalg.GenericOp) -> bool:
    """Return whether a dimension is in the result's shape, in a slice's offsets or in a generic's body."""
    extents = list(extents_of(op.results[0]))
    if isinstance(op, tw.SliceOp):
        extents += op.offset_extents()
    extents += [inner.extent() for inner in op.walk() if isinstance(inner, tw.ExtentOp)]
    return not is_static(extents)


def _evaluate(op: Operation, arrays: list[np.ndarray], program: Program) -> np.ndarray:
    if isinstance(op, tw.ReshapeOp):
        return np.reshape(arrays[0], shape_of(op.result))
    return np.asarray(evaluate_op(op, [*arrays, *_initial(op, program)], program.resources))


def _initial(op: Operation, program: Program) -> list[np.ndarray]:
    if not isinstance(op, linalg.GenericOp):
        return []
    out = op.outputs[0]
    if isinstance(out.owner, tensor.EmptyOp):
        return [np.empty(shape_of(out), numpy_dtype(element_name(out.type)))]
    array = constant_array(out, program)
    assert array is not None, "a reduction starts from a constant"
    return [array]


def _worth(op: Operation, arrays: list[np.ndarray]) -> bool:
    result = op.results[0]
    size = prod(shape_of(result)) * numpy_dtype(element_name(result.type)).itemsize
    return size <= max(GROWTH_LIMIT, sum(a.nbytes for a in arrays))


def _name(op: Operation) -> str:
    source = source_name(op)
    return f"{source}_folded" if source is not None else "folded"


FOLD_CONSTANTS = Pass("fold-constants", "Evaluate ops whose operands are all constants.", fold_constants)
