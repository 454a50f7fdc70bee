"""Models with named dimensions for tests: imported once, evaluated at several sizes beside onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from thalweg.extents import format_shape
from thalweg.ir import Program, extents_of
from thalweg.ir.evaluate import evaluate
from thalweg_input_onnx.importer import OnnxImporter

SEED = 20261121
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

Dims = Sequence[int | str | None]
Sizes = Mapping[str, int]
"""The size of each dimension, by its name or as ``INPUT:AXIS``."""


def dynamic_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Dims] | None = None,
    constants: Mapping[str, Any] | None = None,
    opset: int = 18,
    types: Mapping[str, int] | None = None,
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """Build a model of the given nodes; inputs are float unless ``types`` says otherwise."""
    inputs = inputs or {"x": ["batch", 4, "tokens"]}
    types = types or {}
    graph = helper.make_graph(
        list(nodes),
        "dynamic",
        [helper.make_tensor_value_info(name, types.get(name, FLOAT), dims) for name, dims in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    for output, info in zip(model.graph.output, inferred.graph.output):
        output.type.tensor_type.elem_type = info.type.tensor_type.elem_type or FLOAT
    return model


def feeds_of(model: onnx.ModelProto, sizes: Sizes, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Random inputs: floats ~ N(0, 1), integers from 0 to 9."""
    feeds = {}
    for info in model.graph.input:
        tensor = info.type.tensor_type
        dims = enumerate(tensor.shape.dim)
        shape = [d.dim_value or _size(d.dim_param or f"{info.name}:{axis}", sizes) for axis, d in dims]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        array = generator.standard_normal(shape) if dtype.kind == "f" else generator.integers(0, 10, shape)
        feeds[info.name] = np.asarray(array, dtype)
    return feeds


def _size(label: str, sizes: Sizes) -> int:
    return sizes[label] if label in sizes else int(eval(label, {}, dict(sizes)))


def assert_close(result: np.ndarray, reference: np.ndarray, what: str, tolerance: float = 1e-5) -> None:
    assert (result.shape, result.dtype) == (reference.shape, reference.dtype), what
    wide, other = result.astype(np.float64), reference.astype(np.float64)
    difference = float(np.linalg.norm(np.nan_to_num(wide - other)))
    assert difference <= tolerance * max(float(np.linalg.norm(np.nan_to_num(other))), 1e-30), what


def check(model: onnx.ModelProto, sizes: Sequence[Sizes], seed: int = SEED) -> Program:
    """Import once; at each of ``sizes`` compare with onnxruntime, and with the specialized program."""
    program = OnnxImporter().import_model(model)
    text = program.text()
    assert Program.parse(text).text() == text
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    generator = np.random.default_rng(seed)
    for these in sizes:
        feeds = feeds_of(model, these, generator)
        expected = session.run(None, feeds)
        results = evaluate(program, list(feeds.values()))
        for output, result, reference in zip(model.graph.output, results, expected, strict=True):
            assert isinstance(reference, np.ndarray)
            assert_close(result, reference, f"{output.name} at {dict(these)}, seed {seed}")
    return program


BOTH = [{"batch": 1, "tokens": 5}, {"batch": 3, "tokens": 8}, {"batch": 2, "tokens": 1}]
IMAGE = {"x": ["batch", 4, "height", "width"]}
IMAGES = [
    {"batch": 1, "height": 7, "width": 9},
    {"batch": 2, "height": 8, "width": 12},
    {"batch": 3, "height": 11, "width": 6},
]


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(SEED).standard_normal(shape).astype(np.float32)


def node(op: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node that makes ``y`` of ``x`` (or the given inputs)."""
    return helper.make_node(op, list(inputs) or ["x"], ["y"], **attributes)


def outputs_of(program: Program) -> list[str]:
    (main,) = program.functions()
    return [format_shape(extents_of(type_)) for type_ in main.function_type.outputs.data]


def shapes_of_inputs(program: Program) -> list[str]:
    """Return the shapes of the arguments of ``main``, as text."""
    (main,) = program.functions()
    return [format_shape(extents_of(argument)) for argument in main.body.block.args]
