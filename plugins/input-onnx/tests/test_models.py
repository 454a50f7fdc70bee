"""Whole models: the zoo's and onnx's light ones import, and their text parses back."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from thalweg.ir import Program, shape_of
from thalweg.ir.evaluate import evaluate
from thalweg_input_onnx.importer import OnnxImporter
from thalweg_input_onnx.options import OnnxOptions

zoo = pytest.importorskip("thalweg_benchmarks.zoo", reason="the benchmarks package holds the zoo")

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
SMALL = ["mnist12", "squeezenet10", "mobilenetv2"]
LARGE = ["tinyyolov2", "resnet50", "minilm", "clip_text"]
LIGHT_SMALL = ["light_squeezenet", "light_shufflenet", "light_densenet121"]
LIGHT_LARGE = [
    f"light_{name}"
    for name in ("bvlc_alexnet", "inception_v1", "inception_v2", "resnet50", "vgg19", "zfnet512")
]


def check_import(model) -> Program:
    program = OnnxImporter().import_model(model)
    text = program.text()
    assert Program.parse(text).text() == text
    (main,) = program.functions()
    assert main.sym_name.data == "main"
    return program


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)])
def test_zoo_model_imports_and_its_text_parses_back(name):
    model = zoo.MODELS[name]()
    text = check_import(model).text()
    named = re.findall(r'%[^,]*: tensor<[^>]*> \{tw\.name = "([^"]*)"\}', text[: text.index(" -> ")])
    assert named == [info.name for info in model.graph.input]


@pytest.mark.parametrize(
    "name", [*LIGHT_SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in LIGHT_LARGE)]
)
def test_light_model_imports_and_its_text_parses_back(name):
    program = check_import(LIGHT / f"{name}.onnx")
    assert len(program.functions()[0].body.block.args) == 1


def test_equal_filled_constants_are_held_once():
    program = OnnxImporter().import_model(LIGHT / "light_densenet121.onnx")
    digests = [
        hashlib.sha256(a.tobytes()).digest() + str(a.shape).encode() for a in program.resources.values()
    ]
    made_by_nodes = [d for d, name in zip(digests, program.resources) if name.startswith("filled")]
    assert len(set(made_by_nodes)) == len(made_by_nodes) > 0


def test_light_squeezenet_gives_the_output_that_ships_with_it():
    expected = numpy_helper.to_array(onnx.load_tensor(LIGHT / "light_squeezenet_output_0.pb"))
    program = OnnxImporter().import_model(LIGHT / "light_squeezenet.onnx")
    (argument,) = program.functions()[0].body.block.args
    shape = shape_of(argument)
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    (result,) = evaluate(program, [image / image.size])
    assert np.linalg.norm(result - expected) / np.linalg.norm(expected) <= 1e-5


def test_mnist_agrees_with_onnxruntime(assert_matches_onnxruntime):
    model = zoo.mnist12()
    assert_matches_onnxruntime(model, zoo.random_inputs(model))


@pytest.mark.slow
def test_dynamic_dimensions_are_fixed_by_an_option():
    program = OnnxImporter(OnnxOptions(dims=("tokens=128",))).import_model(zoo.MODELS["minilm_dynamic"]())
    assert [shape_of(a) for a in program.functions()[0].body.block.args] == [(1, 128)] * 2
