"""Evaluating nodes whose inputs are known while the model is imported: shape arithmetic, mostly.

Every such node is evaluated by onnx's own reference implementation, so that the importer needs no second
meaning for any op. Large results are left to the compiler's constant folding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from thalweg.api import InvalidArgument
from thalweg.dtypes import dtype_name

from thalweg_input_onnx.tensor import Tensor

LIMIT = 16384
"""Elements: nodes with more in all their inputs, or in one output, are not evaluated here."""

RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Dropout",
}
SHAPED_BY_VALUE = {
    "ConstantOfShape",
    "Expand",
    "Tile",
    "Range",
    "OneHot",
    "Resize",
    "Upsample",
    "Pad",
    "EyeLike",
}
"""Ops whose result may be much larger than their inputs: folded only when ``_result_size`` bounds it."""


def fold(proto: onnx.NodeProto, opset: int, inputs: Sequence[Tensor | None]) -> list[np.ndarray] | None:
    """Return the outputs of a node of the default domain, or ``None`` where it is not for this evaluator.

    :param inputs: in the node's order; ``None`` for an input that is left out.
    """
    present = [x for x in inputs if x is not None]
    if (
        proto.domain not in ("", "ai.onnx")
        or proto.op_type in RANDOM
        or any(x.array is None for x in present)
    ):
        return None
    if (
        not present
        or sum(x.array.size for x in present if x.array is not None) > LIMIT
        or _result_size(proto, inputs) > LIMIT
    ):
        return None
    if any(attribute.HasField("g") or attribute.graphs for attribute in proto.attribute):
        return None
    results = _evaluate(proto, opset, inputs)
    if results is None or any(not isinstance(array, np.ndarray | np.generic) for array in results):
        return None
    arrays = [np.asarray(array) for array in results]
    if any(array.size > LIMIT for array in arrays):
        return None
    try:
        for array in arrays:
            dtype_name(array.dtype)
    except InvalidArgument:
        return None
    return arrays


def _evaluate(proto: onnx.NodeProto, opset: int, inputs: Sequence[Tensor | None]) -> Sequence[object] | None:
    names = [name for name in proto.input if name]
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.array.dtype), x.array.shape)
        for name, x in dict(zip(proto.input, inputs)).items()
        if x is not None and x.array is not None
    ]
    wanted = [name for name in proto.output if name]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    graph = helper.make_graph([proto], "fold", infos, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {name: x.array for name, x in zip(proto.input, inputs) if x is not None and name in names}
    try:
        with np.errstate(all="ignore"):
            results = iter(ReferenceEvaluator(model).run(None, feeds))
    except (RuntimeError, NotImplementedError, ArithmeticError, LookupError, TypeError, ValueError):
        return None  # what the reference cannot evaluate is imported as an op, which names what is wrong
    return [next(results) if name else np.zeros(0, np.float32) for name in proto.output]


def _result_size(proto: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> int:
    """A bound of the result's elements; past ``LIMIT`` where it cannot be told."""
    arrays = [None if x is None else x.array for x in inputs]
    op = proto.op_type
    if op not in SHAPED_BY_VALUE:
        sizes = [array.size for array in arrays if array is not None]
        return (
            int(np.prod([max(size, 1) for size in sizes], dtype=np.float64))
            if len(sizes) < 3
            else max(sizes) * 64
        )
    if op in ("ConstantOfShape",) and arrays[0] is not None:
        return int(np.prod(arrays[0], dtype=np.float64))
    if op == "Expand" and arrays[0] is not None and arrays[1] is not None:
        return int(arrays[0].size * np.prod(np.maximum(arrays[1], 1), dtype=np.float64))
    if op == "Tile" and len(arrays) == 2 and arrays[0] is not None and arrays[1] is not None:
        return int(arrays[0].size * np.prod(arrays[1], dtype=np.float64))
    if op == "Range" and all(array is not None for array in arrays):
        start, limit, delta = (float(np.asarray(array).reshape(())) for array in arrays)
        return LIMIT + 1 if delta == 0 else int(max(0.0, np.ceil((limit - start) / delta)))
    return LIMIT + 1
