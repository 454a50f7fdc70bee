"""Thalweg and its peers behind one face: a model in, a callable out."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import thalweg

Call = Callable[[], Sequence[np.ndarray]]


class Unavailable(Exception):
    """A peer cannot take part: it is not installed, or cannot compile the model; the text says which."""


@dataclass(frozen=True)
class Prepared:
    """A model ready to run: ``call()`` returns its outputs. ``compile_seconds`` from the model to here."""

    call: Call
    compile_seconds: float


@dataclass(frozen=True)
class Contender:
    """``prepare(model, inputs in order, threads)`` makes a model ready."""

    name: str
    prepare: Callable[[onnx.ModelProto, Sequence[np.ndarray], int], Call]

    def ready(self, model: onnx.ModelProto, inputs: Sequence[np.ndarray], threads: int) -> Prepared:
        """Prepare and time it.

        :raises Unavailable: not installed, or the model is beyond it.
        """
        start = time.perf_counter()
        call = self.prepare(model, inputs, threads)
        return Prepared(call, time.perf_counter() - start)


def _thalweg(model: onnx.ModelProto, inputs: Sequence[np.ndarray], threads: int) -> Call:
    program = thalweg.load(thalweg.compile(model), device=f"local-task://?threads={threads}")

    def call() -> Sequence[np.ndarray]:
        results = program.main(*inputs)
        return [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]

    return call


def _require(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Unavailable(f"not installed (pip install {package})")


def _onnxruntime(model: onnx.ModelProto, inputs: Sequence[np.ndarray], threads: int) -> Call:
    _require("onnxruntime", "onnxruntime")
    import onnxruntime  # a peer is an optional extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    feeds = {info.name: value for info, value in zip(session.get_inputs(), inputs)}
    return lambda: [np.asarray(value) for value in session.run(None, feeds)]


def _openvino(model: onnx.ModelProto, inputs: Sequence[np.ndarray], threads: int) -> Call:
    _require("openvino", "openvino")
    import openvino  # a peer is an optional extra

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()

    def call() -> Sequence[np.ndarray]:
        results = request.infer(list(inputs))
        return [results[index] for index in range(len(compiled.outputs))]

    return call


def _iree(model: onnx.ModelProto, inputs: Sequence[np.ndarray], threads: int) -> Call:
    for module in ("iree", "iree.compiler", "iree.runtime"):
        _require(module, "iree-base-compiler[onnx] iree-base-runtime")
    import iree.runtime as runtime  # a peer is an optional extra

    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        source, text, binary = (Path(folder) / name for name in ("model.onnx", "model.mlir", "model.vmfb"))
        onnx.save(model, source)
        flags = (
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=llvm-cpu",
            "--iree-llvmcpu-target-cpu=host",
            "--iree-opt-level=O3",
        )
        _run_tool([scripts / "iree-import-onnx", source, "-o", text])
        _run_tool([scripts / "iree-compile", text, *flags, "-o", binary])
        content = binary.read_bytes()
    runtime.flags.parse_flags(f"--task_topology_group_count={threads}")
    config = runtime.Config("local-task")
    module = runtime.load_vm_module(runtime.VmModule.copy_buffer(config.vm_instance, content), config)
    exported = module.vm_module.function_names
    (name,) = (n for n in exported if "$" not in n and not n.startswith("__"))
    function = module[name]

    def call() -> Sequence[np.ndarray]:
        results = function(*inputs)
        return [np.asarray(r) for r in (results if isinstance(results, list | tuple) else (results,))]

    return call


def _run_tool(command: Sequence[object]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise Unavailable(f"cannot compile it: {(lines or ['no message'])[0].strip()[-120:]}")


CONTENDERS = (
    Contender("thalweg", _thalweg),
    Contender("onnxruntime", _onnxruntime),
    Contender("openvino", _openvino),
    Contender("iree", _iree),
)
"""Thalweg first."""
