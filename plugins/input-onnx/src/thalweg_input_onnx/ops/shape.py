"""Ops that move elements without computing on them, and ops on shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np
from thalweg.api import InvalidArgument
from thalweg.dtypes import numpy_dtype
from thalweg.extents import (
    Expression,
    Extent,
    UnknownOrder,
    ceil_divide,
    floor_divide,
    format_shape,
    is_multiple,
    is_static,
    lower_bound,
    maximum,
    minimum,
    static,
)

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter, broadcast_shapes
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.shape_arithmetic import clamp
from thalweg_input_onnx.tensor import Tensor


@onnx_op("Identity", since=(1, 13, 14, 16, 19, 21, 23, 24, 25))
def identity(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The input itself."""
    return x


@onnx_op("Shape", since=(1, 13, 15, 19, 21, 23, 24, 25))
def shape_of(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The shape, or the part of it from ``start`` to ``end``; always known."""
    start, end = node.attribute("start", 0), node.attribute("end", x.rank)
    return b.known_extents(np.array(x.shape, object)[start:end])


@onnx_op("Size", since=(1, 13, 19, 21, 23, 24, 25))
def size_of(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The number of elements; always known."""
    return b.known_extents(np.array(x.size, object))


@onnx_op("Reshape", since=(1,))
def reshape_by_attribute(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """The shape is an attribute, until opset 4."""
    return b.reshape(x, _resolved(x.shape, list(node.required("shape")), False))


@onnx_op("Reshape", since=(5, 13, 14, 19, 21, 23, 24, 25))
def reshape(b: Emitter, node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Row-major reshape: 0 keeps a dimension (unless ``allowzero``), one -1 takes what is left."""
    return b.reshape(
        x, _resolved(x.shape, node.known_extents(shape, "shape"), bool(node.attribute("allowzero", 0)))
    )


def _resolved(old: tuple[Extent, ...], new: list[Extent], allow_zero: bool) -> list[Extent]:
    if not allow_zero:
        if any(extent == 0 and axis >= len(old) for axis, extent in enumerate(new)):
            raise InvalidArgument(f"shape {new} keeps a dimension that {list(old)} does not have")
        new = [old[axis] if extent == 0 else extent for axis, extent in enumerate(new)]
    if -1 in new:
        rest = prod(extent for extent in new if extent != -1)
        left = 0 if rest == 0 else floor_divide(prod(old), rest)
        if new.count(-1) > 1 or left * rest != prod(old) or rest == 0:
            raise InvalidArgument(f"cannot reshape {format_shape(old)} to {format_shape(new)}")
        new = [left if extent == -1 else extent for extent in new]
    return new


@onnx_op("Flatten", since=(1, 9, 11, 13, 21, 23, 24, 25))
def flatten(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """A matrix: the dimensions before ``axis``, and those from it on."""
    axis = node.attribute("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return b.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def _axes(node: Node, axes: Tensor | None) -> list[int] | None:
    """The axes: an attribute until opset 12, then an input."""
    if node.version < 13:
        return node.attribute("axes")
    return None if axes is None else node.known_ints(axes, "axes")


@onnx_op("Squeeze", since=(1, 11, 13, 21, 23, 24, 25))
def squeeze(b: Emitter, node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Remove dimensions of 1: the given ones, or all."""
    given = _axes(node, axes)
    chosen = (
        {axis % x.rank for axis in given} if given else {i for i, extent in enumerate(x.shape) if extent == 1}
    )
    if any(x.shape[axis] != 1 for axis in chosen):
        raise InvalidArgument(f"cannot squeeze dimensions {sorted(chosen)} of {format_shape(x.shape)}")
    return b.reshape(x, [extent for axis, extent in enumerate(x.shape) if axis not in chosen])


@onnx_op("Unsqueeze", since=(1, 11, 13, 21, 23, 24, 25))
def unsqueeze(b: Emitter, node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Insert dimensions of 1; the axes are those of the result."""
    given = _axes(node, axes) or []
    rank = x.rank + len(given)
    chosen = {axis % rank for axis in given}
    if len(chosen) != len(given):
        raise InvalidArgument(f"axes {given} repeat one")
    extents = iter(x.shape)
    return b.reshape(x, [1 if axis in chosen else next(extents) for axis in range(rank)])


@onnx_op("Transpose", since=(1, 13, 21, 23, 24, 25))
def transpose(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Permute the dimensions; reverse them if no permutation is given."""
    return b.transpose(x, node.attribute("perm") or list(range(x.rank))[::-1])


@onnx_op("Concat", since=(1, 4, 11, 13))
def concat(b: Emitter, node: Node, *inputs: Tensor) -> Tensor:
    """Concatenate along an axis."""
    return b.concat(inputs, node.attribute("axis", 1))


@onnx_op("Expand", since=(8, 13))
def expand(b: Emitter, node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Broadcast against a shape (both ways, as NumPy broadcasts two arrays)."""
    return b.broadcast_to(x, broadcast_shapes(x.shape, node.known_extents(shape, "shape")))


@onnx_op("Tile", since=(6, 13))
def tile(b: Emitter, node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    """Repeat along each dimension: broadcast a new dimension before each, then merge the two."""
    counts = node.known_extents(repeats, "repeats")
    if len(counts) != x.rank:
        raise InvalidArgument(f"{len(counts)} repeats for {x.rank} dimensions")
    apart = b.reshape(x, [part for extent in x.shape for part in (1, extent)])
    pairs = [part for count, extent in zip(counts, x.shape) for part in (count, extent)]
    result = [count * extent for count, extent in zip(counts, x.shape)]
    if 0 in result:
        return b.broadcast_to(b.reshape(b.slice_axis(b.reshape(x, (x.size,)), 0, 0, 0), (0,)), result)
    return b.reshape(b.broadcast_to(apart, pairs), result)


@onnx_op("Split", since=(1, 2, 11, 13, 18))
def split(b: Emitter, node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Parts of given sizes, or as many as there are outputs (the last may be smaller)."""
    axis = node.attribute("axis", 0) % x.rank
    extent = x.shape[axis]
    if sizes is not None:
        parts = node.known_extents(sizes, "sizes")
    elif node.has("split"):
        parts = list(node.attribute("split"))
    else:
        count = node.attribute("num_outputs", node.outputs)
        parts = _parts(b, extent, count)
    if sum(parts) != extent:
        found = f"parts of {format_shape(parts)}"
        raise InvalidArgument(f"{found} do not make up dimension {axis} of {format_shape(x.shape)}")
    starts = [sum(parts[:i]) for i in range(len(parts))]
    return tuple(b.slice_axis(x, axis, start, size) for start, size in zip(starts, parts))


def _parts(b: Emitter, extent: Extent, count: int) -> list[Extent]:
    """Return the sizes of ``count`` parts; the last may be smaller, and of a dynamic dimension not empty."""
    size = ceil_divide(extent, count)
    if isinstance(extent, int):
        return [minimum(size, maximum(0, extent - i * size)) for i in range(count)]
    rest = extent - size * (count - 1)
    if not is_multiple(extent, count):
        b.at_least(rest, 1, f"the last of {count} parts of {extent}")
    return [*[size] * (count - 1), rest]


@onnx_op("Slice", since=(1,))
def slice_by_attributes(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Bounds as attributes, until opset 9."""
    starts, ends = node.required("starts"), node.required("ends")
    return _sliced(b, x, starts, ends, node.attribute("axes"), None)


@onnx_op("Slice", since=(10, 11, 13))
def slice_(
    b: Emitter, node: Node, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """NumPy's slices, with known bounds."""
    return _sliced(
        b, x, node.known_extents(starts, "starts"), node.known_extents(ends, "ends"),
        None if axes is None else node.known_ints(axes, "axes"),
        None if steps is None else node.known_ints(steps, "steps"),
    )  # fmt: skip


def _sliced(
    b: Emitter,
    x: Tensor,
    starts: Sequence[Extent],
    ends: Sequence[Extent],
    axes: list[int] | None,
    steps: list[int] | None,
) -> Tensor:
    axes = list(range(len(starts))) if axes is None else axes
    offsets: list[Extent] = [0] * x.rank
    sizes, strides = list(x.shape), [1] * x.rank
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts)):
        axis %= x.rank
        if step == 0:
            raise InvalidArgument("a slice's step is 0")
        offsets[axis], sizes[axis] = _span(b, x, axis, start, end, step)
        strides[axis] = step
    return b.slice(x, offsets, sizes, strides)


def _span(b: Emitter, x: Tensor, axis: int, start: Extent, end: Extent, step: int) -> tuple[Extent, Extent]:
    """Return the offset and size of a slice along one dimension."""
    extent = x.shape[axis]
    if isinstance(start, int) and isinstance(end, int) and isinstance(extent, int):
        span = range(extent)[slice(*_bounds(start, end, step, extent), step)]
        return (span.start if len(span) else 0), len(span)
    if step < 0:
        from_last = start == -1 or (isinstance(start, int) and start >= 2**31 - 1)
        if from_last and isinstance(end, int) and end < -(2**31 - 1):  # everything, backwards
            return extent - 1, ceil_divide(extent, -step)
        raise UnknownOrder(f"a backward slice of {extent} elements from {start} to {end}")
    if isinstance(extent, int) and isinstance(end, Expression) and x.array is not None:
        # part of a table by a dynamic dimension: ONNX would clamp, and what comes after would not fit
        b.builder.limit(end, extent, table_name(x, axis))
        first, last = clamp(start, extent), end
    else:
        first, last = clamp(start, extent), clamp(end, extent)
    length = last - first
    if lower_bound(length) < 0:
        length = maximum(length, 0)
    return first, ceil_divide(length, step)


def table_name(x: Tensor, axis: int) -> str:
    """Return how the message of a limit names a constant's dimension."""
    return x.name if x.name and axis == 0 else f"dimension {axis} of {x.name or 'a constant'}"


def _bounds(start: int, end: int, step: int, extent: int) -> tuple[int, int | None]:
    """Clamp as ONNX does: an end below ``-extent`` of a backward slice means before the first element."""
    if step < 0:
        return min(start, extent - 1), None if end < -extent else end
    return start, end


@onnx_op("Pad", since=(1, 2))
def pad_by_attributes(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Pads and value as attributes, until opset 10."""
    pads = list(node.attribute("pads") or node.required("paddings"))
    return _padded(b, x, pads, node.attribute("mode", "constant"), node.attribute("value", 0.0))


@onnx_op("Pad", since=(11, 13, 18, 19, 21, 23, 24, 25))
def pad(
    b: Emitter, node: Node, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """Pad the given axes (all, if left out) with a known value, or by the mode."""
    given = node.known_extents(pads, "pads")
    chosen = (
        list(range(x.rank)) if axes is None else [axis % x.rank for axis in node.known_ints(axes, "axes")]
    )
    full: list[Extent] = [0] * (2 * x.rank)
    for i, axis in enumerate(chosen):
        full[axis], full[x.rank + axis] = given[i], given[len(chosen) + i]
    fill = 0 if value is None or value.size == 0 else node.known(value, "pad value").reshape(-1)[0].item()
    return _padded(b, x, full, node.attribute("mode", "constant"), fill)


def _padded(b: Emitter, x: Tensor, pads: Sequence[Extent], mode: str, value: float | int) -> Tensor:
    if mode == "constant" and not is_static(pads):
        return _padded_dynamic(b, x, pads, value)
    pads = static(pads)
    low, high = pads[: x.rank], pads[x.rank :]
    if mode == "constant":
        for axis, (before, after) in enumerate(zip(low, high)):
            if before < 0 or after < 0:
                size = x.shape[axis] + min(0, before) + min(0, after)
                x = b.slice_axis(x, axis, max(0, -before), size)
        return b.pad(x, [max(0, n) for n in low], [max(0, n) for n in high], value)
    modes: dict[str, Literal["edge", "reflect", "wrap"]] = {m: m for m in ("edge", "reflect", "wrap")}
    if mode not in modes:
        raise UnsupportedForm(f"pad mode {mode!r}", "use constant, edge, reflect or wrap")
    for axis, (before, after) in enumerate(zip(low, high)):
        if (before or after) and not is_static(x.shape[axis]):
            x = b.gather(x, _mirrored(b, x.shape[axis], before, after, mode), axis)
        elif before or after:
            source = np.pad(
                np.arange(*static([x.shape[axis]])), (max(0, before), max(0, after)), mode=modes[mode]
            )
            source = source[max(0, -before) : len(source) - max(0, -after)]
            x = b.gather(x, b.constant(source.astype(np.int64)), axis)
    return x


def _padded_dynamic(b: Emitter, x: Tensor, pads: Sequence[Extent], value: float | int) -> Tensor:
    """Concatenate as many elements of ``value`` as each dimension's pads say."""
    for axis, (before, after) in enumerate(zip(pads[: x.rank], pads[x.rank :])):
        if lower_bound(before) < 0 or lower_bound(after) < 0:
            raise UnknownOrder(f"pads of {before} and {after}, which may be negative")
        element = np.asarray(value, numpy_dtype(x.dtype))
        fills = [
            b.full((*x.shape[:axis], n, *x.shape[axis + 1 :]), element) if n != 0 else None
            for n in (before, after)
        ]
        x = b.concat([part for part in (fills[0], x, fills[1]) if part is not None], axis)
    return x


def _mirrored(b: Emitter, extent: Extent, before: int, after: int, mode: str) -> Tensor:
    """The source places (i64) of a dynamic dimension that is padded by its own elements."""
    if mode != "edge":
        widest = max(before, after)
        b.at_least(extent, widest + (mode == "reflect"), f"{mode} pads of {before} and {after}")

    def place(index, v: Scalar) -> Scalar:
        i = index(0) - before
        if mode == "wrap":
            return (i + extent).remainder(extent)
        if mode == "edge":
            return i.maximum(0).minimum(extent - 1)
        return i.like(extent - 1) - abs(i.like(extent - 1) - abs(i))

    return b.map_indexed([b.full((extent + before + after,), np.zeros((), np.int64))], place)


@onnx_op("DepthToSpace", since=(1, 11, 13, 28))
def depth_to_space(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Blocks of channels become blocks of pixels."""
    n, c, h, w = x.shape
    size = node.required("blocksize")
    if node.attribute("mode", "DCR") == "DCR":
        parts = b.transpose(b.reshape(x, (n, size, size, c // size**2, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        parts = b.transpose(b.reshape(x, (n, c // size**2, size, size, h, w)), (0, 1, 4, 2, 5, 3))
    return b.reshape(parts, (n, c // size**2, h * size, w * size))


@onnx_op("SpaceToDepth", since=(1, 13, 28))
def space_to_depth(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Blocks of pixels become blocks of channels."""
    n, c, h, w = x.shape
    size = node.required("blocksize")
    split = b.reshape(x, (n, c, h // size, size, w // size, size))
    order = (0, 1, 3, 5, 2, 4) if node.attribute("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return b.reshape(b.transpose(split, order), (n, c * size**2, h // size, w // size))
