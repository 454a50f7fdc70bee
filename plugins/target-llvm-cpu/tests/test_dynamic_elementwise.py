"""Elementwise kernels with dynamic dimensions: broadcasts, transposes, generators, of many dtypes."""

from __future__ import annotations

import pytest
from dynamic_dispatches import broadcast_extents, check_dynamic, dynamic_extents
from kernel_harness import FLOATS, PROCESSORS
from random_dispatches import cases, generator
from thalweg.extents import dimension

TOKENS = dimension("tokens")


@cases(20)
def test_broadcast_operands(case: int, cpu: str) -> None:
    rng = generator("dynamic broadcast", case)
    dtype = str(rng.choice([*FLOATS, "i1", "i8", "i32", "i64", "ui8"]))
    shape = dynamic_extents(rng, int(rng.integers(1, 5)))
    add, multiply = ("addf", "mulf") if dtype in FLOATS else ("addi", "muli")

    def build(f, a, b, c):
        return f.elementwise([c, a, b], lambda s, z, x, y: getattr(s, add)(getattr(s, multiply)(x, y), z))

    operands = [(shape, dtype), *((broadcast_extents(rng, shape), dtype) for _ in range(2))]
    check_dynamic(rng, build, operands, cpu, emitter="generic")


@cases(20)
def test_transposed_operands(case: int, cpu: str) -> None:
    rng = generator("dynamic transpose", case)
    dtype = str(rng.choice([*FLOATS, "i1", "i8", "i64"]))
    rank = int(rng.integers(2, 5))
    permutation = [int(axis) for axis in rng.permutation(rank)]
    if permutation == sorted(permutation):
        permutation.reverse()
    shape = dynamic_extents(rng, rank)
    check_dynamic(rng, lambda f, x: f.transpose(x, permutation), [(shape, dtype)], cpu, emitter="generic")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_heads_are_transposed_at_every_length(cpu: str) -> None:
    rng = generator("heads", 0)
    given = [{"tokens": n} for n in (*range(1, 36), 129)]
    build = lambda f, x: f.transpose(x, [1, 2, 0])
    check_dynamic(rng, build, [((TOKENS, 3, 32), "f32")], cpu, given=given, emitter="generic")
    build = lambda f, x: f.transpose(x, [1, 0, 2])
    check_dynamic(rng, build, [((TOKENS, 3, 32), "f32")], cpu, given=given, emitter="generic")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_generators_know_dynamic_indices_and_extents(cpu: str) -> None:
    rng = generator("dynamic generator", 0)
    shape = (3, TOKENS, TOKENS + 5)

    def body(s):
        place = s.addi(s.muli(s.index(0), s.constant(1000, "i64")), s.subi(s.index(2), s.index(1)))
        return s.muli(place, s.extent(TOKENS * 2))

    given = [{"tokens": n} for n in (1, 2, 3, 4, 11, 12, 27, 40)]
    build = lambda f, x: f.generate(shape, "i64", body)
    check_dynamic(rng, build, [((1, TOKENS), "i64")], cpu, given=given, emitter="generic")
