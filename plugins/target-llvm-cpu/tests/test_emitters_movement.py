"""Gather, concat, slice, pad and reshape of any dtype, with epilogues."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import Kernel, check, dispatch_of
from random_dispatches import broadcast_operand, cases, epilogue, extents, generator, tensor
from thalweg.hal import kernel_abi
from thalweg.ir.dialects import tw

DTYPES = ("f32", "f32", "f16", "bf16", "f64", "i1", "i8", "i32", "i64", "ui8")


def _dtype(rng: np.random.Generator) -> str:
    return str(rng.choice(DTYPES))


@cases(12)
def test_random_gather(case: int, cpu: str) -> None:
    rng = generator("gather", case)
    dtype = _dtype(rng)
    shape = extents(rng, int(rng.integers(1, 4)), 2000)
    axis = int(rng.integers(0, len(shape)))
    index_shape = extents(rng, int(rng.integers(0, 3)), 60)
    kind = np.int64 if rng.random() < 0.5 else np.int32
    indices = rng.integers(-shape[axis], shape[axis], index_shape).astype(kind)
    result = (*shape[:axis], *index_shape, *shape[axis + 1 :])

    def build(f, data, places, other):
        return epilogue(rng, f, f.structured(tw.GatherOp, [data, places], result, axis=axis), other)

    operands = [tensor(rng, shape, dtype), indices, broadcast_operand(rng, result, dtype)]
    check(build, operands, cpu, emitter="movement")


@pytest.mark.parametrize("index", [5, -6, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_an_index_out_of_range_fails_the_kernel(kind: type, index: int) -> None:
    data, indices = np.arange(15, dtype=np.float32).reshape(5, 3), np.array([0, index, 1], kind)
    name = np.dtype(kind).name.replace("int", "i")
    build = lambda f, d, i: f.structured(tw.GatherOp, [d, i], (3, 3), axis=0)
    kernel = Kernel(dispatch_of(build, [((5, 3), "f32"), ((3,), name)]))
    status, _ = kernel.run([data, indices])
    assert status == kernel_abi.STATUS_INDEX_OUT_OF_RANGE


@cases(12)
def test_random_concat(case: int, cpu: str) -> None:
    rng = generator("concat", case)
    dtype = _dtype(rng)
    shape = extents(rng, int(rng.integers(1, 5)), 2000)
    axis = int(rng.integers(0, len(shape)))
    parts = [
        tensor(rng, (*shape[:axis], int(n), *shape[axis + 1 :]), dtype)
        for n in rng.choice([1, 2, 3, 8, 17], int(rng.integers(1, 5)))
    ]
    result = (*shape[:axis], sum(p.shape[axis] for p in parts), *shape[axis + 1 :])

    def build(f, other, *values):
        return epilogue(rng, f, f.structured(tw.ConcatOp, [list(values)], result, axis=axis), other)

    check(build, [broadcast_operand(rng, result, dtype), *parts], cpu, emitter="movement")


@cases(12)
def test_random_slice(case: int, cpu: str) -> None:
    rng = generator("slice", case)
    dtype = _dtype(rng)
    shape = extents(rng, int(rng.integers(1, 5)), 8000)
    offsets, strides, result = [], [], []
    for extent in shape:
        stride = int(rng.choice([1, 1, 2, 3, -1, -2]))
        size = int(rng.integers(1, (extent - 1) // abs(stride) + 2))
        span = (size - 1) * abs(stride)
        low = int(rng.integers(0, extent - span))
        offsets.append(low if stride > 0 else low + span)
        strides.append(stride)
        result.append(size)

    def build(f, x, other):
        root = f.structured(tw.SliceOp, [x], result, offsets=offsets, strides=strides)
        return epilogue(rng, f, root, other)

    operands = [tensor(rng, shape, dtype), broadcast_operand(rng, tuple(result), dtype)]
    check(build, operands, cpu, emitter="movement")


@cases(12)
def test_random_pad(case: int, cpu: str) -> None:
    rng = generator("pad", case)
    dtype = str(rng.choice(["f32", "f16", "f64", "i8", "i32", "i64"]))
    shape = extents(rng, int(rng.integers(1, 5)), 2000)
    low, high = ([int(v) for v in rng.choice([0, 0, 1, 3, 5], len(shape))] for _ in range(2))
    result = [a + n + b for a, n, b in zip(low, shape, high)]
    value = float(rng.normal()) if dtype.startswith("f") else int(rng.integers(-100, 100))

    def build(f, x, other):
        root = f.structured(tw.PadOp, [x], result, low=low, high=high, value=value)
        return epilogue(rng, f, root, other)

    operands = [tensor(rng, shape, dtype), broadcast_operand(rng, tuple(result), dtype)]
    check(build, operands, cpu, emitter="movement")


@cases(6)
def test_random_reshape(case: int, cpu: str) -> None:
    rng = generator("reshape", case)
    dtype = _dtype(rng)
    shape = extents(rng, int(rng.integers(1, 5)))
    result = [int(n) for n in rng.permutation(shape)]

    def build(f, x, other):
        return epilogue(rng, f, f.structured(tw.ReshapeOp, [x], result), other)

    operands = [tensor(rng, shape, dtype), broadcast_operand(rng, tuple(result), dtype)]
    check(build, operands, cpu, emitter="movement")
