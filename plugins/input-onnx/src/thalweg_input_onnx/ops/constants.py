"""Ops that make tensors from attributes and known values."""

from __future__ import annotations

import math

import numpy as np
from thalweg.dtypes import numpy_dtype
from thalweg.extents import UnknownOrder, ceil_divide, is_static, lower_bound, maximum, static

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node, element_dtype
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor


@onnx_op("Constant", since=(1, 9, 11, 12, 13, 19, 21, 23, 24, 25))
def constant(b: Emitter, node: Node) -> Tensor:
    """The one attribute that is given."""
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                        ("value_ints", np.int64)):  # fmt: skip
        if node.has(name):
            return b.constant(np.asarray(node.attribute(name), dtype))
    if not node.has("value"):
        raise UnsupportedForm(
            "a constant that is a string or sparse tensor", "store a dense tensor of numbers"
        )
    element_dtype(node.tensor_type("value"))
    return b.constant(node.attribute("value"), node.proto.output[0])


@onnx_op("ConstantOfShape", since=(9, 20, 21, 23, 24, 25))
def constant_of_shape(b: Emitter, node: Node, shape: Tensor) -> Tensor:
    """A tensor of one repeated element; equal ones are one constant."""
    if node.has("value"):
        element_dtype(node.tensor_type("value"))
    element = node.attribute("value", np.zeros(1, np.float32)).reshape(())
    return b.full(node.known_extents(shape, "shape"), element)


@onnx_op("EyeLike", since=(9, 22))
def eye_like(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Ones on the ``k``-th diagonal."""
    dtype = element_dtype(node.attribute("dtype")) if node.has("dtype") else x.dtype
    k = node.attribute("k", 0)
    if is_static(x.shape):
        rows, columns = static(x.shape)
        return b.constant(np.eye(rows, columns, k).astype(numpy_dtype(dtype)))
    zeros = b.full(x.shape, np.zeros((), np.int64))
    return b.map_indexed([zeros], lambda index, v: (index(1) - index(0)).equal(k).cast(dtype), dtype)


@onnx_op("Range", since=(11, 27))
def range_(b: Emitter, node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Numbers from known bounds."""
    if any(x.extents is not None for x in (start, limit, delta)):
        return _dynamic_range(b, node, start, limit, delta)
    first, last, step = (node.known(x, what).reshape(()).item() for x, what in
                         ((start, "start"), (limit, "limit"), (delta, "delta")))  # fmt: skip
    count = max(0, math.ceil((last - first) / step))
    dtype = numpy_dtype(start.dtype)
    return b.constant((np.arange(count) * np.asarray(step) + np.asarray(first)).astype(dtype))


def _dynamic_range(b: Emitter, node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = (node.known_extents(x, what)[0] for x, what in
                         ((start, "start"), (limit, "limit"), (delta, "delta")))  # fmt: skip
    if not isinstance(step, int) or step <= 0:
        raise UnknownOrder(f"a range from {first} to {last} in steps of {step}; the step must be above 0")
    length = last - first
    count = ceil_divide(length if lower_bound(length) >= 0 else maximum(length, 0), step)
    zero = b.full((count,), np.zeros((), np.int64))
    result = b.map_indexed([zero], lambda index, v: index(0) * step + first, start.dtype)
    result.counts = count if first == 0 and step == 1 else None
    return result


@onnx_op("Trilu", since=(14,))
def trilu(b: Emitter, node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """The upper or lower triangle of the last two dimensions."""
    offset = 0 if k is None else int(node.known(k, "diagonal").reshape(()))
    upper = bool(node.attribute("upper", 1))
    if x.array is not None and 0 not in x.shape:
        rows = np.arange(x.array.shape[-2])[:, None]
        columns = np.arange(x.array.shape[-1])[None, :]
        kept = columns - rows >= offset if upper else columns - rows <= offset
        return b.constant(np.where(kept, x.array, np.zeros((), x.array.dtype)), x.name)
    row, column = x.rank - 2, x.rank - 1

    def body(index, v: Scalar) -> Scalar:
        distance = index(column) - index(row)
        return (distance >= offset if upper else distance <= offset).where(v, 0)

    return b.map_indexed([x], body)


@onnx_op("OneHot", since=(9, 11, 28))
def one_hot(b: Emitter, node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """``values[1]`` at each index along a new axis, ``values[0]`` elsewhere; indices out of range are
    nowhere.
    """
    count = int(node.known(depth, "depth").reshape(-1)[0])
    axis = node.attribute("axis", -1) % (indices.rank + 1)
    places = b.reshape(b.cast(indices, "i64"), (*indices.shape[:axis], 1, *indices.shape[axis:]))
    off = b.reshape(b.slice_axis(values, 0, 0, 1), ())
    on = b.reshape(b.slice_axis(values, 0, 1, 1), ())
    slots = b.constant(np.arange(count).reshape(count, *[1] * (indices.rank - axis)))

    def body(place: Scalar, slot: Scalar, low: Scalar, high: Scalar) -> Scalar:
        wrapped = (place < 0).where(place + count, place)
        return wrapped.equal(slot).where(high, low)

    return b.map([places, slots, off, on], body, values.dtype, widen=False)
