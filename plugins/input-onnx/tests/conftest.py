"""What the tests of this package share: building small models and evaluating them beside onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from thalweg.ir.evaluate import evaluate
from thalweg_input_onnx.importer import OnnxImporter


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, np.ndarray],
    outputs: Sequence[str],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    legacy: bool = False,
) -> onnx.ModelProto:
    """Build a model whose inputs have the types of the given arrays.

    :param legacy: list the constants as inputs too, as IR version 3 requires.
    """
    constants = constants or {}
    listed = {**inputs, **constants} if legacy else inputs
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in listed.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "test",
        infos,
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 3 if legacy else min(model.ir_version, 10)
    inferred = onnx.shape_inference.infer_shapes(model)
    for output, info in zip(model.graph.output, inferred.graph.output):
        output.CopyFrom(info)
    return model


@pytest.fixture
def assert_matches_onnxruntime() -> Callable[[onnx.ModelProto, dict[str, np.ndarray], float], None]:
    """Return a check: the imported model, evaluated, gives what onnxruntime gives, to a relative norm."""

    def check(model: onnx.ModelProto, feeds: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        expected = session.run(None, feeds)
        results = evaluate(OnnxImporter().import_model(model), list(feeds.values()))
        for output, result, reference in zip(model.graph.output, results, expected, strict=True):
            assert isinstance(reference, np.ndarray), output.name
            assert (result.shape, result.dtype) == (reference.shape, reference.dtype), output.name
            difference = np.linalg.norm(result.astype(np.float64) - reference.astype(np.float64))
            norm = max(float(np.linalg.norm(reference.astype(np.float64))), 1e-30)
            assert difference / norm <= tolerance, f"{output.name}: relative difference {difference / norm}"

    return check
