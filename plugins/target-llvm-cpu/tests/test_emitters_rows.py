"""Softmax along any axis and layer normalization from any axis, with epilogues."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import FLOATS, PROCESSORS, check
from random_dispatches import broadcast_operand, cases, epilogue, extents, generator, tensor
from thalweg.ir.dialects import tw

TOLERANCE = {"f32": 1e-6, "f64": 1e-13, "f16": 2e-3, "bf16": 1.5e-2}


@cases(16)
def test_random_softmax(case: int, cpu: str) -> None:
    rng = generator("softmax", case)
    dtype = str(rng.choice(["f32", *FLOATS]))
    rank = int(rng.integers(1, 5))
    shape = extents(rng, rank)
    axis = int(rng.integers(0, rank))
    x = tensor(rng, shape, dtype, float(rng.choice([1.0, 20.0])))

    def build(f, value, other):
        return epilogue(rng, f, f.structured(tw.SoftmaxOp, [value], shape, axis=axis), other)

    operands = [x, broadcast_operand(rng, shape, dtype)]
    check(build, operands, cpu, tolerance=TOLERANCE[dtype], emitter="softmax")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_softmax_of_large_and_of_infinite_values(cpu: str) -> None:
    x = np.array([[1e38, -1e38, 1e38, 0], [-np.inf, 0, 1, -np.inf], [88, 89, 90, -200]], np.float32)
    build = lambda f, v: f.structured(tw.SoftmaxOp, [v], x.shape, axis=1)
    check(build, [x], cpu, emitter="softmax")


@cases(16)
def test_random_layer_normalization(case: int, cpu: str) -> None:
    rng = generator("layer norm", case)
    dtype = str(rng.choice(["f32", *FLOATS]))
    rank = int(rng.integers(1, 5))
    shape = extents(rng, rank)
    axis = int(rng.integers(0, rank))
    while np.prod(shape[axis:]) == 1:  # a deviation of nothing is all rounding
        shape = extents(rng, rank)
    x = tensor(rng, shape, dtype) + tensor(rng, (1,), dtype, 3.0)
    scale, bias = (tensor(rng, shape[axis:], dtype) for _ in range(2))

    def build(f, value, s, b, other):
        root = f.structured(tw.LayerNormOp, [value, s, b], shape, axis=axis, epsilon=1e-5)
        return epilogue(rng, f, root, other)

    operands = [x, scale, bias, broadcast_operand(rng, shape, dtype)]
    check(build, operands, cpu, tolerance=4 * TOLERANCE[dtype], emitter="layer_norm")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_layer_normalization_of_one_large_constant_is_the_bias(cpu: str) -> None:
    x = np.full((3, 37), 1000.0, np.float32)
    scale, bias = np.full(37, 2.0, np.float32), np.arange(37, dtype=np.float32)
    build = lambda f, *v: f.structured(tw.LayerNormOp, v, x.shape, axis=1, epsilon=1e-5)
    check(build, [x, scale, bias], cpu, emitter="layer_norm")
