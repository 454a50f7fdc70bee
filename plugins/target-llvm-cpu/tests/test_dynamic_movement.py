"""Gather, concat, slice, pad and reshape with dynamic dimensions, of any dtype, with epilogues."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from dynamic_dispatches import (
    broadcast_extents,
    check_dynamic,
    dynamic_extents,
    sizes,
)
from kernel_harness import Kernel, dispatch_of
from random_dispatches import cases, epilogue, generator
from thalweg.extents import Extent, dimension, evaluate
from thalweg.hal import kernel_abi
from thalweg.ir.dialects import tw

DTYPES = ("f32", "f32", "f16", "f64", "i1", "i32", "i64", "i8")
TOKENS, WIDTH = dimension("tokens"), dimension("width")


def _dtype(rng: np.random.Generator) -> str:
    return str(rng.choice(DTYPES))


@cases(24)
def test_random_gather(case: int, cpu: str) -> None:
    rng = generator("dynamic gather", case)
    dtype = _dtype(rng)
    shape = dynamic_extents(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(0, len(shape)))
    index_shape = dynamic_extents(rng, int(rng.integers(1, 3))) if rng.random() < 0.7 else (5,)
    kind = "i64" if rng.random() < 0.5 else "i32"
    result = (*shape[:axis], *index_shape, *shape[axis + 1 :])

    def indices(size: tuple[int, ...], values: Mapping[str, int]) -> np.ndarray:
        (extent,) = sizes([shape[axis]], values)
        return rng.integers(-extent, extent, size).astype(kind.replace("i", "int"))

    def build(f, data, places, other):
        return epilogue(rng, f, f.structured(tw.GatherOp, [data, places], result, axis=axis), other)

    operands = [(shape, dtype), (index_shape, kind), (broadcast_extents(rng, result), dtype)]
    check_dynamic(rng, build, operands, cpu, fill={1: indices}, emitter="movement", bounded=[result])


@pytest.mark.parametrize("index", [0, 4, -5, 5, -6, 2**31 - 1, -(2**31)])
def test_an_index_out_of_a_dynamic_range_fails_the_kernel(index: int) -> None:
    build = lambda f, d, i: f.structured(tw.GatherOp, [d, i], (3, 7), axis=0)
    kernel = Kernel(dispatch_of(build, [((TOKENS, 7), "f32"), ((3,), "i32")]))
    data, indices = np.arange(35, dtype=np.float32).reshape(5, 7), np.array([0, index, 1], np.int32)
    status, output = kernel.run([data, indices], {"tokens": 5})
    inside = -5 <= index < 5
    assert status == (kernel_abi.STATUS_OK if inside else kernel_abi.STATUS_INDEX_OUT_OF_RANGE)
    if inside:
        assert np.array_equal(output, data[indices])


@cases(24)
def test_random_concat(case: int, cpu: str) -> None:
    rng = generator("dynamic concat", case)
    dtype = _dtype(rng)
    shape = list(dynamic_extents(rng, int(rng.integers(1, 5))))
    axis = int(rng.integers(0, len(shape)))
    along: list[Extent] = [shape[axis]]
    pieces: list[Extent] = [1, 3, 17, TOKENS, WIDTH, TOKENS + 1, TOKENS - 1]
    along += [pieces[int(rng.integers(0, len(pieces)))] for _ in range(int(rng.integers(0, 4)))]
    result = (*shape[:axis], sum(along), *shape[axis + 1 :])

    def build(f, other, *values):
        return epilogue(rng, f, f.structured(tw.ConcatOp, [list(values)], result, axis=axis), other)

    parts = [((*shape[:axis], extent, *shape[axis + 1 :]), dtype) for extent in along]
    operands = [(broadcast_extents(rng, result), dtype), *parts]
    check_dynamic(rng, build, operands, cpu, emitter="movement", bounded=[result])


def test_a_concat_of_many_dynamic_pieces_is_planned() -> None:
    rng = generator("many pieces", 0)
    extents = [dimension(f"d{number}") * (number + 1) for number in range(40)]
    result = (2, sum(extents), 3)
    build = lambda f, *x: f.structured(tw.ConcatOp, [list(x)], result, axis=1)
    given = [{f"d{number}": int(rng.integers(1, 9)) for number in range(40)} for _ in range(3)]
    check_dynamic(rng, build, [((2, extent, 3), "f32") for extent in extents], "host", given=given)


@cases(30)
def test_random_slice(case: int, cpu: str) -> None:
    """Parts of dimensions from both ends, backwards, and with strides."""
    rng = generator("dynamic slice", case)
    dtype = _dtype(rng)
    shape = [extent + 3 for extent in dynamic_extents(rng, int(rng.integers(1, 5)))]
    offsets, strides, result = [], [], []
    for extent in shape:
        low, high = (int(v) for v in rng.integers(0, 2, 2))
        size = extent - low - high
        choice = int(rng.integers(0, 6))
        if choice == 0:  # the last elements
            offsets.append(extent - 2)
            strides.append(1)
            result.append(2)
        elif choice == 1:  # backwards
            offsets.append(extent - 1 - high)
            strides.append(-1)
            result.append(size)
        elif choice == 2:  # every second or third
            step = int(rng.integers(2, 4))
            offsets.append(low)
            strides.append(step)
            result.append((size - 1) // step + 1)
        else:
            offsets.append(low)
            strides.append(1)
            result.append(size)

    def build(f, x, other):
        root = f.structured(tw.SliceOp, [x], result, offsets=offsets, strides=strides)
        return epilogue(rng, f, root, other)

    operands = [(shape, dtype), (broadcast_extents(rng, result), dtype)]
    check_dynamic(rng, build, operands, cpu, emitter="movement")


def test_a_slice_at_an_offset_that_only_the_offset_names() -> None:
    rng = generator("dynamic offset", 0)
    build = lambda f, x: f.structured(tw.SliceOp, [x], (5, 3), offsets=[TOKENS - 1, 0], strides=[1, 1])
    check_dynamic(rng, build, [((20, 3), "f32")], "host", given=[{"tokens": n} for n in (1, 2, 16)])


@cases(24)
def test_random_pad(case: int, cpu: str) -> None:
    rng = generator("dynamic pad", case)
    dtype = str(rng.choice(["f32", "f16", "f64", "i8", "i32", "i64"]))
    shape = dynamic_extents(rng, int(rng.integers(1, 5)))
    low, high = ([int(v) for v in rng.choice([0, 0, 1, 3, 5], len(shape))] for _ in range(2))
    result = [a + n + b for a, n, b in zip(low, shape, high)]
    value = float(rng.normal()) if dtype.startswith("f") else int(rng.integers(-100, 100))

    def build(f, x, other):
        root = f.structured(tw.PadOp, [x], result, low=low, high=high, value=value)
        return epilogue(rng, f, root, other)

    operands = [(shape, dtype), (broadcast_extents(rng, result), dtype)]
    check_dynamic(rng, build, operands, cpu, emitter="movement", bounded=[result])


@cases(12)
def test_random_reshape(case: int, cpu: str) -> None:
    rng = generator("dynamic reshape", case)
    dtype = _dtype(rng)
    shape = dynamic_extents(rng, int(rng.integers(2, 5)))
    result = tuple(shape[int(axis)] for axis in rng.permutation(len(shape)))
    if rng.random() < 0.5:
        result = (result[0] * result[1], *result[2:])

    def build(f, x, other):
        return epilogue(rng, f, f.structured(tw.ReshapeOp, [x], result), other)

    operands = [(shape, dtype), (broadcast_extents(rng, result), dtype)]
    check_dynamic(rng, build, operands, cpu, emitter="movement")


@cases(4)
def test_long_runs_are_moved_in_blocks(case: int, cpu: str) -> None:
    rng = generator("long runs", case)
    build = lambda f, x, y: f.structured(tw.ConcatOp, [[x, y]], (2, TOKENS + WIDTH), axis=1)
    given = [{"tokens": t, "width": w} for t, w in ((4096, 4097), (8191, 1), (12289, 4099), (2, 8200))]
    check_dynamic(rng, build, [((2, TOKENS), "f32"), ((2, WIDTH), "f32")], cpu, given=given)


def test_a_dynamic_part_may_be_empty() -> None:
    rng = generator("empty parts", 0)
    tail = TOKENS - 1
    given = [{"tokens": n} for n in (1, 2, 40)]
    rest = lambda f, x: f.structured(tw.SliceOp, [x], (3, tail), offsets=[0, 1], strides=[1, 1])
    check_dynamic(rng, rest, [((3, TOKENS), "f32")], "host", given=given)
    both = lambda f, x, y: f.structured(tw.ConcatOp, [[x, y]], (3, 2 * TOKENS - 1), axis=1)
    check_dynamic(rng, both, [((3, TOKENS), "f32"), ((3, tail), "f32")], "host", given=given)
    fill = lambda f, x: f.structured(tw.PadOp, [x], (3, tail + 2), low=[0, 1], high=[0, 1], value=2.5)
    check_dynamic(rng, fill, [((3, tail), "f32")], "host", given=given)


def test_one_image_of_a_dynamic_batch_is_divided() -> None:
    rng = generator("one image", 0)
    half = (TOKENS, 8, 64, 64)
    build = lambda f, x, y: f.structured(tw.ConcatOp, [[x, y]], (TOKENS, 16, 64, 64), axis=1)
    given = [{"tokens": n} for n in (1, 2, 5)]
    kernel = check_dynamic(rng, build, [(half, "f32"), (half, "f32")], "host", given=given)
    assert evaluate(kernel.plan.kernel.workgroup_count[0], {"tokens": 1}) > 4
    build = lambda f, x, y: f.elementwise([x, y], lambda s, a, b: s.addf(a, b))
    kernel = check_dynamic(rng, build, [(half, "f32"), ((8, 1, 1), "f32")], "host", given=given)
    assert evaluate(kernel.plan.kernel.workgroup_count[0], {"tokens": 1}) > 2
