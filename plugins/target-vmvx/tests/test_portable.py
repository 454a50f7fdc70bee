"""vmvx's modules hold no machine code, so a caller who refuses machine code can run them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import thalweg
from onnx import TensorProto, helper


@pytest.mark.parametrize("target", ["vmvx", "vmvx-inline"])
def test_a_module_runs_where_machine_code_is_refused(target: str):
    graph = helper.make_graph(
        [helper.make_node("Abs", ["x"], ["y"])],
        "absolute",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (4,))],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    module = thalweg.compile(model, target_backends=[target])
    program = thalweg.load(module, device="local-sync", allow_native=False)
    came = np.asarray(program.main(np.array([-1, 2, -3, 4], np.float32)))
    assert came.tolist() == [1, 2, 3, 4]
