"""Runs dispatches the whole way: plan, translate, link, load, call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from thalweg.codegen.target import KernelSource
from thalweg.hal.executable import HostKernel
from thalweg.ir import Dispatch, Program
from thalweg.ir.evaluate import evaluate
from thalweg.ir.specialization import bind_dimensions
from thalweg.module.module import ExecutableRecord
from thalweg_target_vmvx.backend import VmvxBackend
from thalweg_target_vmvx.loader import VmvxLoader


def compile_text(*texts: str) -> ExecutableRecord:
    """Compile dispatches, each the text of one function, to one executable."""
    backend = VmvxBackend("vmvx")
    config = backend.configuration()
    translated = []
    for text in texts:
        dispatch = Dispatch.parse(text)
        plan = backend.plan(dispatch, config)
        translated.append(
            backend.translate(KernelSource(dispatch.name, dispatch.text(), plan.kernel), config)
        )
    linked = backend.link(translated, config)
    return ExecutableRecord("test", linked.format, linked.data, linked.entries)


def call(
    kernel: object, constants: tuple[int, ...], operands: Sequence[np.ndarray], results
) -> list[np.ndarray]:
    """Call a kernel; ``results`` are (shape, dtype) pairs."""
    assert isinstance(kernel, HostKernel)
    outputs = [np.full(shape, 77, dtype) for shape, dtype in results]
    inputs = [memoryview(np.ascontiguousarray(x).tobytes()) for x in operands]
    targets = [y.reshape(-1).view(np.uint8).data for y in outputs]
    kernel.function([*inputs, *targets], constants, (0, 0, 0), (1, 1, 1))
    return outputs


@pytest.fixture
def run_kernel() -> Callable[..., list[np.ndarray]]:
    """Compile a function's text, call it, check it against the evaluator bit for bit; returns its results."""

    def run(text: str, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
        dispatch = Dispatch.parse(text)
        values = bind_dimensions(dispatch.function, [x.shape for x in operands])
        constants = tuple(values[name] for name in dispatch.dimensions)
        (kernel,) = VmvxLoader().load(compile_text(text)).kernels
        expected = evaluate(Program.parse(text), list(operands), dispatch.name)
        outputs = call(kernel, constants, operands, [(y.shape, y.dtype) for y in expected])
        for output, reference in zip(outputs, expected):
            np.testing.assert_array_equal(output, reference)
        return outputs

    return run
