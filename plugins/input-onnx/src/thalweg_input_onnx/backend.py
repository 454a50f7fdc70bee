"""``onnx.backend.base.Backend`` over Thalweg: what ONNX's own conformance tests drive.

``prepare`` compiles a model for the host and loads it on a local device; ``run`` calls its one function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep
from thalweg.api import CompileError, InvalidArgument, NotSupported

TARGET_BACKEND = "llvm-cpu"
DEVICE = "local-task"


class ThalwegBackendRep(BackendRep):
    """A compiled and loaded model."""

    def __init__(self, program: Any, model: onnx.ModelProto):
        self._program = program
        initializers = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [info.name for info in model.graph.input if info.name not in initializers]
        self._outputs = [info.name for info in model.graph.output]

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """Run on a sequence of arrays, one array, or a dict by input name; returns the outputs in order."""
        if kwargs:
            raise InvalidArgument(f"run takes no options; got {', '.join(kwargs)}")
        if isinstance(inputs, dict):
            if missing := [name for name in self._inputs if name not in inputs]:
                raise InvalidArgument(
                    f"no input named {', '.join(missing)}; got {', '.join(inputs) or 'none'}"
                )
            inputs = [inputs[name] for name in self._inputs]
        elif isinstance(inputs, np.ndarray):
            inputs = [inputs]
        results = self._program.main(*[np.asarray(array) for array in inputs])
        results = results if isinstance(results, tuple) else (results,)
        return named_outputs(self._outputs, [np.asarray(result) for result in results])


def named_outputs(names: Sequence[str], values: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return the outputs as ONNX's backends do: a tuple that also knows the names."""
    return onnx.backend.base.namedtupledict("Outputs", list(names))(*values)


class ThalwegBackend(Backend):
    """Compiles with Thalweg; every device of ONNX's that is a CPU is the host."""

    @classmethod
    def prepare(
        cls,
        model: onnx.ModelProto,
        device: str = "CPU",
        target_backend: str = TARGET_BACKEND,
        hal_device: str = DEVICE,
        **kwargs: Any,
    ) -> ThalwegBackendRep:
        """Compile and load ``model``.

        :param target_backend: which code generator to use. :param hal_device: which device to load it on.
        :raises NotSupported: ``device`` is not a CPU. :raises CompileError: the model is not supported.
        """
        if kwargs:
            raise InvalidArgument(f"prepare takes target_backend and hal_device; got {', '.join(kwargs)}")
        if not cls.supports_device(device):
            raise NotSupported("onnx-device", f"no ONNX device {device!r} here; there is CPU")
        import thalweg  # compiling and running are core's; the importer itself must not depend on them

        module = thalweg.compile(model, target_backends=[target_backend])
        return ThalwegBackendRep(thalweg.load(module, device=hal_device), model)

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any):
        """Compile, load and run ``model`` once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ):
        """Run one node on arrays, which become constants of a model: ops may ask for known shapes and axes."""
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        names = [name for name in node.input if name]
        arrays = inputs.values() if isinstance(inputs, dict) else inputs
        constants = [numpy_helper.from_array(np.asarray(v), name) for name, v in zip(names, arrays)]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = helper.make_graph([node], "node", [], outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])
        return cls.run_model(model, [], device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether ``device`` (``CPU``, ``CPU:0``, …) is the host."""
        return device.split(":")[0].upper() == "CPU"

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Return whether the model can be imported and the device is here."""
        from thalweg_input_onnx.importer import OnnxImporter  # brings in xDSL, which running does not need

        try:
            OnnxImporter().import_model(model)
        except (InvalidArgument, CompileError):
            return False
        return cls.supports_device(device)


prepare = ThalwegBackend.prepare
run_model = ThalwegBackend.run_model
run_node = ThalwegBackend.run_node
supports_device = ThalwegBackend.supports_device
is_compatible = ThalwegBackend.is_compatible
