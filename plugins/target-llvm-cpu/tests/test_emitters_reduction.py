"""Reductions over any axes, of any dtype, with epilogues."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import FLOATS, PROCESSORS, check
from random_dispatches import broadcast_operand, cases, epilogue, extents, generator, tensor

COMBINERS = {
    "addf": 0.0, "mulf": 1.0, "maximumf": -np.inf, "minimumf": np.inf,
    "addi": 0, "muli": 1, "maxsi": -128, "minsi": 127, "andi": -1, "ori": 0, "xori": 0,
}  # fmt: skip
"""Combiner → where it starts."""


@cases(24)
def test_random_reductions(case: int, cpu: str) -> None:
    rng = generator("reduction", case)
    dtype = str(rng.choice(["f32", "f32", "f64", "f16", "bf16", "i8", "i32", "i64", "ui8"]))
    names = [n for n in COMBINERS if n.endswith("f") == (dtype in FLOATS)]
    name = str(rng.choice(names))
    start = COMBINERS[name]
    if dtype == "ui8" and start < 0:
        start = 255
    rank = int(rng.integers(1, 5))
    shape = extents(rng, rank)
    axes = sorted(int(a) for a in rng.choice(rank, int(rng.integers(1, rank + 1)), replace=False))
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    scale = 1.0
    x = tensor(rng, shape, dtype, scale)
    if name == "mulf":
        x = (1.0 + 0.01 * x.astype(np.float64)).astype(x.dtype)
    if name == "addf":
        x = np.abs(x)  # sums that do not cancel: the error is relative
    extra = broadcast_operand(rng, kept, dtype)

    def build(f, value, other):
        total = f.reduce([value], axes, start, lambda s, e, a: getattr(s, name)(e, a))
        return epilogue(rng, f, total, other)

    tolerance = {"f16": 5e-3, "bf16": 4e-2}.get(dtype)
    if name == "mulf" and tolerance is None:
        tolerance = 1e-4 if dtype == "f32" else 1e-12  # every factor of a long product adds its rounding
    check(build, [x, extra], cpu, tolerance=tolerance, emitter="reduction")


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize(
    "shape, axes", [((5, 67), [1]), ((67, 5), [0]), ((3, 17, 19), [0, 2]), ((1031,), [0])]
)
def test_sums_of_products_of_two_operands(shape: tuple[int, ...], axes: list[int], cpu: str) -> None:
    rng = generator("sum of products", len(shape))
    x, y = (np.abs(tensor(rng, shape, "f32")) for _ in range(2))

    def body(s, a, b, total):
        return s.addf(total, s.mulf(a, s.exp(s.negf(b))))

    check(lambda f, a, b: f.reduce([a, b], axes, 0.0, body), [x, y], cpu, emitter="reduction")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_long_sums_of_small_floats_keep_their_precision(cpu: str) -> None:
    rng = generator("long sum", 0)
    x = np.abs(tensor(rng, (3, 100_003), "f32"))
    check(lambda f, v: f.reduce([v], [1], 0.0, lambda s, e, a: s.addf(a, e)), [x], cpu, emitter="reduction")


@pytest.mark.parametrize("axis", [0, 1])
def test_maxima_keep_nan(axis: int) -> None:
    x = np.arange(35, dtype=np.float32).reshape(5, 7)
    x[2, 3] = np.nan
    build = lambda f, v: f.reduce([v], [axis], -np.inf, lambda s, e, a: s.maximumf(a, e))
    check(build, [x], emitter="reduction")


@pytest.mark.parametrize("shape, axis", [((0, 3), 0), ((3, 0), 1), ((3, 0), 0)])
def test_reductions_without_elements_give_the_start(shape: tuple[int, ...], axis: int) -> None:
    x = np.zeros(shape, np.float32)
    check(lambda f, v: f.reduce([v], [axis], 7.0, lambda s, e, a: s.addf(a, e)), [x], emitter="reduction")
