"""The models of the zoo and of the onnx package on every CPU target and driver, against onnxruntime."""

from __future__ import annotations

import gc
from functools import lru_cache

import numpy as np
import onnx
import onnxruntime
import pytest
import thalweg
from thalweg.errors import InvalidArgument
from thalweg_benchmarks import light, zoo

ZOO = ("mnist12", "squeezenet10", "mobilenetv2", "tinyyolov2", "resnet50", "minilm", "clip_text")
TARGETS = ("llvm-cpu", "vmvx")
DEVICES = ("local-sync", "local-task")
SEED = 20261121
TOLERANCE = 1e-5


@lru_cache(maxsize=1)
def prepared(kind: str, name: str) -> tuple[onnx.ModelProto, list[np.ndarray], np.ndarray]:
    """Return a model, seeded inputs, and what onnxruntime makes of them."""
    if kind == "zoo":
        model = zoo.MODELS[name]()
        feeds = list(zoo.random_inputs(model, seed=SEED).values())
        names = [info.name for info in model.graph.input]
    else:
        model = light.load(name)
        if kind == "light-random":
            model = light.with_random_weights(model, SEED)
        feeds = light.random_feeds(model, SEED)
        names = [info.name for info in light.inputs_of(model)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return model, feeds, np.asarray(session.run(None, dict(zip(names, feeds)))[0])


@lru_cache(maxsize=1)
def compiled(kind: str, name: str, target: str):
    """Return the model compiled; one is kept, for the next device."""
    gc.collect()
    return thalweg.compile(prepared(kind, name)[0], target_backends=[target])


def relative_error(out: np.ndarray, reference: np.ndarray) -> float:
    """Return the norm of the difference over the norm of the reference, in float64."""
    assert out.shape == reference.shape and out.dtype == reference.dtype
    difference = out.astype(np.float64) - reference.astype(np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(reference.astype(np.float64)))


def check(kind: str, name: str, target: str, device: str) -> None:
    """Run on one device and compare."""
    _, feeds, reference = prepared(kind, name)
    program = thalweg.load(compiled(kind, name, target), device=device)
    error = relative_error(np.asarray(program.main(*feeds)), reference)
    assert error <= TOLERANCE, f"{name}, seed {SEED}: relative error {error:.2e} against onnxruntime"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ZOO)
def test_a_zoo_model_agrees_with_onnxruntime(name: str, target: str, device: str):
    check("zoo", name, target, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", light.NAMES)
def test_a_light_model_agrees_with_onnxruntime_and_with_its_shipped_output(name, target, device):
    check("light", name, target, device)
    feeds, expected = light.shipped_case(name, prepared("light", name)[0])
    program = thalweg.load(compiled("light", name, target), device=device)
    error = relative_error(np.asarray(program.main(*feeds)), expected)
    assert error <= TOLERANCE, f"{name}: relative error {error:.2e} against the output that ships with it"


@pytest.mark.parametrize("name", light.NAMES)
def test_a_light_model_with_random_weights_agrees_with_onnxruntime(name: str):
    check("light-random", name, "llvm-cpu", "local-task")


@lru_cache(maxsize=1)
def dynamic_minilm(target: str):
    """Return the encoder with a dynamic number of tokens, an onnxruntime session of it, and it compiled."""
    model = zoo.MODELS["minilm_dynamic"]()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return model, session, thalweg.compile(model, target_backends=[target])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("target", TARGETS)
def test_one_module_serves_any_number_of_tokens(target: str, device: str):
    model, session, module = dynamic_minilm(target)
    with thalweg.load(module, device=device) as program:
        for tokens in (1, 7, 128, 512):
            feeds = zoo.random_inputs(model, seed=SEED, tokens=tokens)
            reference = np.asarray(session.run(None, feeds)[0])
            error = relative_error(np.asarray(program.main(*feeds.values())), reference)
            assert error <= TOLERANCE, f"{tokens} tokens, seed {SEED}: relative error {error:.2e}"
        with pytest.raises(InvalidArgument, match=r"tokens=513 exceeds .*512"):
            program.main(*zoo.random_inputs(model, seed=SEED, tokens=513).values())


@pytest.mark.parametrize("name", [*ZOO, "minilm_dynamic"])
def test_the_arena_is_hardly_larger_than_what_lives_at_once(name: str):
    statistics = thalweg.compile(zoo.MODELS[name](), target_backends=["vmvx"]).variants[0].statistics
    arena, live = statistics["transient_bytes"], statistics["peak_live_bytes"]
    assert live <= arena <= 1.2 * live, statistics
