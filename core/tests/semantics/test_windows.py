"""Convolutions and window reductions against onnxruntime and plain loops."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from thalweg.semantics import conv, reduce_window, windows


def relative(result, reference):
    return np.linalg.norm(result.astype(np.float64) - reference) / np.linalg.norm(
        reference.astype(np.float64)
    )


CONVOLUTIONS = {
    "1x1": ((2, 8, 7, 9), (5, 8, 1, 1), (1, 1), (1, 1), (0, 0), (0, 0), 1),
    "3x3": ((2, 3, 11, 10), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    "strided": ((1, 3, 15, 16), (4, 3, 3, 5), (2, 3), (1, 1), (1, 2), (0, 1), 1),
    "dilated": ((1, 3, 15, 16), (4, 3, 3, 3), (1, 2), (2, 3), (2, 3), (2, 3), 1),
    "grouped": ((2, 6, 9, 9), (8, 3, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 2),
    "depthwise": ((2, 6, 9, 9), (6, 1, 3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 6),
    "multiplier": ((1, 3, 9, 9), (6, 1, 3, 3), (1, 1), (2, 2), (1, 1), (1, 1), 3),
    "1d": ((2, 4, 20), (3, 4, 5), (2,), (1,), (2,), (1,), 1),
    "3d": ((1, 2, 6, 7, 8), (3, 2, 3, 2, 3), (1, 2, 1), (1, 1, 2), (1, 0, 1), (1, 1, 0), 1),
}


def parameters(strides, dilations, low, high, groups):
    return {"strides": strides, "dilations": dilations, "pads_low": low, "pads_high": high, "groups": groups}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv_matches_onnxruntime(case, onnx_node, monkeypatch):
    shape, kernel, strides, dilations, low, high, groups = CONVOLUTIONS[case]
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(kernel).astype(np.float32)
    reference = onnx_node(
        "Conv", x, w, strides=strides, dilations=dilations, pads=[*low, *high], group=groups,
        kernel_shape=kernel[2:],
    )  # fmt: skip
    result = conv(x, w, **parameters(strides, dilations, low, high, groups))
    assert result.shape == reference.shape and relative(result, reference) < 1e-6
    monkeypatch.setattr(windows, "COLUMN_BYTES", 1)  # one row of positions at a time
    assert relative(conv(x, w, **parameters(strides, dilations, low, high, groups)), reference) < 1e-6


def test_conv_of_integers_is_exact_and_wraps():
    rng = np.random.default_rng(2)
    same = parameters((1, 1), (1, 1), (0, 0), (0, 0), 1)
    x, w = rng.integers(-128, 128, (1, 3, 5, 5), np.int8), rng.integers(-128, 128, (2, 3, 3, 3), np.int8)
    wide = conv(x, w, **same, dtype=np.dtype(np.int32))
    for o in range(2):
        window = x[0, :, 1:4, 2:5].astype(np.int64) * w[o].astype(np.int64)
        assert wide[0, o, 1, 2] == window.sum()
    np.testing.assert_array_equal(conv(x, w, **same), wide.astype(np.int8))
    big = conv(x.astype(np.int64) << 32, w.astype(np.int64), **same)
    np.testing.assert_array_equal(big, wide.astype(np.int64) << 32)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_conv_of_halves_accumulates_in_float32(dtype):
    x, w = np.ones((1, 3000, 1, 1), dtype), np.ones((1, 3000, 1, 1), dtype)
    result = conv(x, w, **parameters((1, 1), (1, 1), (0, 0), (0, 0), 1))
    assert result.dtype == dtype and result.item() == np.float32(3000).astype(dtype)


POOLS = {
    "2x2": ((2, 3, 8, 8), (2, 2), (2, 2), (1, 1), (0, 0), (0, 0)),
    "padded": ((1, 2, 9, 10), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    "dilated": ((1, 2, 9, 10), (3, 2), (1, 2), (2, 3), (1, 1), (0, 1)),
    "global": ((1, 3, 7, 5), (7, 5), (1, 1), (1, 1), (0, 0), (0, 0)),
    "1d": ((1, 3, 12), (4,), (3,), (1,), (1,), (2,)),
}


def window_parameters(window, strides, dilations, low, high):
    return {
        "window": (1, 1, *window), "strides": (1, 1, *strides), "dilations": (1, 1, *dilations),
        "pads_low": (0, 0, *low), "pads_high": (0, 0, *high),
    }  # fmt: skip


@pytest.mark.parametrize("case", POOLS)
def test_max_window_matches_onnxruntime(case, onnx_node):
    shape, window, strides, dilations, low, high = POOLS[case]
    x = np.random.default_rng(4).standard_normal(shape).astype(np.float32) - 5
    reference = onnx_node(
        "MaxPool", x, kernel_shape=window, strides=strides, dilations=dilations, pads=[*low, *high]
    )
    result = reduce_window(x, kind="max", **window_parameters(window, strides, dilations, low, high))
    np.testing.assert_array_equal(result, reference)


@pytest.mark.parametrize("case", [case for case in POOLS if case != "dilated"])
def test_sum_window_matches_onnxruntime(case, onnx_node):
    shape, window, strides, dilations, low, high = POOLS[case]
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    mean = onnx_node(
        "AveragePool", x, kernel_shape=window, strides=strides, pads=[*low, *high], count_include_pad=1
    )
    result = reduce_window(x, kind="sum", **window_parameters(window, strides, dilations, low, high))
    assert relative(result, mean * np.prod(window)) < 1e-6


def test_windows_of_integers_and_of_channels():
    x = np.arange(-12, 12, dtype=np.int8).reshape(1, 6, 2, 2)
    along = {
        "window": (1, 3, 1, 1), "strides": (1,) * 4, "dilations": (1,) * 4,
        "pads_low": (0, 1, 0, 0), "pads_high": (0, 1, 0, 0),
    }  # fmt: skip
    padded = np.pad(x.astype(np.int64), ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = np.stack([padded[:, i : i + 3].sum(1) for i in range(6)], 1)
    np.testing.assert_array_equal(reduce_window(x, kind="sum", **along), sums.astype(np.int8))
    lowest = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), constant_values=-128)
    most = np.stack([lowest[:, i : i + 3].max(1) for i in range(6)], 1)
    np.testing.assert_array_equal(reduce_window(x, kind="max", **along), most)
