"""Reductions, softmax and layer normalization with dynamic dimensions, with epilogues."""

from __future__ import annotations

import numpy as np
import pytest
from dynamic_dispatches import VALUES, broadcast_extents, check_dynamic, dynamic_extents
from kernel_harness import FLOATS, PROCESSORS, TOLERANCES
from random_dispatches import cases, epilogue, generator, tensor
from test_emitters_reduction import COMBINERS
from thalweg.extents import dimension, evaluate
from thalweg.ir.dialects import tw

TOKENS = dimension("tokens")


@cases(40)
def test_random_reductions(case: int, cpu: str) -> None:
    rng = generator("dynamic reduction", case)
    dtype = str(rng.choice(["f32", "f32", "f64", "f16", "i8", "i32", "i64", "i1"]))
    names = [n for n in COMBINERS if n.endswith("f") == (dtype in FLOATS)]
    name = str(rng.choice(names if dtype != "i1" else ["andi", "ori", "xori"]))
    start = COMBINERS[name] if dtype != "i1" else int(name == "andi")
    rank = int(rng.integers(1, 5))
    shape = dynamic_extents(rng, rank)
    axes = sorted(int(a) for a in rng.choice(rank, int(rng.integers(1, rank + 1)), replace=False))
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)

    def build(f, value, other):
        total = f.reduce([value], axes, start, lambda s, e, a: getattr(s, name)(e, a))
        return total if dtype == "i1" else epilogue(rng, f, total, other)

    def operand(size, values):
        x = tensor(rng, size, dtype)
        if name == "mulf":  # products that stay near one
            return (1.0 + 0.01 * x.astype(np.float64)).astype(x.dtype)
        return np.abs(x) if name == "addf" else x  # sums that do not cancel: the error is relative

    tolerance = {"f16": 5e-3}.get(dtype)
    if name == "mulf" and tolerance is None:
        tolerance = 1e-4 if dtype == "f32" else 1e-12  # every factor of a long product adds its rounding
    operands = [(shape, dtype), (broadcast_extents(rng, kept), dtype)]
    check_dynamic(rng, build, operands, cpu, fill={0: operand}, tolerance=tolerance, emitter="reduction")


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_of_every_length(axis: int, cpu: str) -> None:
    """Rows shorter and longer than a vector, and than a block of four, across and along the vector."""
    rng = generator("sum lengths", axis)
    shape = (3, TOKENS) if axis else (TOKENS, TOKENS + 1)
    build = lambda f, x: f.reduce([x], [axis], 0.0, lambda s, e, a: s.addf(e, a))
    given = [{"tokens": n} for n in range(1, 150)]
    fill = {0: lambda size, values: np.abs(tensor(rng, size, "f32"))}
    check_dynamic(rng, build, [(shape, "f32")], cpu, fill=fill, given=given, emitter="reduction")


@cases(8)
def test_means_divide_by_the_count(case: int, cpu: str) -> None:
    rng = generator("dynamic mean", case)
    shape = dynamic_extents(rng, 3)
    axis = next(axis for axis, extent in enumerate(shape) if not isinstance(extent, int))

    def build(f, x):
        total = f.reduce([x], [axis], 0.0, lambda s, e, a: s.addf(e, a))
        return f.elementwise([total], lambda s, v: s.divf(v, s.count(shape[axis], "f32")))

    fill = {0: lambda size, values: np.abs(tensor(rng, size, "f32"))}
    check_dynamic(rng, build, [(shape, "f32")], cpu, fill=fill, emitter="reduction")


@cases(8)
def test_a_dynamic_reduction_of_nothing_is_its_start(case: int, cpu: str) -> None:
    rng = generator("reduction of nothing", case)
    shape = [(5, TOKENS - 1), (TOKENS - 1, 21), (TOKENS - 1, 3, TOKENS)][case % 3]
    axes = [[1], [0], [0, 2]][case % 3]
    build = lambda f, x: f.reduce([x], axes, 2.5, lambda s, e, a: s.maximumf(e, a))
    given = [{"tokens": n} for n in (1, 2, 9)]
    check_dynamic(rng, build, [(shape, "f32")], cpu, given=given, emitter="reduction")


@cases(30)
def test_random_softmax(case: int, cpu: str) -> None:
    rng = generator("dynamic softmax", case)
    dtype = str(rng.choice(["f32", "f32", "f64", "f16", "bf16"]))
    shape = dynamic_extents(rng, int(rng.integers(1, 5)))
    axis = int(rng.integers(0, len(shape))) if rng.random() < 0.5 else len(shape) - 1
    scale = float(rng.choice([1.0, 10.0]))

    def build(f, x, other):
        return epilogue(rng, f, f.structured(tw.SoftmaxOp, [x], shape, axis=axis), other)

    operands = [(shape, dtype), (broadcast_extents(rng, shape), dtype)]
    fill = {0: lambda size, values: tensor(rng, size, dtype, scale)}
    check_dynamic(rng, build, operands, cpu, fill=fill, tolerance={"f32": 2e-6}.get(dtype), emitter="softmax")


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("dtype", ["f32", "f16", "f64"])
def test_attention_softmax_of_every_length(dtype: str, cpu: str) -> None:
    rng = generator("attention softmax", 0)
    shape = (2, TOKENS, TOKENS)
    build = lambda f, x: f.structured(tw.SoftmaxOp, [x], shape, axis=2)
    given = [{"tokens": n} for n in sorted({*range(1, 36), *VALUES})]
    check_dynamic(rng, build, [(shape, dtype)], cpu, given=given, emitter="softmax")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_a_dynamic_softmax_whose_epilogue_changes_the_dtype(cpu: str) -> None:
    rng = generator("softmax to boolean", 0)

    def build(f, x):
        y = f.structured(tw.SoftmaxOp, [x], (3, TOKENS), axis=1)
        return f.elementwise([y], lambda s, v: s.cmpf("ogt", v, s.constant(0.1, "f32")), "i1")

    given = [{"tokens": n} for n in (1, 3, 4, 7, 16, 17, 67)]
    check_dynamic(rng, build, [((3, TOKENS), "f32")], cpu, given=given, emitter="softmax")


@cases(24)
def test_random_layer_norm(case: int, cpu: str) -> None:
    rng = generator("dynamic layer norm", case)
    dtype = str(rng.choice(["f32", "f32", "f64", "f16"]))
    shape = dynamic_extents(rng, int(rng.integers(1, 5)))
    axis = int(rng.integers(0, len(shape)))

    def build(f, x, scale, bias, other):
        root = f.structured(tw.LayerNormOp, [x, scale, bias], shape, axis=axis, epsilon=1e-3)
        return epilogue(rng, f, root, other)

    row = (shape[axis:], dtype)
    operands = [(shape, dtype), row, row, (broadcast_extents(rng, shape), dtype)]
    tolerance = {"f32": 4e-6, "f64": 4e-14}.get(dtype, 2 * TOLERANCES[dtype])
    check_dynamic(rng, build, operands, cpu, tolerance=tolerance, emitter="layer_norm")


def test_work_of_a_dynamic_dispatch_is_divided() -> None:
    rng = generator("division", 0)
    build = lambda f, x: f.structured(tw.SoftmaxOp, [x], (12, TOKENS, TOKENS), axis=2)
    kernel = check_dynamic(
        rng, build, [((12, TOKENS, TOKENS), "f32")], "host", given=[{"tokens": n} for n in (1, 50)]
    )
    counts = [evaluate(kernel.plan.kernel.workgroup_count[0], {"tokens": n}) for n in (1, 50, 500)]
    assert 1 <= counts[0] < counts[1] <= counts[2] <= 64, counts
