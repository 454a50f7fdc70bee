"""Writes the IR of phase ``input`` for tensors of the graph; the vocabulary that op functions use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from thalweg.api import InvalidArgument
from thalweg.dtypes import dtype_name, numpy_dtype
from thalweg.extents import Extent, format_shape, is_static, lower_bound
from thalweg.extents import broadcast_shapes as broadcast_extents
from thalweg.ir import FunctionBuilder, element_name, extents_of
from thalweg.ir.dialects import tw

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.scalar import Body, Scalar
from thalweg_input_onnx.tensor import Tensor

HALVES = ("f16", "bf16")


class Emitter:
    """A ``FunctionBuilder`` over ``Tensor``; every method appends ops and returns the new tensor.

    A tensor without elements is a constant at once, so that no later phase meets one as a result.
    """

    def __init__(self, inputs: Sequence[tuple[str, Sequence[Extent], str]]):
        self.builder = FunctionBuilder("main", inputs)
        self._filled: dict[tuple[tuple[Extent, ...], str, bytes], Tensor] = {}

    # -- constants -------------------------------------------------------------------------------------------

    def constant(self, array: np.ndarray, name: str = "") -> Tensor:
        """A known tensor; the array is held, not copied."""
        array = np.asarray(array)
        return Tensor(array.shape, dtype_name(array.dtype), array, name=name)

    def full(self, shape: Sequence[Extent], scalar: np.generic | np.ndarray) -> Tensor:
        """A tensor of one repeated element; equal ones share their memory."""
        scalar = np.asarray(scalar)
        if not is_static(shape):
            return self.broadcast_to(self.constant(scalar.reshape(())), shape)
        key = (tuple(shape), dtype_name(scalar.dtype), scalar.tobytes())
        if key not in self._filled:
            self._filled[key] = self.constant(np.full(shape, scalar.reshape(()), scalar.dtype), "filled")
        return self._filled[key]

    def value(self, x: Tensor) -> Any:
        """The SSA value; a constant is written on first use."""
        if x.value is None and x.extents is not None:
            x.value = self._written_extents(x.extents, x.dtype)
        if x.value is None:
            assert x.array is not None, x
            x.value = self.builder.constant(np.ascontiguousarray(x.array).reshape(x.shape), x.name or None)
        return x.value

    def known_extents(self, elements: np.ndarray, dtype: str = "i64") -> Tensor:
        """A known tensor of extents (dtype object): a constant where all are numbers."""
        if is_static(elements.ravel().tolist()):
            return self.constant(elements.astype(numpy_dtype(dtype)))
        return Tensor(elements.shape, dtype, extents=elements)

    def _written_extents(self, elements: np.ndarray, dtype: str) -> Any:
        """The SSA value of a tensor of extents: element by element, joined."""
        flat = [
            self._tensor(self.builder.generate((1,), "i64", lambda s, e=extent: s.extent(e)))
            for extent in elements.ravel().tolist()
        ]
        joined = flat[0] if len(flat) == 1 else self.concat(flat, 0)
        return self.value(self.cast(self.reshape(joined, elements.shape), dtype))

    def _tensor(self, value: Any) -> Tensor:
        return Tensor(extents_of(value), element_name(value.type), value=value)

    def _empty(self, shape: Sequence[Extent], dtype: str) -> Tensor:
        return self.constant(np.empty(tuple(shape), numpy_dtype(dtype)))

    # -- limits ----------------------------------------------------------------------------------------------

    def at_least(self, extent: Extent, minimum: int, reason: str) -> None:
        """Say that the program is right only where ``extent`` is at least ``minimum``; the call checks it.

        :raises InvalidArgument: the extent is a number, and smaller.
        """
        if lower_bound(extent) >= minimum:
            return
        if isinstance(extent, int):
            raise InvalidArgument(f"{reason}: {extent} is less than {minimum}")
        self.builder.limit(-extent, -minimum, reason)

    # -- elementwise -----------------------------------------------------------------------------------------

    def map(
        self, operands: Sequence[Tensor], body: Body, dtype: str | None = None, widen: bool = True
    ) -> Tensor:
        """Apply ``body`` to each element of the operands, broadcast against each other.

        :param dtype: the result's; the first operand's if left out.
        :param widen: compute on 16-bit floats in f32.
        """
        dtype = dtype or operands[0].dtype
        shape = broadcast_shapes(*(x.shape for x in operands))
        if 0 in shape:
            return self._empty(shape, dtype)

        def scalar_body(s: Any, *values: Any) -> Any:
            scalars = [Scalar(s, v, x.dtype) for x, v in zip(operands, values)]
            if widen:
                scalars = [v.cast("f32") if v.dtype in HALVES else v for v in scalars]
            return body(*scalars).cast(dtype).value

        return self._tensor(self.builder.elementwise([self.value(x) for x in operands], scalar_body, dtype))

    def map_indexed(
        self, operands: Sequence[Tensor], body: Callable[..., Scalar], dtype: str | None = None
    ) -> Tensor:
        """As ``map``; ``body`` takes first a function from dimension to that dimension's index (i64)."""
        dtype = dtype or operands[0].dtype
        if 0 in (shape := broadcast_shapes(*(x.shape for x in operands))):
            return self._empty(shape, dtype)

        def scalar_body(s: Any, *values: Any) -> Any:
            scalars = [Scalar(s, v, x.dtype) for x, v in zip(operands, values)]
            return body(lambda d: Scalar(s, s.index(d), "i64"), *scalars).cast(dtype).value

        return self._tensor(self.builder.elementwise([self.value(x) for x in operands], scalar_body, dtype))

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """Convert the elements; see ``Scalar.cast``."""
        if x.dtype == dtype:
            return x
        result = self.map([x], lambda v: v, dtype, widen=False)
        result.counts = x.counts if dtype in ("i32", "i64") else None
        return result

    def reduce(
        self,
        x: Tensor,
        axes: Sequence[int],
        initial: float | int,
        combine: Callable[[Scalar, Scalar], Scalar],
        keepdims: bool = False,
    ) -> Tensor:
        """Reduce over ``axes`` with ``combine(element, accumulator)``, from ``initial``; 16-bit floats in
        f32.
        """
        axes = sorted({axis % x.rank for axis in axes}) if x.rank else []
        if not axes:
            return x
        kept = [1 if axis in axes else extent for axis, extent in enumerate(x.shape)]
        shape = kept if keepdims else [extent for axis, extent in enumerate(x.shape) if axis not in axes]
        if 0 in x.shape:
            return self.constant(np.full(shape, initial, numpy_dtype(x.dtype)))
        if x.dtype in HALVES:
            return self.cast(self.reduce(self.cast(x, "f32"), axes, initial, combine, keepdims), x.dtype)

        def scalar_body(s: Any, value: Any, accumulator: Any) -> Any:
            return combine(Scalar(s, value, x.dtype), Scalar(s, accumulator, x.dtype)).value

        value = self.builder.reduce([self.value(x)], axes, initial, scalar_body)
        return self.reshape(self._tensor(value), shape)

    def reduce_sum(self, x: Tensor, axes: Sequence[int], keepdims: bool = False) -> Tensor:
        """The sum over ``axes``."""
        return self.reduce(x, axes, 0, lambda v, total: v + total, keepdims)

    def reduce_mean(self, x: Tensor, axes: Sequence[int], keepdims: bool = False) -> Tensor:
        """The mean over ``axes``."""
        count = prod(x.shape[axis] for axis in axes)
        if not isinstance(count, int):
            return self.map([self.reduce_sum(x, axes, keepdims)], lambda v: v / v.extent(count))
        if not x.is_float:
            return self.map([self.reduce_sum(x, axes, keepdims)], lambda v: v / count)
        return self.map([self.reduce_sum(x, axes, keepdims)], lambda v: v * (1.0 / count))

    def reduce_max(self, x: Tensor, axes: Sequence[int], keepdims: bool = False) -> Tensor:
        """The maximum over ``axes``."""
        return self.reduce(x, axes, least(x.dtype), lambda v, top: v.maximum(top), keepdims)

    # -- movement --------------------------------------------------------------------------------------------

    def reshape(self, x: Tensor, shape: Sequence[Extent]) -> Tensor:
        """Row-major reshape; a constant stays one."""
        shape = tuple(shape)
        if prod(shape) != x.size:
            raise InvalidArgument(f"cannot reshape {format_shape(x.shape)} to {format_shape(shape)}")
        if shape == x.shape:
            return x
        if x.array is not None:
            return self.constant(x.array.reshape(shape), x.name)
        result = self._tensor(self.builder.reshape(self.value(x), shape))
        result.counts = x.counts
        return result

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        """``result.shape[i] == x.shape[permutation[i]]``."""
        if list(permutation) == list(range(x.rank)):
            return x
        if 0 in x.shape:
            return self._empty([x.shape[axis] for axis in permutation], x.dtype)
        moved = [axis for axis in permutation if x.shape[axis] != 1]
        if moved == sorted(moved):  # only unit dimensions move: the elements stay where they are
            return self.reshape(x, [x.shape[axis] for axis in permutation])
        return self._tensor(self.builder.transpose(self.value(x), permutation))

    def broadcast_to(self, x: Tensor, shape: Sequence[Extent]) -> Tensor:
        """Broadcast as NumPy does."""
        if len(shape) < x.rank or broadcast_shapes(x.shape, shape) != tuple(shape):
            raise InvalidArgument(f"{format_shape(x.shape)} does not broadcast to {format_shape(shape)}")
        if tuple(shape) == x.shape:
            return x
        if 0 in shape:
            return self._empty(shape, x.dtype)
        return self._tensor(self.builder.broadcast_to(self.value(x), shape))

    def slice(
        self, x: Tensor, offsets: Sequence[Extent], sizes: Sequence[Extent], strides: Sequence[int]
    ) -> Tensor:
        """``x[offset : offset + size * stride : stride]`` in every dimension."""
        if tuple(sizes) == x.shape and all(s == 1 for s in strides):
            return x
        if 0 in sizes:
            return self._empty(sizes, x.dtype)
        return self._structured(tw.SliceOp, [x], sizes, offsets=offsets, strides=strides)

    def slice_axis(self, x: Tensor, axis: int, offset: Extent, size: Extent) -> Tensor:
        """``size`` elements from ``offset`` on along ``axis``."""
        offsets: list[Extent] = [0] * x.rank
        sizes = list(x.shape)
        offsets[axis], sizes[axis] = offset, size
        return self.slice(x, offsets, sizes, [1] * x.rank)

    def flip(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Reverse the order of the elements along ``axes``."""
        axes = [axis for axis in axes if x.shape[axis] != 1]
        offsets = [extent - 1 if axis in axes else 0 for axis, extent in enumerate(x.shape)]
        if not axes:
            return x
        return self.slice(x, offsets, x.shape, [-1 if axis in axes else 1 for axis in range(x.rank)])

    def pad(self, x: Tensor, low: Sequence[int], high: Sequence[int], value: float | int = 0) -> Tensor:
        """Add ``low`` and ``high`` elements of ``value`` around each dimension."""
        if not any(low) and not any(high):
            return x
        shape = [extent + before + after for extent, before, after in zip(x.shape, low, high)]
        if 0 in x.shape:
            return self.constant(np.full(shape, value, numpy_dtype(x.dtype)))
        value = float(value) if x.is_float else int(value)
        return self._structured(tw.PadOp, [x], shape, low=low, high=high, value=value)

    def concat(self, inputs: Sequence[Tensor], axis: int) -> Tensor:
        """Concatenate along ``axis``."""
        axis %= inputs[0].rank
        full = [x for x in inputs if x.shape[axis] != 0]
        shape = list(inputs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in inputs)
        if len(full) == 1:
            return full[0]
        if 0 in shape:
            return self._empty(shape, inputs[0].dtype)
        value = self.builder.structured(tw.ConcatOp, [[self.value(x) for x in full]], shape, axis=axis)
        return self._tensor(value)

    def gather(self, data: Tensor, indices: Tensor, axis: int) -> Tensor:
        """Slices of ``data`` along ``axis``; the result's shape is data[:axis] + indices + data[axis+1:]."""
        axis %= data.rank
        shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
        if 0 in shape:
            return self._empty(shape, data.dtype)
        if indices.dtype not in ("i32", "i64"):
            indices = self.cast(indices, "i64")
        return self._structured(tw.GatherOp, [data, indices], shape, axis=axis)

    # -- products, windows, normalizations -------------------------------------------------------------------

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Product of the last two dimensions; the leading ones are broadcast. ``a``, ``b`` have rank ≥ 2."""
        if a.shape[-1] != b.shape[-2]:
            raise InvalidArgument(f"cannot multiply {format_shape(a.shape)} by {format_shape(b.shape)}")
        batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape = (*batch, a.shape[-2], b.shape[-1])
        if 0 in shape or a.shape[-1] == 0:
            return self.constant(np.zeros(shape, numpy_dtype(a.dtype)))
        if b.rank == 2 and a.rank > 2:  # one large product instead of a batch of small ones
            rows = self.reshape(a, (prod(a.shape[:-1]), a.shape[-1]))
            return self.reshape(self.matmul(rows, b), shape)
        rank = len(shape)
        a = self.reshape(a, (1,) * (rank - a.rank) + a.shape)
        b = self.reshape(b, (1,) * (rank - b.rank) + b.shape)
        return self._structured(tw.MatmulOp, [a, b], shape)

    def reduce_window(
        self,
        x: Tensor,
        kind: str,
        shape: Sequence[Extent],
        window: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        pads_low: Sequence[int],
        pads_high: Sequence[int],
    ) -> Tensor:
        """``tw.reduce_window``: one entry per dimension in each sequence; 16-bit floats are summed in f32."""
        wide = self.cast(x, "f32") if x.dtype in HALVES and kind == "sum" else x
        result = self._structured(
            tw.ReduceWindowOp, [wide], shape, kind=kind, window=window, strides=strides, dilations=dilations,
            pads_low=pads_low, pads_high=pads_high,
        )  # fmt: skip
        return self.cast(result, x.dtype)

    def conv(self, x: Tensor, w: Tensor, shape: Sequence[Extent], **parameters: Any) -> Tensor:
        """``tw.conv``."""
        return self._structured(tw.ConvOp, [x, w], shape, **parameters)

    def softmax(self, x: Tensor, axis: int) -> Tensor:
        """``tw.softmax`` along ``axis``; 16-bit floats in f32."""
        if 0 in x.shape:
            return x
        if x.dtype in HALVES:
            return self.cast(self.softmax(self.cast(x, "f32"), axis), x.dtype)
        return self._structured(tw.SoftmaxOp, [x], x.shape, axis=axis % x.rank)

    def layer_norm(self, x: Tensor, scale: Tensor, bias: Tensor, axis: int, epsilon: float) -> Tensor:
        """``tw.layer_norm`` over the dimensions from ``axis`` on."""
        return self._structured(
            tw.LayerNormOp, [x, scale, bias], x.shape, axis=axis % x.rank, epsilon=float(epsilon)
        )

    def _structured(
        self, op: type[tw.StructuredOp], operands: Sequence[Tensor], shape: Sequence[Extent], **p: Any
    ):
        if any(0 in x.shape for x in operands) or 0 in shape:
            raise UnsupportedForm(
                f"{op.name} of a tensor without elements", "remove the empty tensor from the model"
            )
        return self._tensor(self.builder.structured(op, [self.value(x) for x in operands], shape, **p))


def broadcast_shapes(*shapes: Sequence[Extent]) -> tuple[Extent, ...]:
    """Return the broadcast shape.

    :raises InvalidArgument: shapes that do not broadcast.
    """
    try:
        return broadcast_extents(shapes)
    except InvalidArgument:
        raise InvalidArgument(f"shapes {', '.join(map(format_shape, shapes))} do not broadcast") from None


def least(dtype: str) -> float | int | bool:
    """Return the least element of a dtype: what a maximum starts from."""
    kind = numpy_dtype(dtype)
    if dtype == "i1":
        return False
    return int(np.iinfo(kind).min) if kind.kind in "iu" else float("-inf")


def greatest(dtype: str) -> float | int | bool:
    """Return the greatest element of a dtype: what a minimum starts from."""
    kind = numpy_dtype(dtype)
    if dtype == "i1":
        return True
    return int(np.iinfo(kind).max) if kind.kind in "iu" else float("inf")
