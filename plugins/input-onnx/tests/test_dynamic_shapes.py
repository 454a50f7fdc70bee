"""Shape computations of dynamic dimensions, as exporters write them; names of dimensions; what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from thalweg.api import CompileError, InvalidArgument
from thalweg.ir.evaluate import evaluate
from thalweg.ir.specialization import specialize
from thalweg_input_onnx.importer import OnnxImporter
from thalweg_input_onnx.options import OnnxOptions

from .dynamic_models import (
    FLOAT,
    INT64,
    check,
    dynamic_model,
    node,
    outputs_of,
    shapes_of_inputs,
    weights,
)

TOKENS = [{"batch": 1, "tokens": 7}, {"batch": 2, "tokens": 3}, {"batch": 3, "tokens": 12}]


class Nodes:
    """Collects nodes and constants: every call appends one and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def __call__(self, op: str, *inputs: Any, **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        self.nodes.append(helper.make_node(op, names, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def extent(self, x: str, axis: int) -> str:
        """[1]: Shape → Gather → Unsqueeze, as torch writes ``x.shape[axis]`` among others."""
        return self("Unsqueeze", self("Gather", self("Shape", x), np.array(axis), axis=0), [0])

    def model(self, result: str, inputs: Mapping[str, Sequence[int | str | None]], **more: Any):
        self.nodes.append(helper.make_node("Identity", [result], ["y"]))
        return dynamic_model(self.nodes, inputs, self.constants, **more)


HIDDEN = {"x": ["batch", "tokens", 12]}
IDS: dict[str, Any] = {"inputs": {"x": ["batch", "tokens"]}, "types": {"x": INT64}}


def test_heads_are_split_and_merged_by_gathered_sizes():
    n = Nodes()
    batch, tokens = n.extent("x", 0), n.extent("x", 1)
    heads = n("Reshape", "x", n("Concat", batch, tokens, [3], [4], axis=0))
    swapped = n("Transpose", heads, perm=[0, 2, 1, 3])
    scores = n("MatMul", swapped, n("Transpose", swapped, perm=[0, 1, 3, 2]))
    context = n("Transpose", n("MatMul", n("Softmax", scores, axis=-1), swapped), perm=[0, 2, 1, 3])
    merged = n("Reshape", context, n("Concat", batch, tokens, [-1], axis=0))
    program = check(n.model(merged, HIDDEN), TOKENS)
    assert outputs_of(program) == ["[batch, tokens, 12]"]


def test_batch_and_heads_are_merged_and_split():
    n = Nodes()
    batch, tokens = n.extent("x", 0), n.extent("x", 1)
    flat = n("Reshape", "x", n("Concat", n("Mul", batch, [3]), [-1], [4], axis=0))
    apart = n("Reshape", flat, n("Concat", [-1], [3], tokens, [4], axis=0))
    assert outputs_of(check(n.model(apart, HIDDEN), TOKENS)) == ["[batch, 3, tokens, 4]"]


def test_sizes_by_slices_of_shapes():
    n = Nodes()
    lead = n("Slice", n("Shape", "x"), [0], [2])
    last = n("Slice", n("Shape", "x"), [-1], [2**62])
    half = n("Div", last, [2])
    rest = n("Sub", last, half)
    result = n("Reshape", "x", n("Concat", lead, [2], n("Min", half, rest), axis=0))
    check(n.model(result, HIDDEN), TOKENS)


def test_a_shape_that_goes_through_floats():
    n = Nodes()
    size = n("Cast", n("Shape", "z"), to=FLOAT)
    doubled = n("Cast", n("Floor", n("Mul", size, np.array([2.0], np.float32))), to=INT64)
    wide = n("Expand", "x", n("Concat", [1], doubled, [1], axis=0))
    program = check(n.model(wide, {"x": ["batch", 1, 3], "z": ["tokens"]}), TOKENS)
    assert outputs_of(program) == ["[batch, 2*tokens, 3]"]


def test_expansion_to_a_shape_with_minus_ones_replaced():
    n = Nodes()
    wanted = n("Concat", n.extent("x", 0), [3], [-1], [-1], axis=0)
    ones = n("ConstantOfShape", [4], value=helper.make_tensor("one", INT64, [1], [1]))
    kept = n("Equal", wanted, n("Mul", ones, [-1]))
    shape = n("Where", kept, ones, wanted)
    assert outputs_of(check(n.model(n("Expand", "x", shape), {"x": ["batch", 1, "tokens", 2]}), TOKENS)) == [
        "[batch, 3, tokens, 2]"
    ]


def test_positions_by_a_range_are_looked_up_in_a_table_that_limits_them():
    n = Nodes()
    length = n("Squeeze", n.extent("x", 1), [0])
    positions = n("Unsqueeze", n("Range", np.array(0), length, np.array(1)), [0])
    n.constants["positions"] = weights(16, 4)
    program = check(n.model(n("Gather", "positions", positions, axis=0), **IDS), TOKENS)
    assert outputs_of(program) == ["[1, tokens, 4]"]
    with pytest.raises(InvalidArgument, match=r"tokens would be 17, and is at most 16 \(positions\)"):
        specialize(program, {"tokens": 17})


@pytest.mark.parametrize("through", ["i32", "expand"])
def test_positions_that_are_cast_or_expanded_are_looked_up(through):
    n = Nodes()
    positions = n("Range", np.array(0), n("Squeeze", n.extent("x", 1), [0]), np.array(1))
    if through == "i32":
        positions = n("Cast", positions, to=TensorProto.INT32)
    else:
        positions = n("Expand", n("Unsqueeze", positions, [0]), n("Shape", "x"))
    check(n.model(n("Gather", weights(16, 4), positions, axis=0), **IDS), TOKENS)


def test_part_of_a_table_of_position_ids_by_the_number_of_tokens():
    n = Nodes()
    n.constants["position_ids"] = np.arange(16)[None]
    ids = n("Slice", "position_ids", [0], n.extent("x", 1), [1])
    program = check(n.model(n("Gather", weights(16, 4), ids, axis=0), **IDS), TOKENS)
    with pytest.raises(InvalidArgument, match="tokens would be 20, and is at most 16"):
        specialize(program, {"tokens": 20})


def test_position_ids_by_a_running_sum_of_a_mask():
    n = Nodes()
    present = n("Cast", n("Not", n("Equal", "x", np.array(1))), to=INT64)
    ids = n("Add", n("Mul", n("CumSum", present, np.array(1)), present), np.array(1))
    check(n.model(n("Gather", weights(16, 4), ids, axis=0), **IDS), TOKENS)


@pytest.mark.parametrize("form", ["trilu", "ranges", "constant of shape"])
def test_causal_masks(form):
    n = Nodes()
    length = n.extent("x", 1)
    square = n("Concat", length, length, axis=0)
    scores = n("MatMul", "x", n("Transpose", "x", perm=[0, 2, 1]))
    if form == "ranges":
        places = n("Range", np.array(0), n("Squeeze", length, [0]), np.array(1))
        seen = n("LessOrEqual", n("Unsqueeze", places, [0]), n("Unsqueeze", places, [1]))
        masked = n("Where", seen, scores, np.float32(-1e9))
    else:
        lowest = np.float32(-1e9)
        full = (
            n("Expand", lowest, square)
            if form == "trilu"
            else n("ConstantOfShape", square, value=helper.make_tensor("v", FLOAT, [1], [-1e9]))
        )
        masked = n("Add", scores, n("Trilu", full, np.array(1), upper=1))
    check(n.model(n("Softmax", masked, axis=-1), HIDDEN), TOKENS)


def test_a_padding_mask_is_broadcast():
    n = Nodes()
    visible = n("Cast", n("Unsqueeze", "mask", [1, 2]), to=FLOAT)
    bias = n("Mul", n("Sub", np.float32(1), visible), np.float32(-1e4))
    heads = n("Transpose", n("Reshape", "x", [0, 0, 3, 4]), perm=[0, 2, 1, 3])
    scores = n("MatMul", heads, n("Transpose", heads, perm=[0, 1, 3, 2]))
    inputs = {**HIDDEN, "mask": ["batch", "tokens"]}
    check(n.model(n("Softmax", n("Add", scores, bias), axis=-1), inputs, types={"mask": INT64}), TOKENS)


def test_the_last_token_by_its_computed_index():
    n = Nodes()
    last = n("Sub", n("Gather", n("Shape", "x"), np.array(1), axis=0), np.array(1))
    check(n.model(n("Gather", "x", last, axis=1), HIDDEN), TOKENS)


def test_a_slice_between_computed_bounds():
    n = Nodes()
    length = n.extent("x", 1)
    half = n("Div", length, [2])
    check(
        n.model(
            n("Concat", n("Slice", "x", half, length, [1]), n("Slice", "x", [0], [2], [1]), axis=1), HIDDEN
        ),
        TOKENS,
    )


def test_padding_to_a_multiple():
    n = Nodes()
    length = n.extent("x", 1)
    missing = n("Mod", n("Sub", [8], n("Mod", length, [8])), [8])
    pads = n("Concat", [0, 0, 0, 0], missing, [0], axis=0)
    check(n.model(n("Pad", "x", pads), HIDDEN), [{"batch": 2, "tokens": t} for t in (1, 7, 8, 9)])


def test_a_shape_that_leaves_the_model():
    n = Nodes()
    sizes = n("Concat", n.extent("x", 1), n("Mul", n.extent("x", 0), n.extent("x", 1)), [3], axis=0)
    check(n.model(n("Cast", sizes, to=TensorProto.INT32), HIDDEN), TOKENS)


def test_a_shape_as_a_number_to_compute_with():
    n = Nodes()
    count = n("Cast", n.extent("x", 1), to=FLOAT)
    check(n.model(n("Div", n("ReduceSum", "x", [1], keepdims=0), n("Sqrt", count)), HIDDEN), TOKENS)


def test_a_cache_of_past_tokens_is_appended_to():
    n = Nodes()
    keys = n("Concat", "past", "x", axis=1)
    scores = n("MatMul", "x", n("Transpose", keys, perm=[0, 2, 1]))
    bias = n(
        "Unsqueeze", n("Where", n("Cast", "mask", to=TensorProto.BOOL), np.float32(0), np.float32(-1e4)), [1]
    )
    inputs: Mapping[str, Sequence[int | str | None]] = {
        "x": ["batch", 1, 12],
        "mask": ["batch", "past_length + 1"],
        "past": ["batch", "past_length", 12],
    }
    model = n.model(n("Softmax", n("Add", scores, bias), axis=-1), inputs, types={"mask": INT64})
    program = check(model, [{"batch": 1, "past_length": 4}, {"batch": 3, "past_length": 1}])
    assert shapes_of_inputs(program)[1] == "[batch, past_length+1]"


# -- names ---------------------------------------------------------------------------------------------------


def imported(model: onnx.ModelProto, *dims: str):
    return OnnxImporter(OnnxOptions(dims=dims)).import_model(model)


def refusal(model: onnx.ModelProto, *dims: str) -> str:
    with pytest.raises((InvalidArgument, CompileError)) as raised:
        imported(model, *dims)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_dimensions_without_a_name_are_called_after_their_input_and_axis():
    model = dynamic_model([node("Relu")], {"x": [None, 3, None]})
    program = check(model, [{"x:0": 2, "x:2": 5}, {"x:0": 1, "x:2": 1}])
    assert shapes_of_inputs(program) == ["[x_0, 3, x_2]"]


@pytest.mark.parametrize(
    "names, found",
    [
        (["batch size", "1st"], "[batch_size, _1st]"),
        (["a-b", "a.b"], "[a_b, a_b_2]"),
        (["x_1", None], "[x_1, x_1_2]"),
        (["min", "größe"], "[_min, gr__e]"),
        (["n", "2*n"], "[n, 2*n]"),
        (["n", "2*m"], "[n, _2_m]"),
        (["n", "floor(n/2)"], "[n, floor_n_2_]"),
        (["past + 1", "past"], "[past+1, past]"),
    ],
)
def test_names_become_identifiers_that_stay_apart(names, found):
    program = imported(dynamic_model([node("Relu")], {"x": names}))
    assert shapes_of_inputs(program) == [found]


def test_sizes_are_given_by_the_names_of_the_model():
    model = dynamic_model([node("Relu")], {"x": ["past + 1", "past", "a-b", None]})
    program = imported(model, "past=4", "a-b=2", "x:3=7")
    assert shapes_of_inputs(program) == ["[5, 4, 2, 7]"]
    assert shapes_of_inputs(imported(model, "past + 1=9", "a-b=past")) == ["[9, past, past, x_3]"]


def test_dimensions_that_are_always_equal_are_made_one():
    model = dynamic_model([node("Add", "x", "z")], {"x": ["batch", 3], "z": ["batch_size", 3]})
    said = refusal(model)
    assert said == (
        "input: this ONNX model cannot be compiled: node 'Add -> y': Add (domain ai.onnx, opset 18): not for "
        "every size (inputs [batch, 3], [batch_size, 3]): shapes [batch, 3], [batch_size, 3] do not "
        "broadcast; fix the dynamic dimensions: --onnx-dim batch=VALUE --onnx-dim batch_size=VALUE, or make "
        "two of them one: --onnx-dim batch=batch_size"
    )
    program = imported(model, "batch_size=batch")
    assert shapes_of_inputs(program) == ["[batch, 3]", "[batch, 3]"]
    (y,) = evaluate(program, [np.ones((2, 3), np.float32)] * 2)
    assert y.tolist() == [[2.0] * 3] * 2


# -- what is refused -----------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a sequence of dynamic length": (
        {
            "nodes": [node("LSTM", "x", "w", "r", hidden_size=3)],
            "inputs": {"x": ["time", "batch", 4]},
            "constants": {"w": weights(1, 12, 4), "r": weights(1, 12, 3)},
        },
        "a sequence of time steps, which are unrolled",
        "--onnx-dim batch=VALUE --onnx-dim time=VALUE",
    ),
    "a cubic resize": (
        {
            "nodes": [node("Resize", "x", "", "s", mode="cubic")],
            "inputs": {"x": [1, 1, "my-height", 8]},
            "constants": {"s": np.array([1, 1, 2, 2], np.float32)},
        },
        "mode 'cubic' over my_height elements",
        "--onnx-dim my-height=VALUE",
    ),
    "a scale that floats do not hold": (
        {
            "nodes": [node("Resize", "x", "", "s")],
            "inputs": {"x": [1, 1, None, 8]},
            "constants": {"s": np.array([1, 1, 1 / 3, 2], np.float32)},
        },
        "x_2 scaled by 0.333",
        "--onnx-dim x:2=VALUE",
    ),
    "blocks of a dynamic image": (
        {"nodes": [node("SpaceToDepth", blocksize=2)], "inputs": {"x": [1, 1, "height", 8]}},
        "cannot reshape [1, 1, height, 8]",
        "--onnx-dim height=VALUE",
    ),
    "a reshape that fits some sizes only": (
        {
            "nodes": [node("Reshape", "x", "s")],
            "inputs": {"x": ["tokens", 3]},
            "constants": {"s": np.array([-1, 8])},
        },
        "cannot reshape [tokens, 3] to [-1, 8]",
        "--onnx-dim tokens=VALUE",
    ),
    "a product that fits some sizes only": (
        {"nodes": [node("MatMul", "x", "z")], "inputs": {"x": [2, "tokens"], "z": ["words", 2]}},
        "cannot multiply [2, tokens] by [words, 2]",
        "--onnx-dim tokens=VALUE --onnx-dim words=VALUE",
    ),
    "repeats of a one hot": (
        {
            "nodes": [
                helper.make_node("Shape", ["z"], ["s"]),
                node("OneHot", "x", "s", "v"),
            ],
            "inputs": {"x": ["tokens"], "z": ["classes"]},
            "types": {"x": INT64},
            "constants": {"v": np.array([0, 1], np.float32)},
        },
        "its depth must be numbers, and is [classes]",
        "--onnx-dim classes=VALUE",
    ),
    "a scatter into dynamic data": (
        {
            "nodes": [node("ScatterND", "x", "i", "u")],
            "inputs": {"x": ["tokens"]},
            "constants": {"i": np.array([[0]]), "u": np.array([1], np.float32)},
        },
        "a number is needed here, and tokens is known at the call only",
        "--onnx-dim tokens=VALUE",
    ),
    "a filter of dynamic size": (
        {"nodes": [node("Conv", "x", "w")], "inputs": {"x": [1, 2, 9, 9], "w": [3, 2, "rows", 3]}},
        "a number is needed here, and rows is known at the call only",
        "--onnx-dim rows=VALUE",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_a_size_says_which_and_how_to_give_it(name):
    model, reason, remedy = REFUSED[name]
    said = refusal(dynamic_model(**model))
    assert said.startswith("input: this ONNX model cannot be compiled: node '")
    assert reason in said
    assert remedy in said


def test_what_is_refused_for_dynamic_dimensions_imports_with_sizes():
    model, _, _ = REFUSED["a cubic resize"]
    program = imported(dynamic_model(**model), "my-height=4")
    assert outputs_of(program) == ["[1, 1, 8, 16]"]
