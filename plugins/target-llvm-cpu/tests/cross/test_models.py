"""Whole models compiled for foreign processors, run under qemu's user mode: onnxruntime's results."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_program import EmulatedProgram
from emulator import EMULATED, configuration
from thalweg.compiler.api import compile_model

zoo = pytest.importorskip("thalweg_benchmarks.zoo")
onnxruntime = pytest.importorskip("onnxruntime")

ORDINARY = ("aarch64", "riscv64", "riscv64 +v of 128 bits")


def cases(model: str, ordinary: tuple[str, ...] = ()) -> list:
    """Return (model, processor); those not in ``ordinary`` run in ``make test-full``."""
    return [
        pytest.param(model, cpu, marks=() if cpu in ordinary else (pytest.mark.full,)) for cpu in EMULATED
    ]


@pytest.mark.parametrize("model, cpu", [*cases("mnist12", ORDINARY), *cases("mobilenetv2")])
def test_a_model_gives_what_onnxruntime_gives(model: str, cpu: str) -> None:
    _check(model, cpu, {})


@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("model, cpu", cases("minilm_dynamic"))
def test_a_model_of_dynamic_shape_gives_what_onnxruntime_gives(model: str, cpu: str, tokens: int) -> None:
    _check(model, cpu, {"tokens": tokens})


def _check(name: str, cpu: str, dimensions: dict[str, int]) -> None:
    configuration(cpu)
    options = EMULATED[cpu].options
    model = zoo.MODELS[name]()
    compiled = compile_model(
        model,
        target_backends=["llvm-cpu"],
        options={
            "llvm-cpu": {
                "target_triple": options.target_triple,
                "target_cpu": options.target_cpu,
                "target_cpu_features": options.target_cpu_features,
            }
        },
    )
    assert compiled.module is not None
    feeds = zoo.random_inputs(model, seed=7, **dimensions)
    program = EmulatedProgram(cpu, compiled.module)
    results = program.run(list(feeds.values()), dimensions=dimensions)
    assert program.dispatches >= 5
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for result, wanted in zip(results, session.run(None, feeds), strict=True):
        assert result.shape == wanted.shape
        found = np.linalg.norm(result.astype(np.float64) - wanted) / np.linalg.norm(wanted)
        assert found <= 1e-5, f"{name} for {cpu} at {dimensions}: relative error {found:.3g}"
