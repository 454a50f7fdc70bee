"""An independent reference: one ONNX node, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture
def onnx_node() -> Callable[..., np.ndarray]:
    """Run ``onnx_node(kind, *inputs, **attributes)`` and return its first output."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    helper = onnx.helper

    def run(kind: str, *inputs: np.ndarray, **attributes) -> np.ndarray:
        names = [f"x{i}" for i in range(len(inputs))]
        values = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in zip(names, inputs)
        ]
        output = helper.make_empty_tensor_value_info("y")
        node = helper.make_node(kind, names, ["y"], **attributes)
        graph = helper.make_graph([node], "node", values, [output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, dict(zip(names, inputs)))[0]

    return run
