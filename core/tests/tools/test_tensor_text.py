"""Tensors as text: every form of IREE's syntax, back and forth."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from thalweg.dtypes import DTYPES
from thalweg.errors import InvalidArgument
from thalweg.tools.tensor_text import TensorType, format_tensor, parse_values


def parse_type(text: str) -> TensorType:
    """Return the type that well-formed ``text`` names."""
    tensor_type = TensorType.parse(text)
    assert tensor_type is not None, text
    return tensor_type


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2x3xf32", TensorType((2, 3), "f32")),
        ("f64", TensorType((), "f64")),
        ("0x4xi8", TensorType((0, 4), "i8")),
        ("4xsi32", TensorType((4,), "i32")),
        ("4xui16", TensorType((4,), "ui16")),
        ("2xbf16", TensorType((2,), "bf16")),
        ("3.14", None),
        ("2x", None),
        ("2xf31", None),
        ("x", None),
        ("?xf32", None),
    ],
)
def test_types(text, expected):
    assert TensorType.parse(text) == expected


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("2x2xi32", "1 2 3 4", [[1, 2], [3, 4]]),
        ("2x2xi32", "1,2,3,4", [[1, 2], [3, 4]]),
        ("2x2xi32", "[[1 2][3 4]]", [[1, 2], [3, 4]]),
        ("2x2xi32", "[1 2][3 4]", [[1, 2], [3, 4]]),
        ("2x2xi32", "[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        ("2x2xi32", "[1 2 3 4]", [[1, 2], [3, 4]]),
        ("2x1x2xi8", "[[-1 2]][[3 -128]]", [[[-1, 2]], [[3, -128]]]),
        ("1x2xi32", "[1 2]", [[1, 2]]),
        ("2x2xf32", "7", [[7, 7], [7, 7]]),
        ("2xf32", "1e3 -2.5", [1000, -2.5]),
        ("3xf64", "nan inf -INF", [np.nan, np.inf, -np.inf]),
        ("3xi1", "1 0 true", [True, False, True]),
        ("2xui8", "255 0x10", [255, 16]),
        ("i64", "-9223372036854775808", -(2**63)),
        ("f16", "0.5", 0.5),
        ("0x3xf32", "", np.zeros((0, 3))),
    ],
)
def test_values(kind, text, expected):
    tensor_type = parse_type(kind)
    array = parse_values(text, tensor_type)
    assert array.dtype == DTYPES[tensor_type.dtype]
    assert array.shape == tensor_type.shape
    np.testing.assert_array_equal(array, np.array(expected, array.dtype))


@pytest.mark.parametrize(
    "kind, text, message",
    [
        ("2x2xi32", "1 2 3", "2x2xi32 has 4 elements; 3 were given"),
        ("2x2xi32", "", "2x2xi32 has 4 elements; 0 were given"),
        ("2xi32", "1 2.5", "'2.5' is not a value of type i32"),
        ("2xf32", "1 two", "'two' is not a value of type f32"),
        ("2xi8", "1 128", "128 does not fit i8, which holds -128 to 127"),
        ("2xui8", "1 -1", "-1 does not fit ui8, which holds 0 to 255"),
        ("i1", "2", "2 does not fit i1, which holds 0 to 1"),
        ("2x3xi32", "[[1 2][3 4][5 6]]", "the brackets of a 2x3xi32 group its elements as 3x2"),
        ("2x2xi32", "[[1 2 3][4]]", "the brackets of a 2x2xi32 group its elements unevenly"),
        ("2x2xi32", "[[1 2][3 4]", "a bracket is opened and not closed"),
        ("2x2xi32", "[[1 2][3 4]]]", "the brackets of a 2x2xi32 do not match"),
    ],
)
def test_malformed_values(kind, text, message):
    with pytest.raises(InvalidArgument) as error:
        parse_values(text, parse_type(kind))
    assert str(error.value) == message


@pytest.mark.parametrize(
    "array, text",
    [
        (np.array([2, 4, 6, 8], np.float32), "4xf32=2 4 6 8"),
        (np.array(3.14159274, np.float32), "f32=3.14159"),
        (np.array([[1, 2], [3, 4]], np.int32), "2x2xi32=[1 2][3 4]"),
        (np.arange(8, dtype=np.uint8).reshape(2, 2, 2), "2x2x2xui8=[[0 1][2 3]][[4 5][6 7]]"),
        (np.array([[True, False]]), "1x2xi1=[1 0]"),
        (np.array([1e10, np.nan, -np.inf]), "3xf64=1E+10 NAN -INF"),
        (np.array([1.5], ml_dtypes.bfloat16), "1xbf16=1.5"),
        (np.zeros((0, 3), np.int64), "0x3xi64="),
    ],
)
def test_printing(array, text):
    assert format_tensor(array) == text


@pytest.mark.parametrize(
    "shape, limit, text",
    [
        ((6,), 4, "6xi32=0 1 2 3 ..."),
        ((2, 3), 4, "2x3xi32=[0 1 2][3 ...]"),
        ((3, 2), 2, "3x2xi32=[0 1][...]"),
        ((2, 2), 4, "2x2xi32=[0 1][2 3]"),
        ((1,), 0, "1xi32=..."),
    ],
)
def test_printing_stops_at_a_limit(shape, limit, text):
    assert format_tensor(np.arange(np.prod(shape), dtype=np.int32).reshape(shape), limit) == text


@pytest.mark.parametrize("shape", [(), (3,), (1, 4), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("dtype", ["i32", "ui8", "i1", "f32", "f16", "bf16"])
def test_what_is_printed_parses_back(shape, dtype):
    array = np.random.default_rng(7).integers(0, 2, shape).astype(DTYPES[dtype])
    kind, _, values = format_tensor(array).partition("=")
    np.testing.assert_array_equal(parse_values(values, parse_type(kind)), array)
