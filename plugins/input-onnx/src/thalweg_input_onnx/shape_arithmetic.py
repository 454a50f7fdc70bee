"""Shape arithmetic of dynamic dimensions: nodes that compute on shapes are evaluated on extents while
importing.

What ``folding`` does where every element is a number, this does where elements are expressions of named
dimensions: the outputs of ``Shape`` and what models make of them on the way to ``Reshape``, ``Expand``,
``Slice`` and ``Range``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod
from typing import Any

import numpy as np
import onnx
from thalweg.extents import (
    Extent,
    UnknownOrder,
    floor_divide,
    is_static,
    lower_bound,
    maximum,
    minimum,
    upper_bound,
)

from thalweg_input_onnx.node import Node, element_dtype
from thalweg_input_onnx.tensor import Tensor

Elements = np.ndarray
"""An array of extents: dtype object, of the tensor's shape."""


def fold_extents(node: Node, inputs: Sequence[Tensor | None]) -> tuple[Elements, str] | None:
    """Return a node's one output as extents, and its dtype; ``None`` where an input is not known, or the op
    is none of shapes.

    :param inputs: in the node's order; ``None`` for an input that is left out.
    """
    rule = _RULES.get(node.proto.op_type)
    if node.proto.op_type == "Div" and any(x is not None and x.is_float for x in inputs):
        rule = _elementwise(_exact_quotient)
    if rule is None or node.proto.domain not in ("", "ai.onnx"):
        return None
    if not any(x is not None and x.extents is not None for x in inputs):
        return None
    known = [None if x is None else elements_of(x) for x in inputs]
    if any(x is not None and values is None for x, values in zip(inputs, known)):
        return None
    result = rule(node, *known)
    if result is None or any(element is None for element in np.asarray(result, object).ravel()):
        return None
    return np.asarray(result, object), _result_dtype(node, inputs)


def _result_dtype(node: Node, inputs: Sequence[Tensor | None]) -> str:
    if node.proto.op_type == "Cast":
        return element_dtype(node.required("to"))
    if node.proto.op_type in ("Equal", "Less", "Greater"):
        return "i1"
    like = inputs[1 if node.proto.op_type == "Where" else 0]
    assert like is not None
    return like.dtype


def elements_of(x: Tensor) -> Elements | None:
    """Return the elements of a tensor of whole numbers as extents, where they are known."""
    if x.extents is not None:
        return x.extents
    if x.array is None or x.array.dtype.kind not in "iubf":
        return None
    if x.is_float and not (np.isfinite(x.array).all() and (x.array == np.floor(x.array)).all()):
        return None
    elements = np.empty(x.array.shape, object)
    for place, value in np.ndenumerate(x.array):
        elements[place] = int(value)
    return elements


def clamp(value: Extent, extent: Extent) -> Extent:
    """Return a slice's bound as ONNX reads it: from the end where it is negative, and within ``[0,
    extent]``.
    """
    if isinstance(value, int) and value < 0:
        return maximum(extent + value, 0)
    if isinstance(value, int) and value >= 2**31 - 1:
        return extent
    if lower_bound(value) < 0:
        raise UnknownOrder(f"a bound of {value}, which may be negative")
    return minimum(value, extent)


def _elementwise(function: Callable[..., Any]) -> Callable[..., Elements]:
    def rule(node: Node, *operands: Elements) -> Elements:
        arrays = np.broadcast_arrays(*operands)
        result = np.empty(arrays[0].shape, object)
        for place in np.ndindex(result.shape):
            result[place] = function(*(array[place] for array in arrays))
        return result

    return rule


def _quotient(a: Extent, b: Extent) -> Extent | None:
    """The quotient of integers, which ONNX rounds towards zero."""
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else None
    return floor_divide(a, b) if lower_bound(a) >= 0 and lower_bound(b) >= 1 else None


