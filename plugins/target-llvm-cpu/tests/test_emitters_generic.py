"""Elementwise kernels: every scalar operation on every dtype, and maps, broadcasts and transposes of any
shape.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from kernel_harness import FLOATS, INTEGERS, PROCESSORS, Kernel, check, dispatch_of
from random_dispatches import broadcast_operand, cases, extents, generator, tensor
from thalweg.dtypes import numpy_dtype
from thalweg.ir.evaluate import evaluate_function
from thalweg.semantics.scalar import SCALARS, Family

COUNT = 37
SPECIAL = (
    0, -0.0, np.inf, -np.inf, np.nan, 0.5, -0.5, 1.5, 2.5, -2.5, -0.2, 0.7, 65504, 65520, 6e-8, 2.98e-8, 3e-8,
    -1, 1, 127, 128, -129, 1e9, 3e9,
)  # fmt: skip
"""What roundings, conversions and comparisons trip over."""

FLOAT_CASTS = [
    (name, a, b)
    for a in FLOATS
    for b in FLOATS
    for name in ("extf", "truncf")
    if (numpy_dtype(b).itemsize > numpy_dtype(a).itemsize) == (name == "extf")
    and numpy_dtype(a).itemsize != numpy_dtype(b).itemsize
]
WIDTHS = {"i1": 1} | {dtype: 8 * numpy_dtype(dtype).itemsize for dtype in INTEGERS}
INTEGER_CASTS = [
    (name, a, b)
    for a in WIDTHS
    for b in WIDTHS
    for name in ("extsi", "extui", "trunci")
    if WIDTHS[a] != WIDTHS[b] and (WIDTHS[b] < WIDTHS[a]) == (name == "trunci")
]
SIGNED = ("i1", "i8", "i16", "i32", "i64")


def operations() -> list[tuple[str, str, str]]:
    """Return (operation, operand dtype, result dtype) of every form there is."""
    found: list[tuple[str, str, str]] = []
    for name, scalar in SCALARS.items():
        if scalar.family is Family.FLOAT:
            found += [(name, dtype, dtype) for dtype in FLOATS]
        elif scalar.family is Family.INTEGER:
            found += [(name, d, d) for d in WIDTHS if name != "absi" or d in SIGNED]
        elif scalar.family is Family.COMPARE_FLOAT:
            found += [
                (f"{name} {p}", d, "i1") for d in FLOATS for p in ("oeq", "olt", "oge", "one", "une", "ord")
            ]
        elif scalar.family is Family.COMPARE_INTEGER:
            found += [(f"{name} {p}", d, "i1") for d in WIDTHS for p in ("eq", "slt", "ule", "sgt", "ne")]
        elif name in ("sitofp", "uitofp"):
            found += [(name, a, b) for a in WIDTHS for b in FLOATS]
        elif name in ("fptosi", "fptoui"):
            found += [(name, a, b) for a in FLOATS for b in WIDTHS]
    return [*found, *FLOAT_CASTS, *(c for c in INTEGER_CASTS if c[1] in SIGNED or c[2] in SIGNED)]


OPERATIONS = operations()


def _bits(rng: np.random.Generator, dtype: str) -> np.ndarray:
    """Return values of any bits, special ones among them."""
    kind = numpy_dtype(dtype)
    if dtype == "i1":
        return rng.integers(0, 2, COUNT).astype(bool)
    values = rng.integers(0, 256, COUNT * kind.itemsize, dtype=np.uint8).view(kind)
    if dtype in FLOATS:
        with np.errstate(over="ignore"):
            values[: len(SPECIAL)] = rng.permutation(np.array(SPECIAL).astype(kind))
        return rng.permutation(values)
    ends = np.iinfo(kind)
    values[:9] = np.array([0, 0, 1, ends.min, ends.max, ends.min, ends.max, ends.min, 0], kind)
    if ends.min:
        values[9:12] = -1
    return rng.permutation(values)


def _operate(name: str, result: str) -> Callable:
    operation, *predicate = name.split()
    if predicate:
        return lambda s, a, b: getattr(s, operation)(predicate[0], a, b)
    if SCALARS[operation].family is Family.CAST:
        return lambda s, a: getattr(s, operation)(a, result)
    return lambda s, *operands: getattr(s, operation)(*operands)


NAMES = sorted({name for name, _, _ in OPERATIONS})
WITH_FLOATS = [name for name in NAMES if any({a, b} & set(FLOATS) for n, a, b in OPERATIONS if n == name)]
"""Operations for which ``generic`` code calls builtins, at least for halves."""


@pytest.mark.parametrize(
    ("name", "cpu"), [*((name, "host") for name in NAMES), *((name, "generic") for name in WITH_FLOATS)]
)
def test_scalar_operation_on_every_dtype(name: str, cpu: str) -> None:
    rng = generator(name, 0)
    arity = SCALARS[name.split()[0]].arity
    for _, dtype, result in (form for form in OPERATIONS if form[0] == name):
        inputs = [_bits(rng, dtype) for _ in range(arity)]
        body = _operate(name, result)
        dispatch = dispatch_of(
            lambda f, *x, body=body, result=result: f.elementwise(x, body, result),
            [((COUNT,), dtype)] * arity,
        )
        status, output = Kernel(dispatch, cpu).run(inputs)
        assert status == 0
        (wanted,) = evaluate_function(dispatch.function, inputs, {})
        wrong = ~_agree(output, wanted)
        assert not wrong.any(), (
            f"{name}({dtype}) -> {result}: {[x[wrong][:4] for x in inputs]} gives {output[wrong][:4]},"
            f" but should be {wanted[wrong][:4]}"
        )


ULPS = {"f16": 1e-3, "bf16": 8e-3, "f32": 2.5e-7, "f64": 5e-16}
"""Two units in the last place, relative."""


def _agree(output: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    name = (
        "bf16"
        if output.dtype == ml_dtypes.bfloat16
        else {2: "f16", 4: "f32", 8: "f64"}.get(output.itemsize, "")
    )
    if output.dtype.kind not in "fV" or not name:
        return output == wanted
    a, b = output.astype(np.float64), wanted.astype(np.float64)
    least = float(ml_dtypes.finfo(output.dtype).smallest_subnormal)
    close = np.isclose(a, b, rtol=ULPS[name], atol=2 * least, equal_nan=True)
    return close & ((np.signbit(a) == np.signbit(b)) | np.isnan(a))


@cases(10)
def test_broadcast_operands(case: int, cpu: str) -> None:
    rng = generator("broadcast", case)
    dtype = str(rng.choice([*FLOATS, "i1", "i8", "i32", "i64", "ui8"]))
    shape = extents(rng, int(rng.integers(1, 6)))
    operands = [tensor(rng, shape, dtype), *(broadcast_operand(rng, shape, dtype) for _ in range(2))]
    add, multiply = ("addf", "mulf") if dtype in FLOATS else ("addi", "muli")

    def build(f, a, b, c):
        return f.elementwise([c, a, b], lambda s, z, x, y: getattr(s, add)(getattr(s, multiply)(x, y), z))

    check(build, operands, cpu, emitter="generic")


@cases(10)
def test_transposed_operands(case: int, cpu: str) -> None:
    rng = generator("transpose", case)
    dtype = str(rng.choice([*FLOATS, "i1", "i8", "i16", "i64"]))
    rank = int(rng.integers(2, 6))
    shape = extents(rng, rank)
    permutation = [int(axis) for axis in rng.permutation(rank)]
    if permutation == sorted(permutation):
        permutation.reverse()
    check(lambda f, x: f.transpose(x, permutation), [tensor(rng, shape, dtype)], cpu, emitter="generic")


@pytest.mark.parametrize("cpu", PROCESSORS)
def test_generators_know_their_indices(cpu: str) -> None:
    def body(s):
        return s.addi(s.muli(s.index(0), s.constant(1000, "i64")), s.subi(s.index(2), s.index(1)))

    check(lambda f, x: f.generate((3, 5, 37), "i64", body), [np.zeros(1, np.float32)], cpu, emitter="generic")


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (1,), (), (1, 1, 1)])
def test_shapes_without_extent(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 2.5, np.float32)
    check(lambda f, v: f.elementwise([v], lambda s, e: s.addf(e, e)), [x], emitter="generic")


def test_one_over_one_plus_exp_is_a_sigmoid_where_exp_overflows() -> None:
    x = np.array([-100, -90, -89, -88, 0, 100, -104, 3], np.float32)

    def body(s, v):
        one = s.constant(1.0, "f32")
        return s.divf(one, s.addf(s.exp(s.negf(v)), one))

    dispatch = dispatch_of(lambda f, v: f.elementwise([v], body), [(x.shape, "f32")])
    _, output = Kernel(dispatch).run([x])
    wanted = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.allclose(output, wanted, rtol=3e-7, atol=2e-45)
    assert (output[:3] > 0).all()
