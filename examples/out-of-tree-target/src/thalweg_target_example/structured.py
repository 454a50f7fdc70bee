"""Writes the ``tw`` ops: one rule for each, which gives the lines that compute an element.

What is not here, core rewrites to ops that are (softmax, layer norm), or the backend refuses by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thalweg.ir import extents_of
from thalweg.ir.dialects import tw
from thalweg.ir.dialects.linalg import GenericOp
from xdsl.ir import Operation

from thalweg_target_example.c_text import convert, is_float, least_value, literal, row_major
from thalweg_target_example.emitter import Emitter, Tensor, split
from thalweg_target_example.generic import emit_generic

Parameters = Mapping[str, Any]


def _names(rank: int) -> list[str]:
    return [f"i{axis}" for axis in range(rank)]


def _loop(name: str, extent: str) -> str:
    return f"for (int64_t {name} = 0; {name} < {extent}; ++{name})"


def _matmul(emitter: Emitter, op: tw.MatmulOp, parameters: Parameters) -> list[str]:
    a, b = emitter.tensor(op.a), emitter.tensor(op.b)
    rank = len(a.extents)
    names = _names(rank)

    def leading(value) -> list[str]:  # a leading dimension of 1 is broadcast
        return ["0" if extent == 1 else name for name, extent in zip(names[:-2], extents_of(value))]

    left, right = [*leading(op.a), names[-2], "k"], [*leading(op.b), "k", names[-1]]
    return [
        f"{_sum_type(a)} sum = 0;",
        f"{_loop('k', a.extents[-1])} sum += {_product(a, left, b, right)};",
        f"return {convert(emitter.result(op.result)[0], 'sum')};",
    ]


def _conv(emitter: Emitter, op: tw.ConvOp, parameters: Parameters) -> list[str]:
    x, w = emitter.tensor(op.x), emitter.tensor(op.w)
    names = _names(len(x.extents))
    loops, inside = _window(
        names[2:], x.extents[2:], w.extents[2:], _columns(parameters, "strides", "dilations", "pads_low")
    )
    taps = [f"t{i}" for i in range(len(names) - 2)]
    at_x = [names[0], "first + c", *(f"p{i}" for i in range(len(taps)))]
    at_w = [names[1], "c", *taps]
    return [
        f"const int64_t first = {names[1]} / ({w.extents[0]} / {parameters['groups']}) * {w.extents[1]};",
        f"{_sum_type(x)} sum = 0;",
        _loop("c", w.extents[1]),
        *loops,
        f"  if ({inside}) sum += {_product(x, at_x, w, at_w)};",
        *"}" * len(taps),
        f"return {convert(emitter.result(op.result)[0], 'sum')};",
    ]


def _reduce_window(emitter: Emitter, op: tw.ReduceWindowOp, parameters: Parameters) -> list[str]:
    x = emitter.tensor(op.x)
    names = _names(len(x.extents))
    window = [str(size) for size in parameters["window"]]
    loops, inside = _window(
        names, x.extents, window, _columns(parameters, "strides", "dilations", "pads_low")
    )
    element = x.read([f"p{i}" for i in range(len(names))])
    if parameters["kind"] == "sum":
        start, update = f"{_sum_type(x)} result = 0;", f"result += {element};"
    else:
        start = f"{x.c_type} result = {least_value(x.dtype)};"
        larger = "e != e || e > result" if is_float(x.dtype) else "e > result"  # NaN is the largest
        update = f"{{ const {x.c_type} e = {element}; result = {larger} ? e : result; }}"
    closing = "}" * len(names)
    return [start, *loops, f"  if ({inside}) {update}", closing, f"return {convert(x.dtype, 'result')};"]


def _gather(emitter: Emitter, op: tw.GatherOp, parameters: Parameters) -> list[str]:
    data, indices = emitter.tensor(op.data), emitter.tensor(op.indices)
    axis = parameters["axis"] % len(data.extents)
    names = _names(len(data.extents) - 1 + len(indices.extents))
    end = axis + len(indices.extents)
    return [
        f"const int64_t at = checked_index(a, {indices.read(names[axis:end])}, {data.extents[axis]});",
        f"return {data.read([*names[:axis], 'at', *names[end:]])};",
    ]


def _concat(emitter: Emitter, op: tw.ConcatOp, parameters: Parameters) -> list[str]:
    inputs = [emitter.tensor(value) for value in op.inputs]
    axis = parameters["axis"] % len(inputs[0].extents)
    names = _names(len(inputs[0].extents))
    lines = []
    for tensor in inputs[:-1]:
        lines += [
            f"if (i{axis} < {tensor.extents[axis]}) return {tensor.read(names)};",
            f"i{axis} -= {tensor.extents[axis]};",
        ]
    return [*lines, f"return {inputs[-1].read(names)};"]


def _slice(emitter: Emitter, op: tw.SliceOp, parameters: Parameters) -> list[str]:
    x, strides = emitter.tensor(op.x), parameters["strides"]
    offsets = [emitter.extent(offset) for offset in parameters["offsets"]]
    names = _names(len(x.extents))
    return [f"return {x.read([f'{o} + {n} * {s}' for o, n, s in zip(offsets, names, strides)])};"]


def _pad(emitter: Emitter, op: tw.PadOp, parameters: Parameters) -> list[str]:
    x = emitter.tensor(op.x)
    names = _names(len(x.extents))
    lines = [f"{name} -= {low};" for name, low in zip(names, parameters["low"])]
    inside = " && ".join(f"{n} >= 0 && {n} < {e}" for n, e in zip(names, x.extents)) or "1"
    return [*lines, f"return {inside} ? {x.read(names)} : {literal(x.dtype, parameters['value'])};"]


def _reshape(emitter: Emitter, op: tw.ReshapeOp, parameters: Parameters) -> list[str]:
    x = emitter.tensor(op.x)
    extents = emitter.result(op.result)[1]
    names = [f"j{axis}" for axis in range(len(x.extents))]
    number = f"const int64_t element = {row_major(_names(len(extents)), extents)};"
    return [number, *split("element", names, x.extents), f"return {x.read(names)};"]


def _sum_type(x: Tensor) -> str:
    return "double" if is_float(x.dtype) else "int64_t"


def _product(x: Tensor, at_x: Sequence[str], y: Tensor, at_y: Sequence[str]) -> str:
    return f"({_sum_type(x)}){x.read(at_x)} * {y.read(at_y)}"


def _columns(parameters: Parameters, *names: str) -> list[tuple[int, ...]]:
    """Return what the parameters say of each dimension."""
    return list(zip(*(parameters[name] for name in names)))


def _window(
    names: Sequence[str],
    extents: Sequence[str],
    window: Sequence[str],
    columns: Sequence[tuple[int, ...]],
) -> tuple[list[str], str]:
    """Return loops over the taps ``t0``, … of a window, which define the positions ``p0``, … that they read,
    and the condition that these are inside.

    :param columns: (stride, dilation, padding below) of each dimension.
    """
    loops, inside = [], []
    for i, (name, extent, size, (stride, dilation, low)) in enumerate(zip(names, extents, window, columns)):
        position = f"const int64_t p{i} UNUSED = {name} * {stride} + t{i} * {dilation} - {low};"
        loops += [f"{_loop(f't{i}', size)} {{", f"  {position}"]
        inside.append(f"p{i} >= 0 && p{i} < {extent}")
    return loops, " && ".join(inside) or "1"


_ELEMENT: dict[type[Operation], Callable[[Emitter, Any, Parameters], list[str]]] = {
    tw.MatmulOp: _matmul,
    tw.ConvOp: _conv,
    tw.ReduceWindowOp: _reduce_window,
    tw.GatherOp: _gather,
    tw.ConcatOp: _concat,
    tw.SliceOp: _slice,
    tw.PadOp: _pad,
    tw.ReshapeOp: _reshape,
}
"""Op → the rule that gives the lines of its function, whose parameters are ``i0``, ``i1``, …"""


def _emit_structured(emitter: Emitter, op: Any) -> None:
    lines = _ELEMENT[type(op)](emitter, op, op.parameters())
    emitter.add_function(op.result, _names(len(extents_of(op.result))), lines)


RULES: dict[type[Operation], Callable[[Emitter, Any], None]] = {
    GenericOp: emit_generic,
    **dict.fromkeys(_ELEMENT, _emit_structured),
}
"""Op → what writes it."""
