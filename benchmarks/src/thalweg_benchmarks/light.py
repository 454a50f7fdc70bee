"""The nine real architectures that the onnx package carries (``onnx/backend/test/data/light``).

Their weights are constants that a node makes, so that the files are small; ``with_random_weights`` draws
them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.runner import Runner

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

NAMES = tuple(path.stem.removeprefix("light_") for path in sorted(FOLDER.glob("light_*.onnx")))
"""Model names without the prefix, as ``resnet50``."""


def load(name: str) -> onnx.ModelProto:
    """Load a model as it ships."""
    return onnx.load(FOLDER / f"light_{name}.onnx")


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are not initializers."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [info for info in model.graph.input if info.name not in initializers]


def shipped_case(name: str, model: onnx.ModelProto) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the inputs that onnx's own runner feeds, and the output that ships with the model."""
    feeds = [Runner.generate_dummy_data(info, seed=0, name=name, random=False) for info in inputs_of(model)]
    tensor = onnx.load_tensor(FOLDER / f"light_{name}_output_0.pb")
    return feeds, numpy_helper.to_array(tensor)


def random_feeds(model: onnx.ModelProto, seed: int) -> list[np.ndarray]:
    """Return seeded normal inputs."""
    rng = np.random.default_rng(seed)
    shapes = [[d.dim_value for d in info.type.tensor_type.shape.dim] for info in inputs_of(model)]
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def with_random_weights(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Return the model with every weight that a ConstantOfShape node makes drawn at random.

    Weights are normal, scaled by their fan-in; one-dimensional ones (biases, scales, variances) are uniform
    in [0.5, 1.5].
    """
    rng = np.random.default_rng(seed)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    drawn = onnx.ModelProto()
    drawn.CopyFrom(model)
    nodes = [node for node in drawn.graph.node if node.op_type != "ConstantOfShape"]
    for node in drawn.graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(int(extent) for extent in shapes[node.input[0]])
            drawn.graph.initializer.append(numpy_helper.from_array(_weight(shape, rng), node.output[0]))
    del drawn.graph.node[:]
    drawn.graph.node.extend(nodes)
    drawn.ir_version = max(drawn.ir_version, 4)  # from here on initializers need not be inputs
    return drawn


def _weight(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if len(shape) < 2:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    scale = math.sqrt(2.0 / math.prod(shape[1:]))
    return rng.standard_normal(shape, np.float32) * np.float32(scale)
