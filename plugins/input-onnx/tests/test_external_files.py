"""Models whose weights lie in other files: which those are, and that the compile cache sees them change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import thalweg
from onnx import TensorProto, helper, numpy_helper
from thalweg_input_onnx.importer import OnnxImporter


def external(name: str, location: str, count: int = 3) -> TensorProto:
    """Return a tensor of float32 zeros that lies in another file."""
    tensor = numpy_helper.from_array(np.zeros(count, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def save(path: Path, nodes, initializers) -> Path:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, [3])],
        [info("y", TensorProto.FLOAT, [3])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_that_holds_its_weights_depends_on_no_file(tmp_path):
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    path = save(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [weights])
    assert OnnxImporter().dependencies(path) == ()


def test_every_file_that_a_tensor_lies_in_is_named_once(tmp_path):
    branch = helper.make_graph([], "b", [], [], [external("i", "branch.bin")])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=external("", "constant.bin")),
        helper.make_node("If", ["k"], ["z"], then_branch=branch, else_branch=branch),
        helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    weights = [external("w", "weights.bin"), external("v", "weights.bin")]
    path = save(tmp_path / "m.onnx", nodes, weights)
    names = ["weights.bin", "constant.bin", "branch.bin"]
    assert OnnxImporter().dependencies(path) == tuple(tmp_path / name for name in names)


def test_a_module_is_made_anew_when_the_weights_change(tmp_path):
    pytest.importorskip("thalweg_target_vmvx")
    path = save(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [external("w", "w.bin")])
    for values in ([1, 2, 3], [4, 5, 6]):
        np.asarray(values, np.float32).tofile(tmp_path / "w.bin")
        for _ in range(2):
            module = thalweg.compile(path, target_backends=["vmvx"])
            (weights,) = module.constants.values()
            np.testing.assert_array_equal(weights, np.asarray(values, np.float32))


def test_the_content_of_a_model_in_memory_is_its_bytes(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Neg", ["x"], ["y"])], [])
    proto, data = onnx.load(str(path)), path.read_bytes()
    (of_proto,), (of_bytes,) = OnnxImporter().content(proto), OnnxImporter().content(data)
    assert onnx.ModelProto.FromString(bytes(of_proto)) == proto
    assert bytes(of_bytes) == data
    proto.graph.node[0].op_type = "Abs"
    assert OnnxImporter().content(proto) != [of_proto]
