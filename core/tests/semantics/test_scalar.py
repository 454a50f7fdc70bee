"""Scalar operations: completeness, accuracy, and the cases that MLIR leaves undefined."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from thalweg.ir.builder import SCALAR_OPERATIONS
from thalweg.semantics.scalar import COMBINERS, SCALARS
from thalweg.semantics.special import erf

HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


def apply(name, *operands, **parameters):
    with np.errstate(all="ignore"):
        return SCALARS[name].function(*operands, **parameters)


def ulps(result, reference):
    """Distance in units in the last place of float32."""
    expected = reference.astype(np.float32)
    return np.max(
        np.abs(result.astype(np.float64) - reference) / np.spacing(np.abs(expected)).astype(np.float64)
    )


def test_every_operation_of_the_builder_has_a_meaning():
    assert set(SCALARS) | {"constant"} == SCALAR_OPERATIONS


@pytest.mark.parametrize(
    ("name", "function", "low", "high"),
    [
        ("exp", math.exp, -87, 88), ("log", math.log, 1e-30, 1e30), ("tanh", math.tanh, -12, 12),
        ("erf", math.erf, -5, 5), ("sin", math.sin, -100, 100), ("cos", math.cos, -100, 100),
        ("rsqrt", lambda v: 1 / math.sqrt(v), 1e-6, 1e6), ("sqrt", math.sqrt, 0, 1e6),
    ],
)  # fmt: skip
def test_float32_functions_are_within_one_ulp(name, function, low, high):
    x = np.linspace(low, high, 20001).astype(np.float32)
    reference = np.array([function(float(v)) for v in x])
    assert ulps(apply(name, x), reference) <= 1.0
    for dtype in HALVES:
        half = apply(name, np.array([0.5, 1.25], np.float32).astype(dtype))
        assert half.dtype == dtype
        expected = np.array([function(0.5), function(1.25)]).astype(dtype)
        np.testing.assert_array_equal(half, expected)


def test_erf_is_accurate_in_float64_and_keeps_special_values():
    x = np.concatenate([np.linspace(-7, 7, 40001), np.geomspace(1e-300, 1, 1000)])
    reference = np.array([math.erf(v) for v in x])
    error = np.abs(erf(x) - reference) / np.spacing(np.abs(reference))
    assert error.max() <= 8
    special = erf(np.array([np.inf, -np.inf, -0.0, np.nan]))
    assert special[0] == 1 and special[1] == -1 and np.signbit(special[2]) and np.isnan(special[3])


def test_powf_matches_math_pow():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0.1, 10, 1000).astype(np.float32), rng.uniform(-5, 5, 1000).astype(np.float32)
    reference = np.array([math.pow(float(a), float(b)) for a, b in zip(x, y)])
    assert ulps(apply("powf", x, y), reference) <= 1.0


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_integer_division_truncates_and_never_traps(dtype):
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    a = np.array([7, -7, 7, -7, 5, -5, least, least, most, 0], dtype)
    b = np.array([2, 2, -2, -2, 0, 0, -1, 1, least, 3], dtype)
    assert apply("divsi", a, b).tolist() == [3, -3, -3, 3, 0, 0, least, least, 0, 0]
    assert apply("remsi", a, b).tolist() == [1, -1, 1, -1, 0, 0, 0, 0, most, 0]


def test_division_of_large_i64_is_exact():
    a = np.array([2**62 + 1, -(2**62) - 1], np.int64)
    assert apply("divsi", a, np.array([3, 3], np.int64)).tolist() == [
        1537228672809129301,
        -1537228672809129301,
    ]


def test_float_to_integer_truncates_saturates_and_maps_nan_to_zero():
    x = np.array([1.9, -1.9, 1e30, -1e30, np.nan, np.inf, -np.inf, 300, -0.5], np.float32)
    assert apply("fptosi", x, dtype=np.int8).tolist() == [1, -1, 127, -128, 0, 127, -128, 127, 0]
    assert apply("fptoui", x, dtype=np.uint8).tolist() == [1, 0, 255, 0, 0, 255, 0, 255, 0]
    assert apply("fptoui", x, dtype=np.int8).tolist() == [1, 0, -1, 0, 0, -1, 0, -1, 0]
    wide = apply("fptosi", x, dtype=np.int64)
    assert wide[2] == 2**63 - 1 and wide[3] == -(2**63)


def test_i1_is_one_bit():
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    assert apply("addi", a, b).tolist() == [False, True, True, False]
    assert apply("subi", a, b).tolist() == [False, True, True, False]
    assert apply("muli", a, b).tolist() == [False, False, False, True]
    assert apply("maxsi", a, b).tolist() == [False, False, False, True]
    assert apply("sitofp", a, dtype=np.float32).tolist() == [0, 0, -1, -1]
    assert apply("uitofp", a, dtype=np.float32).tolist() == [0, 0, 1, 1]
    assert apply("extsi", a, dtype=np.int32).tolist() == [0, 0, -1, -1]
    assert apply("extui", a, dtype=np.int32).tolist() == [0, 0, 1, 1]
    assert apply("trunci", np.array([2, 3, -1]), dtype=np.bool_).tolist() == [False, True, True]


def test_casts_follow_the_sign_that_they_name():
    x = np.array([-1, 1], np.int8)
    assert apply("uitofp", x, dtype=np.float32).tolist() == [255, 1]
    assert apply("extui", x, dtype=np.int32).tolist() == [255, 1]
    assert apply("extsi", x, dtype=np.int32).tolist() == [-1, 1]
    assert apply("trunci", np.array([257, -1], np.int32), dtype=np.int8).tolist() == [1, -1]


def test_float_comparisons_follow_mlir():
    nan = math.nan
    a, b = np.array([1, 2, 2, nan], np.float32), np.array([2, 2, 1, 1], np.float32)
    expected = {
        0: "0000", 1: "0100", 2: "0010", 3: "0110", 4: "1000", 5: "1100", 6: "1010", 7: "1110",
        8: "0101", 9: "0011", 10: "0111", 11: "1001", 12: "1101", 13: "1011", 14: "0001", 15: "1111",
    }  # fmt: skip
    for predicate, bits in expected.items():
        got = "".join("1" if v else "0" for v in apply("cmpf", a, b, predicate=predicate))
        assert got == bits, predicate


def test_integer_comparisons_follow_mlir():
    a, b = np.array([-1, 1, 1], np.int32), np.array([1, 1, -1], np.int32)
    signed = {
        0: "010",
        1: "101",
        2: "100",
        3: "110",
        4: "001",
        5: "011",
        6: "001",
        7: "011",
        8: "100",
        9: "110",
    }
    for predicate, bits in signed.items():
        got = "".join("1" if v else "0" for v in apply("cmpi", a, b, predicate=predicate))
        assert got == bits, predicate


def test_maximum_and_minimum_propagate_nan():
    a, b = np.array([1, math.nan, 3], np.float32), np.array([math.nan, 2, 4], np.float32)
    assert np.isnan(apply("maximumf", a, b)).tolist() == [True, True, False]
    assert np.isnan(apply("minimumf", a, b)).tolist() == [True, True, False]


def test_float32_sums_do_not_lose_digits():
    x = np.full((3, 1_000_000), np.float32(0.1))
    for axis in (0, 1):
        total = COMBINERS["addf"](np.ascontiguousarray(x if axis == 1 else x.T), (axis,)).ravel()
        np.testing.assert_allclose(total, np.float64(np.float32(0.1)) * 1_000_000, rtol=1e-12)
