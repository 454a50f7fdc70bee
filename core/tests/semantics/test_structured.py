"""The tw ops without windows against float64 formulas, plain indexing and onnxruntime."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from thalweg.errors import OutOfRange
from thalweg.semantics import concat, gather, layer_norm, matmul, pad, reshape, slice, softmax

RNG_SEED = 7


def draw(*shape, dtype=np.float32):
    return np.random.default_rng(RNG_SEED).standard_normal(shape).astype(dtype)


def relative(result, reference):
    return np.linalg.norm(result.astype(np.float64) - reference) / np.linalg.norm(
        reference.astype(np.float64)
    )


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-15), (np.float32, 1e-6), (np.float16, 1e-3)])
def test_matmul_broadcasts_leading_dimensions(dtype, bound):
    a, b = draw(2, 1, 5, 7, dtype=dtype), draw(1, 3, 7, 4, dtype=dtype)
    result = matmul(a, b)
    reference = np.einsum("xmk,ykn->xymn", a[:, 0].astype(np.float64), b[0].astype(np.float64))
    assert result.dtype == dtype and result.shape == (2, 3, 5, 4) and relative(result, reference) < bound


def test_matmul_of_integers_is_exact_and_wraps():
    rng = np.random.default_rng(RNG_SEED)
    a, b = rng.integers(-128, 128, (6, 300), np.int8), rng.integers(0, 256, (300, 5), np.uint8)
    reference = [[sum(int(x) * int(y) for x, y in zip(row, column)) for column in b.T] for row in a]
    assert matmul(a, b, dtype=np.dtype(np.int32)).tolist() == reference
    np.testing.assert_array_equal(matmul(a, b), np.array(reference).astype(np.int8))
    wide = matmul(a.astype(np.int64) << 40, b.astype(np.int64))
    np.testing.assert_array_equal(wide, np.array(reference) << 40)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_matmul_of_halves_accumulates_in_float32(dtype):
    result = matmul(np.ones((1, 4096), dtype), np.ones((4096, 1), dtype))
    assert result.dtype == dtype and result.item() == 4096


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_matches_onnxruntime_and_survives_large_values(axis, onnx_node):
    x = draw(3, 4, 5)
    assert relative(softmax(x, axis=axis), onnx_node("Softmax", x, axis=axis)) < 1e-6
    large = np.array([[1e30, -1e30, 1e30], [-np.inf, 0, 0]], np.float32)
    np.testing.assert_allclose(softmax(large, axis=1), [[0.5, 0, 0.5], [0, 0.5, 0.5]])


@pytest.mark.parametrize("axis", [1, -1])
def test_layer_norm_matches_onnxruntime(axis, onnx_node):
    x = draw(2, 3, 8) * 5 + 100
    normalized = x.shape[axis:]
    scale, bias = draw(*normalized), draw(*normalized) + 1
    reference = onnx_node("LayerNormalization", x, scale, bias, axis=axis, epsilon=1e-5)
    assert relative(layer_norm(x, scale, bias, axis=axis, epsilon=1e-5), reference) < 1e-5


def test_gather_counts_negative_indices_from_the_end(onnx_node):
    data, indices = draw(3, 4, 5), np.array([[0, -1], [2, -4]])
    np.testing.assert_array_equal(gather(data, indices, axis=1), onnx_node("Gather", data, indices, axis=1))
    assert gather(data, np.array(1), axis=0).shape == (4, 5)


@pytest.mark.parametrize("index", [4, -5])
def test_gather_refuses_an_index_outside(index):
    with pytest.raises(OutOfRange, match=f"gather index {index} is outside a dimension of 4"):
        gather(draw(3, 4), np.array([0, index], np.int32), axis=1)


def test_concat():
    a, b = draw(2, 3), draw(2, 1)
    result = concat(a, b, a, axis=1)
    assert result.shape == (2, 7) and (result[:, 3] == b[:, 0]).all() and (result[:, 4:] == a).all()


def test_slice_with_negative_strides_and_empty_results():
    x = np.arange(60).reshape(5, 12)
    result = slice(x, offsets=(4, 11), strides=(-2, -5), shape=(3, 3))
    np.testing.assert_array_equal(result, [[x[i, j] for j in (11, 6, 1)] for i in (4, 2, 0)])
    np.testing.assert_array_equal(slice(x, offsets=(1, 2), strides=(1, 3), shape=(2, 4)), x[1:3, 2:12:3])
    assert slice(x, offsets=(0, 0), strides=(1, 1), shape=(0, 12)).shape == (0, 12)


def test_pad_and_reshape():
    x = np.arange(6, dtype=np.dtype(np.int32)).reshape(2, 3)
    result = pad(x, low=(1, 0), high=(0, 2), value=-1)
    assert result.tolist() == [[-1] * 5, [0, 1, 2, -1, -1], [3, 4, 5, -1, -1]]
    assert reshape(x.T, shape=(2, 3)).tolist() == [[0, 3, 1], [4, 2, 5]]
