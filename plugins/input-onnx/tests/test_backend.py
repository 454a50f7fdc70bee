"""``thalweg_input_onnx.backend`` is what ``onnx.backend`` asks for."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import onnx
import pytest
import thalweg_input_onnx.backend as backend
from onnx import helper
from onnx.backend.base import Backend
from onnx.backend.test import BackendTest
from thalweg.errors import CompileError, InvalidArgument, NotSupported

CASES = (
    "test_add",
    "test_softmax_axis_0",
    "test_conv_with_strides_padding",
    "test_gather_0",
    "test_erf",
    "test_lrn",
)


def difference_model(dtype: int = onnx.TensorProto.FLOAT) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(name, dtype, [2, 3]) for name in ("left", "right", "less", "abs")]
    nodes = [helper.make_node("Sub", ["left", "right"], ["less"]), helper.make_node("Abs", ["less"], ["abs"])]
    return helper.make_model(
        helper.make_graph(nodes, "difference", infos[:2], infos[2:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )


LEFT = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
RIGHT = np.array([[3, 2, 1], [0, 0, 9]], np.float32)


def test_a_prepared_model_runs_again_and_again_by_position_or_by_name():
    prepared = backend.prepare(difference_model(), target_backend="vmvx", hal_device="local-sync")
    outputs: Any
    for outputs in (prepared.run([LEFT, RIGHT]), prepared.run({"right": RIGHT, "left": LEFT})):
        np.testing.assert_array_equal(outputs[0], LEFT - RIGHT)
        np.testing.assert_array_equal(outputs["abs"], np.abs(LEFT - RIGHT))


def test_run_model_takes_the_preferred_target_and_device():
    less, absolute = backend.run_model(difference_model(), [LEFT, RIGHT], "CPU:0")
    np.testing.assert_array_equal(less, LEFT - RIGHT)
    np.testing.assert_array_equal(absolute, np.abs(LEFT - RIGHT))


def test_run_node_makes_shapes_and_axes_constants():
    x = np.arange(6, dtype=np.float32)
    (y,) = backend.run_node(
        helper.make_node("Reshape", ["x", "shape"], ["y"]), [x, np.array([2, -1])], target_backend="vmvx"
    )
    np.testing.assert_array_equal(y, x.reshape(2, 3))
    (y,) = backend.run_node(helper.make_node("Neg", ["x"], ["y"]), x, target_backend="vmvx")
    np.testing.assert_array_equal(y, -x)


def test_run_node_reads_the_node_at_the_opset_given():
    node = helper.make_node("Softmax", ["x"], ["y"])
    x = np.random.default_rng(7).standard_normal((2, 3, 4)).astype(np.float32)
    (last,) = backend.run_node(node, [x], target_backend="vmvx")
    (flattened,) = backend.run_node(node, [x], target_backend="vmvx", opset_version=11)
    np.testing.assert_allclose(last.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(flattened.sum((1, 2)), 1, rtol=1e-6)


def test_devices_that_are_not_the_host_are_not_supported():
    assert backend.supports_device("CPU")
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA:1")
    with pytest.raises(NotSupported, match="no ONNX device 'CUDA' here; there is CPU"):
        backend.prepare(difference_model(), "CUDA")


def test_a_model_of_unsupported_ops_is_not_compatible():
    node = helper.make_node("NonZero", ["left"], ["places"])
    infos = [helper.make_tensor_value_info("left", onnx.TensorProto.FLOAT, [2, 3])]
    places = helper.make_tensor_value_info("places", onnx.TensorProto.INT64, None)
    graph = helper.make_graph([node], "nonzero", infos, [places])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert backend.is_compatible(difference_model())
    assert not backend.is_compatible(model)
    with pytest.raises(CompileError, match="NonZero"):
        backend.run_model(model, [LEFT])


@pytest.mark.parametrize(
    "inputs, message",
    [
        ([LEFT], r"takes 2 inputs \(left, right\), not the 1 given"),
        ({"left": LEFT}, "misses right; its inputs are left, right"),
        ({"left": LEFT, "right": RIGHT, "up": LEFT}, "does not take up; its inputs are left, right"),
        ([LEFT, RIGHT.astype(np.float64)], "right"),
        ([LEFT, RIGHT[:1]], "right"),
    ],
)
def test_wrong_inputs_are_named(inputs, message):
    prepared = backend.prepare(difference_model(), target_backend="vmvx")
    with pytest.raises(InvalidArgument, match=message):
        prepared.run(inputs)


def test_unknown_options_are_named():
    with pytest.raises(InvalidArgument, match="got speed"):
        backend.prepare(difference_model(), speed=3)
    with pytest.raises(InvalidArgument, match="Add has inputs a, b; got 1 arrays"):
        backend.run_node(helper.make_node("Add", ["a", "b"], ["c"]), [LEFT])


def test_onnx_own_backend_test_drives_it():
    assert issubclass(backend.ThalwegBackend, Backend)
    runner = BackendTest(
        backend.ThalwegBackend, __name__, test_kwargs={name: {"target_backend": "vmvx"} for name in CASES}
    )
    for name in CASES:
        runner.include(f"^{name}_cpu$")
    suite = unittest.TestSuite()
    for case in runner.enable_report().test_cases.values():
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun - len(result.skipped) == len(CASES)
    assert not result.errors and not result.failures, result.errors + result.failures