def _exact_quotient(a: Extent, b: Extent) -> Extent | None:
    """The quotient of floats, where it is a whole number."""
    whole = floor_divide(a, b) if lower_bound(b) >= 1 else None
    return whole if whole is not None and whole * b == a else None


def _remainder(node: Node, a: Elements, b: Elements) -> Elements:
    """The remainder by a positive number: not negative, but for ``fmod`` of what is negative."""
    least = 0 if node.attribute("fmod", 0) else -inf

    def remainder(x: Extent, y: Extent) -> Extent | None:
        return x - floor_divide(x, y) * y if lower_bound(x) >= least and lower_bound(y) >= 1 else None

    return _elementwise(remainder)(node, a, b)


def _equal(a: Extent, b: Extent) -> int | None:
    """Whether two extents are equal, where that is so for every call or for none."""
    if a == b:
        return 1
    difference = a - b
    return 0 if lower_bound(difference) > 0 or upper_bound(difference) < 0 else None


def _less(a: Extent, b: Extent) -> int | None:
    difference = a - b
    if upper_bound(difference) < 0:
        return 1
    return 0 if lower_bound(difference) >= 0 else None


def _same(node: Node, x: Elements) -> Elements:
    return x


def _cast(node: Node, x: Elements) -> Elements | None:
    return x if node.required("to") in _SHAPE_TYPES else None


_SHAPE_TYPES = (
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
)


def _gather(node: Node, data: Elements, indices: Elements) -> Elements | None:
    return (
        np.take(data, indices.astype(np.int64), node.attribute("axis", 0))
        if is_static(indices.ravel())
        else None
    )


def _slice(
    node: Node, data: Elements, starts: Elements, ends: Elements, axes=None, steps=None
) -> Elements | None:
    bounds = [x.ravel() for x in (starts, ends, axes, steps) if x is not None]
    if not all(map(is_static, bounds)):
        return None
    chosen = range(len(starts)) if axes is None else [int(axis) for axis in axes]
    slices = [slice(None)] * data.ndim
    for i, axis in enumerate(chosen):
        slices[axis] = slice(int(starts[i]), int(ends[i]), 1 if steps is None else int(steps[i]))
    return data[tuple(slices)]


def _concat(node: Node, *inputs: Elements) -> Elements:
    return np.concatenate(inputs, node.attribute("axis", 0))


def _axes(node: Node, axes: Elements | None) -> tuple[int, ...] | None:
    given = node.attribute("axes") if axes is None else [int(axis) for axis in axes.ravel()]
    return None if given is None else tuple(given)


def _squeeze(node: Node, x: Elements, axes: Elements | None = None) -> Elements:
    return np.squeeze(x, _axes(node, axes))


def _unsqueeze(node: Node, x: Elements, axes: Elements | None = None) -> Elements:
    return np.expand_dims(x, _axes(node, axes) or ())


def _reshape(node: Node, x: Elements, shape: Elements) -> Elements | None:
    return x.reshape([int(extent) for extent in shape]) if is_static(shape.ravel()) else None


def _product(node: Node, x: Elements, axes: Elements | None = None) -> Elements | None:
    if x.ndim != 1:
        return None
    total = prod(x.tolist())
    return np.array([total] if node.attribute("keepdims", 1) else total, object)


def _where(condition: Any, a: Extent, b: Extent) -> Extent:
    return a if condition else b


_RULES: dict[str, Callable[..., Elements | None]] = {
    "Identity": _same,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "ReduceProd": _product,
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
    "Div": _elementwise(_quotient),
    "Neg": _elementwise(lambda a: -a),
    "Mod": _remainder,
    "Floor": _same,
    "Ceil": _same,
    "Min": _elementwise(minimum),
    "Max": _elementwise(maximum),
    "Equal": _elementwise(_equal),
    "Less": _elementwise(_less),
    "Greater": _elementwise(lambda a, b: _less(b, a)),
    "Where": _elementwise(_where),
}
"""Op → its meaning on extents, with the node first."""
