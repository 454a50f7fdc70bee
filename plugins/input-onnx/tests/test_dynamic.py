"""Dynamic dimensions: a model that is imported once gives at every size what onnxruntime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from thalweg.api import InvalidArgument
from thalweg.ir.evaluate import evaluate

from .dynamic_models import BOTH, IMAGE, IMAGES, INT64, check, dynamic_model, node, weights

# -- one op after another ------------------------------------------------------------------------------------

OPS: dict[str, tuple[onnx.NodeProto, dict[str, Any]]] = {
    "relu": (node("Relu"), {}),
    "gelu": (node("Gelu"), {"opset": 20}),
    "softmax over tokens": (node("Softmax", axis=-1), {}),
    "softmax over batch": (node("Softmax", axis=0), {}),
    "softmax, flattened": (node("Softmax", axis=1), {"opset": 11}),
    "log softmax": (node("LogSoftmax", axis=-1), {}),
    "hardmax": (node("Hardmax", axis=-1), {}),
    "argmax over tokens": (node("ArgMax", axis=2), {}),
    "argmin over batch": (node("ArgMin", axis=0, keepdims=0, select_last_index=1), {}),
    "sum": (node("ReduceSum", "x", "a"), {"constants": {"a": np.array([2])}}),
    "mean over batch and tokens": (node("ReduceMean", "x", "a"), {"constants": {"a": np.array([0, 2])}}),
    "max of all": (node("ReduceMax", keepdims=0), {}),
    "norm": (node("ReduceL2", "x", "a"), {"constants": {"a": np.array([-1])}}),
    "log sum exp": (node("ReduceLogSumExp", "x", "a"), {"constants": {"a": np.array([2])}}),
    "product": (node("ReduceProd", "x", "a"), {"constants": {"a": np.array([2])}}),
    "running sum": (node("CumSum", "x", "a"), {"constants": {"a": np.array(2)}}),
    "running sum, exclusive": (node("CumSum", "x", "a", exclusive=1), {"constants": {"a": np.array(2)}}),
    "running sum from the end": (
        node("CumSum", "x", "a", reverse=1, exclusive=1),
        {"constants": {"a": np.array(0)}},
    ),
    "layer norm": (
        node("LayerNormalization", "x", "s", "o", axis=-1),
        {"inputs": {"x": ["batch", "tokens", 4]}, "constants": {"s": weights(4), "o": weights(4)}},
    ),
    "instance norm": (
        node("InstanceNormalization", "x", "s", "o"),
        {"constants": {"s": weights(4), "o": weights(4)}},
    ),
    "group norm": (
        node("GroupNormalization", "x", "s", "o", num_groups=2),
        {
            "inputs": {"x": ["batch", 16, "tokens"]}, "opset": 21,
            "constants": {"s": weights(16), "o": weights(16)},
        },
    ),
    "batch norm": (
        node("BatchNormalization", "x", "s", "o", "o", "v"),
        {"constants": {"s": weights(4), "o": weights(4), "v": abs(weights(4)) + 1}},
    ),
    "lp norm": (node("LpNormalization", axis=-1), {}),
    "local response norm": (node("LRN", size=3), {"inputs": {"x": ["batch", 4, "tokens", 3]}}),
    "transpose": (node("Transpose", perm=[2, 0, 1]), {}),
    "flatten": (node("Flatten", axis=2), {}),
    "unsqueeze": (node("Unsqueeze", "x", "a"), {"constants": {"a": np.array([0, 2])}}),
    "squeeze": (
        node("Squeeze", "x", "a"),
        {"inputs": {"x": ["batch", 1, "tokens", 1]}, "constants": {"a": np.array([1, 3])}},
    ),
    "squeeze of all": (node("Squeeze"), {"inputs": {"x": [1, 4, 1, 3]}}),
    "reshape with 0 and -1": (node("Reshape", "x", "s"), {"constants": {"s": np.array([0, 2, 2, -1])}}),
    "reshape that divides by the batch": (
        node("Reshape", "x", "s"),
        {"inputs": {"x": ["batch", "tokens", 4, 3]}, "constants": {"s": np.array([0, -1, 2, 6])}},
    ),
    "reshape to a matrix": (node("Reshape", "x", "s"), {"constants": {"s": np.array([-1, 4])}}),
    "tile": (node("Tile", "x", "r"), {"constants": {"r": np.array([2, 1, 3])}}),
    "expand": (node("Expand", "x", "s"), {"constants": {"s": np.array([2, 1, 1, 1])}}),
    "concat over tokens": (node("Concat", "x", "x", "x", axis=2), {}),
    "concat with a constant": (node("Concat", "x", "c", axis=0), {
        "inputs": {"x": ["batch", 4, 3]}, "constants": {"c": weights(2, 4, 3)}}),
    "pad": (node("Pad", "x", "p"), {"constants": {"p": np.array([1, 0, 2, 0, 0, 3])}}),
    "pad, edge": (node("Pad", "x", "p", mode="edge"), {"constants": {"p": np.array([0, 0, 2, 0, 0, 3])}}),
    "slice": (
        node("Slice", "x", "s", "e", "a"),
        {"constants": {"s": np.array([1, -3]), "e": np.array([3, 2**62]), "a": np.array([1, 2])}},
    ),
    "slice of all but the last": (
        node("Slice", "x", "s", "e", "a"),
        {"constants": {"s": np.array([0]), "e": np.array([-1]), "a": np.array([2])}},
    ),
    "every second": (
        node("Slice", "x", "s", "e", "a", "t"),
        {"constants": {"s": np.array([0]), "e": np.array([2**62]), "a": np.array([2]), "t": np.array([2])}},
    ),
    "reversed": (
        node("Slice", "x", "s", "e", "a", "t"),
        {
            "constants": {
                "s": np.array([-1]), "e": np.array([-(2**62)]), "a": np.array([2]), "t": np.array([-1])
            }
        },
    ),
    "gather over tokens": (node("Gather", "x", "i", axis=2), {"constants": {"i": np.array(0)}}),
    "gather of the last": (node("Gather", "x", "i", axis=2), {"constants": {"i": np.array(-1)}}),
    "gather elements": (
        node("GatherElements", "x", "i", axis=1),
        {"inputs": {"x": ["batch", 10, "tokens"], "i": ["batch", 3, "tokens"]}, "types": {"i": INT64}},
    ),
    "matmul": (node("MatMul", "x", "w"), {
        "inputs": {"x": ["batch", "tokens", 4]}, "constants": {"w": weights(4, 5)}}),
    "matmul over tokens": (
        node("MatMul", "x", "z"),
        {"inputs": {"x": ["batch", 4, "tokens"], "z": ["batch", "tokens", 6]}},
    ),
    "einsum": (
        node("Einsum", "x", "z", equation="bhid,bhjd->bhij"),
        {"inputs": {"x": ["batch", 2, "tokens", 4], "z": ["batch", 2, "tokens", 4]}},
    ),
    "einsum that sums tokens": (node("Einsum", "x", equation="bct->bc"), {}),
    "gemm": (
        node("Gemm", "x", "w", "c", transB=1),
        {"inputs": {"x": ["batch", 4]}, "constants": {"w": weights(5, 4), "c": weights(5)}},
    ),
    "one hot": (
        node("OneHot", "x", "d", "v"),
        {
            "inputs": {"x": ["batch", "tokens"]}, "types": {"x": INT64},
            "constants": {"d": np.array(10), "v": np.array([0, 1], np.float32)},
        },
    ),
    "trilu": (node("Trilu", upper=0), {}),
    "eye like": (node("EyeLike", k=1), {"inputs": {"x": ["batch", "tokens"]}}),
    "where": (
        node("Where", "m", "x", "c"),
        {
            "inputs": {"x": ["batch", 4, "tokens"], "m": ["batch", 1, "tokens"]},
            "types": {"m": TensorProto.BOOL}, "constants": {"c": np.float32(-1e9)},
        },
    ),
    "prelu": (node("PRelu", "x", "s"), {"constants": {"s": weights(4, 1)}}),
    "global average pool": (node("GlobalAveragePool"), {}),
    "global max pool": (node("GlobalMaxPool"), {}),
    "shape": (node("Shape"), {}),
    "size": (node("Size"), {}),
    "dynamic quantize": (
        helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"]), {"outputs": ("y", "s", "z")}
    ),
    "quantize": (node("QuantizeLinear", "x", "s", "z"), {
        "constants": {"s": np.float32(0.1), "z": np.uint8(100)}}),
    "lstm over a dynamic batch": (
        helper.make_node("LSTM", ["x", "w", "r", "c"], ["y", "h"], hidden_size=3, direction="bidirectional"),
        {
            "inputs": {"x": [5, "batch", 4]}, "outputs": ("y", "h"),
            "constants": {"w": weights(2, 12, 4), "r": weights(2, 12, 3), "c": weights(2, 24)},
        },
    ),
    "gru over a dynamic batch": (
        helper.make_node("GRU", ["x", "w", "r"], ["y", "h"], hidden_size=3),
        {
            "inputs": {"x": [5, "batch", 4]}, "outputs": ("y", "h"),
            "constants": {"w": weights(1, 9, 4), "r": weights(1, 9, 3)},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_an_op_of_dynamic_dimensions_agrees_with_onnxruntime(name):
    proto, model = OPS[name]
    check(dynamic_model([proto], **model), BOTH)


def test_split_over_a_dynamic_dimension():
    proto = helper.make_node("Split", ["x"], ["a", "b", "c"], axis=2, num_outputs=3)
    sizes = [{"batch": 1, "tokens": n} for n in (3, 6, 7, 8)]
    program = check(dynamic_model([proto], outputs=("a", "b", "c")), sizes)
    with pytest.raises(InvalidArgument, match="the last of 3 parts of tokens"):
        evaluate(program, [np.zeros((1, 4, 1), np.float32)])


def test_parts_of_known_sizes_beside_a_dynamic_dimension():
    proto = helper.make_node("Split", ["x", "n"], ["a", "b"], axis=1)
    check(dynamic_model([proto], constants={"n": np.array([1, 3])}, outputs=("a", "b")), BOTH)


@pytest.mark.parametrize("mode", ["reflect", "wrap"])
def test_pads_of_a_dynamic_dimensions_own_elements_limit_it(mode):
    model = dynamic_model(
        [node("Pad", "x", "p", mode=mode)], constants={"p": np.array([0, 0, 2, 0, 0, 3])}, opset=19
    )
    program = check(model, [{"batch": 2, "tokens": n} for n in (4, 5, 9)])
    with pytest.raises(InvalidArgument, match=f"{mode} pads of 2 and 3"):
        evaluate(program, [np.zeros((1, 4, 2), np.float32)])


# -- windows -------------------------------------------------------------------------------------------------

WINDOWS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_shape": [3, 3]},
    "padded": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    "strided": {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]},
    "same upper": {"kernel_shape": [3, 4], "strides": [2, 3], "auto_pad": "SAME_UPPER"},
    "same lower": {"kernel_shape": [2, 3], "strides": [3, 2], "auto_pad": "SAME_LOWER"},
    "same, stride 1": {"kernel_shape": [2, 4], "auto_pad": "SAME_UPPER"},
    "valid": {"kernel_shape": [2, 4], "strides": [2, 2], "auto_pad": "VALID"},
}
CEILING: dict[str, dict[str, Any]] = {
    "ceil": {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1},
    "ceil, padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
}


@pytest.mark.parametrize("form", [*WINDOWS, *CEILING])
def test_max_pool_of_a_dynamic_image(form):
    check(dynamic_model([node("MaxPool", **{**WINDOWS, **CEILING}[form])], IMAGE), IMAGES)


@pytest.mark.parametrize("include_pad", [0, 1])
@pytest.mark.parametrize("form", [*WINDOWS, *CEILING])
def test_average_pool_of_a_dynamic_image(form, include_pad):
    attributes = {**WINDOWS, **CEILING}[form]
    check(dynamic_model([node("AveragePool", count_include_pad=include_pad, **attributes)], IMAGE), IMAGES)


def test_a_dilated_average_pool_of_a_dynamic_image():
    proto = node("AveragePool", kernel_shape=[2, 3], dilations=[3, 2], pads=[1, 2, 1, 2], strides=[2, 1])
    check(dynamic_model([proto], IMAGE, opset=19), IMAGES)


@pytest.mark.parametrize("form", WINDOWS)
def test_convolution_of_a_dynamic_image(form):
    kernel = WINDOWS[form]["kernel_shape"]
    constants = {"w": weights(6, 2, *kernel), "c": weights(6)}
    check(dynamic_model([node("Conv", "x", "w", "c", group=2, **WINDOWS[form])], IMAGE, constants), IMAGES)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2]},
        {"strides": [2, 3], "pads": [1, 1, 1, 0], "output_padding": [1, 1]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"dilations": [2, 1]},
    ],
)
def test_transposed_convolution_of_a_dynamic_image(attributes):
    constants = {"w": weights(4, 3, 3, 3), "c": weights(3)}
    check(dynamic_model([node("ConvTranspose", "x", "w", "c", **attributes)], IMAGE, constants), IMAGES)


def test_a_window_that_needs_more_than_one_element_limits_its_dimension():
    model = dynamic_model([node("MaxPool", kernel_shape=[5, 3], pads=[1, 0, 0, 0])], IMAGE)
    program = check(model, IMAGES)
    with pytest.raises(
        InvalidArgument, match=r"height would be 3, and is at least 4 \(a window of 5 with pads 1, 0"
    ):
        evaluate(program, [np.zeros((1, 4, 3, 9), np.float32)])
    with pytest.raises(
        InvalidArgument, match=r"width would be 2, and is at least 3 \(a window of 3 with pads 0, 0"
    ):
        evaluate(program, [np.zeros((1, 4, 9, 2), np.float32)])


RESIZES = [
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "nearest"},
    {"mode": "nearest", "nearest_mode": "ceil", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {
        "mode": "nearest",
        "nearest_mode": "round_prefer_ceil",
        "coordinate_transformation_mode": "align_corners",
    },
    {"mode": "linear"},
    {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
]


@pytest.mark.parametrize("attributes", RESIZES)
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.5, 1.5), (1.0, 3.0)])
def test_resize_of_a_dynamic_image_by_scales(attributes, scales):
    constants = {"s": np.array([1, 1, *scales], np.float32)}
    check(dynamic_model([node("Resize", "x", "", "s", **attributes)], IMAGE, constants, opset=19), IMAGES)


@pytest.mark.parametrize("attributes", RESIZES)
def test_resize_of_a_dynamic_image_to_known_sizes(attributes):
    constants = {"s": np.array([6, 5])}
    proto = node("Resize", "x", "", "", "s", axes=[2, 3], **attributes)
    check(dynamic_model([proto], IMAGE, constants, opset=19), IMAGES)


def test_resize_to_the_shape_of_another_image():
    nodes = [
        helper.make_node("Shape", ["z"], ["sizes"], start=2),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], axes=[2, 3], mode="linear"),
    ]
    inputs = {"x": ["batch", 2, "height", "width"], "z": [1, 1, "rows", "columns"]}
    check(dynamic_model(nodes, inputs, opset=19), [{**sizes, "rows": 5, "columns": 14} for sizes in IMAGES])


def test_upsample_of_a_dynamic_batch_and_image():
    constants = {"s": np.array([1, 1, 2, 2], np.float32)}
    check(dynamic_model([node("Upsample", "x", "s")], IMAGE, constants, opset=9), IMAGES)


def test_an_lpool_of_a_dynamic_image():
    check(dynamic_model([node("LpPool", kernel_shape=[2, 2], strides=[2, 2])], IMAGE), IMAGES)


def test_depth_to_space_of_a_dynamic_image():
    check(dynamic_model([node("DepthToSpace", blocksize=2)], IMAGE), IMAGES)
