"""Recurrent networks agree with onnxruntime in every direction and form; what is not unrolled is refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from thalweg.api import CompileError
from thalweg_input_onnx.importer import OnnxImporter

from .conftest import model_of

STEPS, BATCH, FEATURES, HIDDEN = 4, 3, 5, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def network(op: str, bias: bool = True, state: bool = True, peepholes: bool = False, **attributes):
    """Return a model of one op and its inputs."""
    draw = np.random.default_rng(11)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[op] * HIDDEN

    def numbers(*shape: int) -> np.ndarray:
        return draw.uniform(-0.8, 0.8, shape).astype(np.float32)

    constants = {"w": numbers(directions, rows, FEATURES), "r": numbers(directions, rows, HIDDEN)}
    inputs = {"x": numbers(STEPS, BATCH, FEATURES)}
    names = ["x", "w", "r", "", "", ""]
    if bias:
        names[3], constants["b"] = "b", numbers(directions, 2 * rows)
    if state:
        names[5], inputs["h"] = "h", numbers(directions, BATCH, HIDDEN)
    outputs = ["y", "last"]
    if op == "LSTM":
        outputs.append("cell")
        names += ["c" if state else "", "p" if peepholes else ""]
        if state:
            inputs["c"] = numbers(directions, BATCH, HIDDEN)
        if peepholes:
            constants["p"] = numbers(directions, 3 * HIDDEN)
    node = helper.make_node(op, names, outputs, name="network", hidden_size=HIDDEN, **attributes)
    return model_of([node], inputs, outputs, constants), inputs


@pytest.mark.parametrize("op", list(GATES))
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_every_direction_agrees_with_onnxruntime(op, direction, assert_matches_onnxruntime):
    assert_matches_onnxruntime(*network(op, direction=direction))


@pytest.mark.parametrize(
    "op, form",
    [
        ("RNN", {"bias": False, "state": False, "activations": ["Relu"]}),
        ("GRU", {"linear_before_reset": 1}),
        (
            "GRU",
            {"linear_before_reset": 1, "direction": "bidirectional", "activations": ["Sigmoid", "Relu"] * 2},
        ),
        ("LSTM", {"peepholes": True}),
        ("LSTM", {"bias": False, "state": False, "activations": ["Sigmoid", "Softsign", "Tanh"]}),
    ],
)
def test_every_form_agrees_with_onnxruntime(op, form, assert_matches_onnxruntime):
    assert_matches_onnxruntime(*network(op, **form))


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"clip": 1.0}, "node 'network': LSTM .*: clip; leave clip out"),
        ({"input_forget": 1}, r"coupled input and forget gates \(input_forget\); use separate gates"),
        ({"activations": ["Sigmoid", "Elu", "Tanh"]}, "the activation 'Elu'; use one of Sigmoid, Tanh"),
    ],
)
def test_forms_that_are_not_unrolled_are_refused(attributes, message):
    model, _ = network("LSTM", **attributes)
    with pytest.raises(CompileError, match=message):
        OnnxImporter().import_model(model)
