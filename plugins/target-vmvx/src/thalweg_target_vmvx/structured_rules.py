"""The verifier's rules for structured ops: operands, parameters and the result they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from thalweg.dtypes import numpy_dtype
from thalweg.extents import lower_bound, upper_bound
from thalweg.semantics.windows import output_extents

from thalweg_target_vmvx.bytecode import Structured, TensorType
from thalweg_target_vmvx.rules import is_float, require, same, same_shape, same_type

MAX_EXTENT = 1 << 40
"""Window sizes, strides, paddings and offsets are at most this."""

Parameters = Mapping[str, Any]
Rule = Callable[[list[TensorType], Parameters, TensorType], None]


def check_structured(op: Structured, operands: list[TensorType]) -> None:
    """Check a structured op.

    :raises Malformed: naming the rule that does not hold. :raises UnknownOrder: whether one holds depends on
        the call.
    """
    rule, count = RULES[op.name]
    require(count is None or len(operands) == count, f"{op.name} takes {count} operands, not {len(operands)}")
    for name, value in op.parameters.items():
        for number in value if isinstance(value, tuple) else (value,):
            bounded = isinstance(number, str | float) or (
                upper_bound(number) >= -MAX_EXTENT and lower_bound(number) <= MAX_EXTENT
            )
            require(bounded or name == "value", f"{op.name}: {name} {number} is out of bounds")
    rule(operands, op.parameters, op.result)


def _gives(result: TensorType, dtype: str, shape) -> None:
    expected = TensorType(dtype, tuple(shape))
    require(same_type(result, expected), f"the result is {result}, not {expected}")


def _product_types(a: TensorType, b: TensorType, result: TensorType) -> None:
    same = a.dtype == b.dtype if is_float(a) or is_float(b) else True
    require(
        same and is_float(a) == is_float(result), f"no product of {a.dtype} and {b.dtype} as {result.dtype}"
    )


def _matmul(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    a, b = operands
    _product_types(a, b, result)
    ranks = len(a.shape) == len(b.shape) >= 2
    require(ranks and same(a.shape[-1], b.shape[-2]), f"cannot multiply {a} by {b}")
    leading = []
    for m, n in zip(a.shape[:-2], b.shape[:-2]):
        require(1 in (m, n) or same(m, n), f"cannot broadcast {a} with {b}")
        leading.append(n if m == 1 else m)
    _gives(result, result.dtype, (*leading, a.shape[-2], b.shape[-1]))


def _window(extents, window, parameters: Parameters) -> tuple[int, ...]:
    """Check a window's parameters, one entry per dimension; returns the positions there are."""
    names = ("strides", "dilations", "pads_low", "pads_high")
    lists = [parameters[name] for name in names]
    require(all(len(values) == len(extents) for values in (window, *lists)), "one entry per dimension")
    require(all(value >= 1 for value in (*window, *lists[0], *lists[1])), "window, stride and dilation ≥ 1")
    require(all(value >= 0 for value in (*lists[2], *lists[3])), "padding ≥ 0")
    padded = [extent + low + high for extent, low, high in zip(extents, lists[2], lists[3])]
    require(prod(padded) <= MAX_EXTENT, f"padded to {padded}")
    return output_extents(extents, window, *lists)


def _conv(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    x, w = operands
    groups = parameters["groups"]
    _product_types(x, w, result)
    require(len(x.shape) == len(w.shape) >= 3 and groups >= 1, f"cannot convolve {x} with {w}")
    require(
        same(x.shape[1], w.shape[1] * groups) and same(w.shape[0] % groups, 0),
        f"channels of {x}, {w}, {groups} groups",
    )
    counts = _window(x.shape[2:], w.shape[2:], parameters)
    _gives(result, result.dtype, (x.shape[0], w.shape[0], *counts))


def _reduce_window(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    (x,) = operands
    require(parameters["kind"] in ("max", "sum"), f"unknown kind {parameters['kind']!r}")
    _gives(result, x.dtype, _window(x.shape, parameters["window"], parameters))


def _axis(axis: int, type_: TensorType) -> int:
    rank = len(type_.shape)
    require(-rank <= axis < rank, f"axis {axis} of {type_}")
    return axis % rank


def _softmax(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    (x,) = operands
    require(is_float(x), f"softmax of {x.dtype}")
    _axis(parameters["axis"], x)
    _gives(result, x.dtype, x.shape)


def _layer_norm(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    x, scale, bias = operands
    normalized = x.shape[_axis(parameters["axis"], x) :]
    require(is_float(x) and is_float(scale) and is_float(bias), "layer_norm of floats only")
    fits = same_shape(scale.shape, normalized) and same_shape(bias.shape, normalized)
    require(fits, f"scale {scale} and bias {bias} of {x}")
    _gives(result, x.dtype, x.shape)


def _gather(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    data, indices = operands
    axis = _axis(parameters["axis"], data)
    require(indices.dtype in ("i32", "i64"), f"gather with indices of {indices.dtype}")
    _gives(result, data.dtype, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))


def _concat(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    require(len(operands) >= 1, "concat of nothing")
    first = operands[0]
    axis = _axis(parameters["axis"], first)
    for other in operands:
        others = (*other.shape[:axis], *first.shape[axis : axis + 1], *other.shape[axis + 1 :])
        fits = other.dtype == first.dtype and same_shape(others, first.shape)
        require(fits, f"concat of {first} with {other}")
    total = sum(other.shape[axis] for other in operands)
    _gives(result, first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _slice(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    (x,) = operands
    offsets, strides = parameters["offsets"], parameters["strides"]
    ranks = len(x.shape) == len(offsets) == len(strides) == len(result.shape)
    require(ranks and result.dtype == x.dtype, f"slice of {x} to {result}")
    for offset, stride, size, extent in zip(offsets, strides, result.shape, x.shape):
        last = offset + (size - 1) * stride
        rule = f"slice from {offset} to {last} by {stride} of a dimension of {extent}"
        require(stride != 0, rule)
        require(same(size, 0) or (0 <= offset < extent and 0 <= last < extent), rule)


def _pad(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    (x,) = operands
    low, high = parameters["low"], parameters["high"]
    require(len(low) == len(high) == len(x.shape) and min((*low, *high), default=0) >= 0, f"pad of {x}")
    value = parameters["value"]
    if not is_float(x):
        bounds = (0, 1) if x.dtype == "i1" else _bounds(x.dtype)
        whole = value == value and abs(value) != np.inf and value == int(value)
        require(whole and bounds[0] <= value <= bounds[1], f"{value} is no {x.dtype}")
    _gives(result, x.dtype, [a + n + b for a, n, b in zip(low, x.shape, high)])


def _bounds(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(numpy_dtype(dtype))
    return int(limits.min), int(limits.max)


def _reshape(operands: list[TensorType], parameters: Parameters, result: TensorType) -> None:
    (x,) = operands
    elements = x.dtype == result.dtype and same(prod(x.shape), prod(result.shape))
    require(elements, f"reshape of {x} to {result}")


RULES: dict[str, tuple[Rule, int | None]] = {
    "matmul": (_matmul, 2),
    "conv": (_conv, 2),
    "reduce_window": (_reduce_window, 1),
    "softmax": (_softmax, 1),
    "layer_norm": (_layer_norm, 3),
    "gather": (_gather, 2),
    "concat": (_concat, None),
    "slice": (_slice, 1),
    "pad": (_pad, 1),
    "reshape": (_reshape, 1),
}
"""Name → its rule and its number of operands (``None``: any)."""
