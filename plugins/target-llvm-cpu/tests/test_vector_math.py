"""The vector math functions, through compiled kernels: samples against mpmath, every float32
against NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from float32_sweep import SWEPT, sigmoid_body, sweep
from kernel_harness import PROCESSORS, Kernel, dispatch_of
from thalweg.dtypes import numpy_dtype

BigFloat = Any
"""An mpmath number; mpmath makes its class when it is imported, which type checkers cannot follow."""

SAMPLES = 1500
SEED = 20


@dataclass(frozen=True)
class Case:
    """A function: its body in a kernel (operands, then the dtype), its meaning, its bound in ulp by dtype."""

    body: Callable
    meaning: Callable
    bounds: dict[str, float]


def _unary(name: str) -> Callable:
    return lambda s, x, dtype: getattr(s, name)(x)


CASES = {
    "exp": Case(_unary("exp"), mp.exp, {"f32": 2.0, "f64": 2.0}),
    "log": Case(_unary("log"), mp.log, {"f32": 2.0, "f64": 2.0}),
    "tanh": Case(_unary("tanh"), mp.tanh, {"f32": 2.0, "f64": 2.0}),
    "erf": Case(_unary("erf"), mp.erf, {"f32": 2.0, "f64": 2.0}),
    "sigmoid": Case(sigmoid_body, lambda x: 1 / (1 + mp.exp(-x)), {"f32": 2.0, "f64": 2.0}),
    "sin": Case(_unary("sin"), mp.sin, {"f32": 0.51, "f64": 1.0}),
    "cos": Case(_unary("cos"), mp.cos, {"f32": 0.51, "f64": 1.0}),
    "pow": Case(lambda s, x, y, dtype: s.powf(x, y), mp.power, {"f32": 0.51, "f64": 2.0}),
}

SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40,
    1e30, -1e30, 2.0**23 + 1, -(2.0**23) - 1, 2.0**24 + 2, 4.0, 6.0, 10.0, 88.7, 88.8, -87.4, -103.9, -104.1,
    355.0, 22.0, 524287.0, 524288.0, 16367173.0 * 2.0**72, 0.70710677, 1.4142135,
)  # fmt: skip
"""Zeros, infinities, NaN, denormals, integers odd and even, ends of ranges, floats near multiples of π/2."""

SPECIAL_F64 = (
    709.78,
    709.79,
    -708.5,
    -745.1,
    -745.2,
    5e-324,
    2.0**52 + 1,
    2.0**53,
    6381956970095103.0 * 2.0**797,
)


def special(dtype: str) -> np.ndarray:
    """Return the special arguments."""
    values = SPECIAL + (SPECIAL_F64 if dtype == "f64" else ())
    return np.array(values, numpy_dtype(dtype))


@cache
def arguments(name: str, dtype: str) -> tuple[np.ndarray, ...]:
    """Return the operands: any bits, ordinary numbers, special ones (for pow: each with each)."""
    rng = np.random.default_rng(SEED)
    kind = numpy_dtype(dtype)
    bits = rng.integers(0, 1 << 8 * kind.itemsize, SAMPLES, np.dtype(f"u{kind.itemsize}")).view(kind)
    ordinary = (rng.normal(size=SAMPLES) * rng.choice([0.1, 1, 10, 1e4], SAMPLES)).astype(kind)
    some = special(dtype)
    if name != "pow":
        return (np.concatenate([bits, ordinary, some]),)
    bases = np.exp(rng.normal(size=SAMPLES) * rng.choice([0.001, 1, 10], SAMPLES)).astype(kind)
    negative = (bases * rng.choice([1, -1], SAMPLES)).astype(kind)
    x, y = (grid.ravel() for grid in np.meshgrid(some, some))
    whole = rng.integers(-40, 40, SAMPLES).astype(kind)
    return np.concatenate([bits, bases, negative, x]), np.concatenate([bits[::-1], ordinary, whole, y])


@cache
def exact(name: str, dtype: str) -> list:
    """Return the results, as mpmath numbers of 200 bits."""
    with mp.workprec(200):
        return [_exact(name, *map(float, values)) for values in zip(*arguments(name, dtype))]


def _exact(name: str, x: float, y: float = 0.0) -> BigFloat:
    meaning = CASES[name].meaning
    if name == "pow":
        return _exact_power(x, y)
    if np.isnan(x) or (name == "log" and x < 0) or (name in ("sin", "cos") and np.isinf(x)):
        return mp.nan
    if name == "log" and x == 0:
        return -mp.inf
    if np.isinf(x):
        table = {"exp": (0, mp.inf), "sigmoid": (0, 1), "log": (mp.nan, mp.inf)}
        return mp.mpf(table.get(name, (-1, 1))[int(x > 0)])
    if name in ("exp", "sigmoid") and x < -2000:
        return mp.mpf(0)
    if name in ("exp", "sigmoid") and x > 2000:
        return mp.inf if name == "exp" else mp.mpf(1)
    return meaning(mp.mpf(x))


def _exact_power(x: float, y: float) -> BigFloat:
    if not (np.isfinite(x) and np.isfinite(y)) or x == 0 or y == 0:
        with np.errstate(all="ignore"):
            # Of two, because for one exponent of 0.5 NumPy takes the square root, which is NaN at -infinity.
            return mp.mpf(float(np.power([x, x], [y, y + 1])[0]))
    if x < 0 and not float(y).is_integer():
        return mp.nan
    exponent = mp.mpf(y) * mp.log(abs(mp.mpf(x)))
    if abs(exponent) > 2000:
        magnitude = mp.inf if exponent > 0 else mp.mpf(0)
    else:
        magnitude = mp.exp(exponent)
    return -magnitude if x < 0 and int(y) % 2 else magnitude


def ulps(output: float, wanted: BigFloat, dtype: str) -> float:
    """Return the distance in units in the last place; infinite where NaN or an infinity is wrong."""
    if mp.isnan(wanted) or np.isnan(output):
        return 0.0 if mp.isnan(wanted) and np.isnan(output) else np.inf
    info = np.finfo(numpy_dtype(dtype))
    top = mp.mpf(2) ** int(info.maxexp)
    wanted = max(-top, min(top, wanted))
    found = mp.mpf(output) if np.isfinite(output) else mp.sign(output) * top
    exponent = max(mp.frexp(wanted)[1] - 1, int(info.minexp)) if wanted else int(info.minexp)
    return float(abs(found - wanted) / mp.mpf(2) ** (exponent - int(info.nmant)))


@cache
def run(name: str, dtype: str, cpu: str) -> np.ndarray:
    """Compile the function for a processor and run it on ``arguments``."""
    operands = arguments(name, dtype)
    body = CASES[name].body
    dispatch = dispatch_of(
        lambda f, *values: f.elementwise(values, lambda s, *x: body(s, *x, dtype)),
        [(x.shape, dtype) for x in operands],
    )
    status, output = Kernel(dispatch, cpu).run(operands)
    assert status == 0
    return output


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", CASES)
def test_sampled_arguments_are_within_the_bound(name: str, dtype: str, cpu: str) -> None:
    output = run(name, dtype, cpu)
    with mp.workprec(200):
        errors = [ulps(float(o), w, dtype) for o, w in zip(output, exact(name, dtype))]
    worst = int(np.argmax(errors))
    at = [float(x[worst]) for x in arguments(name, dtype)]
    bound = CASES[name].bounds[dtype]
    assert errors[worst] <= bound, (
        f"{name}{at} = {output[worst]!r}, but should be {mp.nstr(exact(name, dtype)[worst], 20)}:"
        f" {errors[worst]:.3g} ulp > {bound} [{dtype}, {cpu}, seed {SEED}]"
    )


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", ["tanh", "erf", "sin"])
def test_odd_functions_keep_the_sign_of_zero(name: str, dtype: str, cpu: str) -> None:
    x, output = arguments(name, dtype)[0], run(name, dtype, cpu)
    zeros = x == 0
    assert zeros.sum() >= 2
    assert (np.signbit(output[zeros]) == np.signbit(x[zeros])).all(), f"{name} of zeros: {output[zeros]}"


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_powers_have_the_signs_and_special_values_of_ieee_754(dtype: str) -> None:
    x, y = arguments("pow", dtype)
    places = slice(3 * SAMPLES, None)
    x, y, output = x[places], y[places], run("pow", dtype, "host")[places]
    with np.errstate(all="ignore"):
        wanted = np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)
    for name, test in {"NaN": np.isnan, "infinite": np.isinf, "negative": np.signbit}.items():
        wrong = (test(output) != test(wanted)) & ~(np.isnan(wanted) & np.isnan(output))
        assert not wrong.any(), f"{name} is wrong: {[*zip(x[wrong], y[wrong], output[wrong], wanted[wrong])]}"
    assert np.array_equal(output[wanted == 0], wanted[wanted == 0])


@pytest.mark.parametrize("name", ["exp", "tanh", "sin"])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision_results_are_rounded_from_better_ones(name: str, dtype: str) -> None:
    kind = numpy_dtype(dtype)
    x = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(kind)
    x = x[np.isfinite(x.astype(np.float32))]
    body = CASES[name].body
    dispatch = dispatch_of(
        lambda f, v: f.elementwise([v], lambda s, e: body(s, e, dtype)), [(x.shape, dtype)]
    )
    status, output = Kernel(dispatch).run([x])
    assert status == 0
    with np.errstate(over="ignore"):
        wanted = getattr(np, name)(x.astype(np.float64)).astype(kind)
    steps = np.abs(_ordinal(output) - _ordinal(wanted))
    assert steps.max() <= 1, f"{name}({x[steps.argmax()]}) = {output[steps.argmax()]}"
    assert (steps > 0).mean() < 1e-3


def _ordinal(x: np.ndarray) -> np.ndarray:
    """Number 16-bit floats in their order."""
    bits = x.view(np.uint16).astype(np.int64)
    return np.where(bits >> 15, -(bits & 0x7FFF), bits)


@pytest.mark.full
@pytest.mark.parametrize("name", SWEPT)
def test_every_float32_is_within_two_ulp(name: str) -> None:
    worst = sweep(name)
    assert 0.5 < worst.ulps <= 2.0, f"{name}({worst.argument!r}): {worst.ulps:.3f} ulp"
