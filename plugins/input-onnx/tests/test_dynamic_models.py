"""Whole models with a dynamic batch (and number of tokens): imported so and then specialized, they are what
the import with these sizes is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from thalweg.api import InvalidArgument
from thalweg.ir import Program
from thalweg.ir.evaluate import evaluate
from thalweg.ir.specialization import specialize
from thalweg_input_onnx.importer import OnnxImporter
from thalweg_input_onnx.options import OnnxOptions

from .dynamic_models import assert_close, check, feeds_of, outputs_of

zoo = pytest.importorskip("thalweg_benchmarks.zoo", reason="the benchmarks package holds the zoo")

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
SEED = 20261121


def with_batch(model: onnx.ModelProto, tokens: bool = False) -> onnx.ModelProto:
    """Name the first dimension of every input ``batch`` (and the second ``tokens``); reshapes to one image
    take any number of them.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in changed.graph.initializer}
    for info in changed.graph.input:
        if info.name in constants:
            continue
        info.type.tensor_type.shape.dim[0].dim_param = "batch"
        if tokens:
            info.type.tensor_type.shape.dim[1].dim_param = "tokens"
    for output in changed.graph.output:
        output.type.tensor_type.ClearField("shape")
    for node in changed.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = constants[node.input[1]]
            array = onnx.numpy_helper.to_array(shape).copy()
            if array[0] == 1:
                array[0] = 0 if len(array) > 2 else -1
                shape.CopyFrom(onnx.numpy_helper.from_array(array, shape.name))
    return changed


def light(name: str) -> onnx.ModelProto:
    return onnx.load(LIGHT / f"{name}.onnx")


def small_encoder(**options) -> onnx.ModelProto:
    return zoo.transformer_encoder("encoder", 2, 24, 3, 48, 100, 16, **options)


def signature_of(program: Program) -> str:
    (main,) = program.functions()
    return str(main.function_type)


def steps_of(program: Program) -> list[str]:
    """Every op of a program, with the types of its results, in order."""
    (main,) = program.functions()
    return [f"{op.name} {[str(v.type) for v in op.results]}" for op in main.body.block.ops]


def check_property(model: onnx.ModelProto, sizes: dict[str, int], compute: bool, steps: bool) -> None:
    """Check the property at ``sizes``.

    :param compute: evaluate both. :param steps: both consist of the same ops, one by one.
    """
    dynamic = OnnxImporter().import_model(model)
    assert all("batch" in shape for shape in outputs_of(dynamic)), outputs_of(dynamic)
    assert Program.parse(dynamic.text()).text() == dynamic.text()
    dims = tuple(f"{name}={value}" for name, value in sizes.items())
    static = OnnxImporter(OnnxOptions(dims=dims)).import_model(model)
    specialized = specialize(dynamic, sizes)
    specialized.module.verify()
    assert signature_of(specialized) == signature_of(static)
    if steps:
        assert steps_of(specialized) == steps_of(static)
    if compute:
        feeds = list(feeds_of(model, sizes, np.random.default_rng(SEED)).values())
        for result, reference in zip(evaluate(specialized, feeds), evaluate(static, feeds), strict=True):
            assert_close(result, reference, f"{model.graph.name} at {sizes}, seed {SEED}", 1e-6)


SMALL = {
    "mnist12": zoo.mnist12,
    "squeezenet10": zoo.squeezenet10,
    "light_shufflenet": lambda: light("light_shufflenet"),
}
SLOW = {
    "mobilenetv2": zoo.mobilenetv2,
    "tinyyolov2": zoo.tinyyolov2,
    "resnet50": zoo.resnet50,
    **{
        f"light_{name}": lambda name=name: light(f"light_{name}")
        for name in (
            *("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50"),
            *("squeezenet", "vgg19", "zfnet512"),
        )
    },
}


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_a_model_of_a_dynamic_batch_specializes_to_the_static_one(name):
    model = with_batch({**SMALL, **SLOW}[name]())
    check_property(model, {"batch": 3}, compute=name == "mnist12", steps=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", [{"batch": 1, "tokens": 5}, {"batch": 3, "tokens": 16}])
def test_an_encoder_of_dynamic_batch_and_tokens_specializes_to_the_static_one(causal, sizes):
    model = with_batch(small_encoder(causal=causal, activation="quick" if causal else "erf"), tokens=True)
    check_property(model, sizes, compute=True, steps=False)
    assert outputs_of(OnnxImporter().import_model(model)) == ["[batch, tokens, 24]"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "clip_text"])
def test_an_encoder_of_the_zoo_specializes_to_the_static_one(name):
    sizes = {"batch": 2, "tokens": 33}
    check_property(with_batch(zoo.MODELS[name](), tokens=True), sizes, compute=False, steps=False)


IMAGES = [{"batch": 2, "height": 64, "width": 47}, {"batch": 1, "height": 48, "width": 96}]


@pytest.mark.parametrize(
    "name", ["squeezenet10", "mobilenetv2", *(pytest.param(n, marks=pytest.mark.slow) for n in ("resnet50",))]
)
def test_a_convolutional_model_of_a_dynamic_image_agrees_with_onnxruntime(name):
    model = with_batch(zoo.MODELS[name]())
    for axis, label in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = label
    program = check(model, IMAGES)
    if name == "squeezenet10":
        with pytest.raises(InvalidArgument, match=r"height.*a window of 3"):
            specialize(program, {"batch": 1, "height": 12, "width": 64})


def test_an_encoder_of_dynamic_batch_and_tokens_agrees_with_onnxruntime():
    model = with_batch(small_encoder(), tokens=True)
    program = check(model, [{"batch": 2, "tokens": 3}, {"batch": 1, "tokens": 16}])
    with pytest.raises(InvalidArgument, match="tokens would be 17, and is at most 16"):
        specialize(program, {"tokens": 17})
