"""``onnx.backend.base.Backend`` over Thalweg: what ONNX's own conformance tests drive.

``prepare`` compiles a model for the host and loads it; ``run`` calls its one function::

    import onnx
    import thalweg_input_onnx.backend as backend

    y = backend.run_model(onnx.load("model.onnx"), [x])[0]

A module may be given to ``onnx.backend.test.BackendTest``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep, namedtupledict
from thalweg.api import InvalidArgument, NotSupported

from thalweg_input_onnx.diagnostics import UnsupportedModel


class ThalwegBackendRep(BackendRep):
    """A compiled and loaded model; calls from several threads are taken one after another."""

    def __init__(self, program: Any, model: onnx.ModelProto):
        self._program = program
        initializers = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [info.name for info in model.graph.input if info.name not in initializers]
        self._results = namedtupledict("Outputs", [info.name for info in model.graph.output])

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """Run on a sequence of arrays, one array, or a mapping from input name to array.

        :returns: the outputs in the model's order, in a tuple that also takes names as indices.
        :raises InvalidArgument: missing, extra or misnamed inputs, or one of another dtype or shape.
        """
        if kwargs:
            raise InvalidArgument(f"run takes no options; got {', '.join(kwargs)}")
        if isinstance(inputs, Mapping):
            inputs = self._by_name(inputs)
        elif isinstance(inputs, np.ndarray | np.generic):
            inputs = [inputs]
        if len(inputs) != len(self._inputs):
            names = ", ".join(self._inputs) or "none"
            raise InvalidArgument(
                f"the model takes {len(self._inputs)} inputs ({names}), not the {len(inputs)} given"
            )
        results = self._program.main(*[np.asarray(array) for array in inputs])
        results = results if isinstance(results, tuple) else (results,)
        return self._results(*(np.asarray(result) for result in results))

    def _by_name(self, inputs: Mapping[str, Any]) -> list[Any]:
        missing = [name for name in self._inputs if name not in inputs]
        extra = [name for name in inputs if name not in self._inputs]
        if missing or extra:
            what = f"misses {', '.join(missing)}" if missing else f"does not take {', '.join(extra)}"
            raise InvalidArgument(f"the model {what}; its inputs are {', '.join(self._inputs) or 'none'}")
        return [inputs[name] for name in self._inputs]


class ThalwegBackend(Backend):
    """Compiles with Thalweg; every device of ONNX's that is a CPU is the host."""

    @classmethod
    def prepare(
        cls,
        model: onnx.ModelProto,
        device: str = "CPU",
        target_backend: str | None = None,
        hal_device: str | None = None,
        **kwargs: Any,
    ) -> ThalwegBackendRep:
        """Compile and load ``model``.

        :param device: ONNX's name of a device, such as ``CPU``.
        :param target_backend: the code generator, such as ``vmvx``; by default the preferred one installed.
        :param hal_device: the device to load it on, such as ``local-sync``; by default the preferred one.
        :raises NotSupported: ``device`` is not a CPU.
        :raises InvalidArgument: the model is not valid, or an option is not known.
        :raises CompileError: the model has nodes that are not supported.
        """
        if kwargs:
            raise InvalidArgument(f"prepare takes target_backend and hal_device; got {', '.join(kwargs)}")
        if not cls.supports_device(device):
            raise NotSupported("onnx-device", f"no ONNX device {device!r} here; there is CPU")
        import thalweg  # compiling and running are core's; the importer itself must not depend on them

        module = thalweg.compile(model, target_backends=[target_backend] if target_backend else [])
        return ThalwegBackendRep(thalweg.load(module, device=hal_device), model)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[np.ndarray, ...]:
        """Compile, load and run ``model`` once; takes what ``prepare`` and ``run`` take."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[np.ndarray, ...]:
        """Run one node on arrays: a sequence in the node's order (without those left out), or by input name.

        Inputs whose elements must be known while compiling (shapes, axes, pads) become constants.

        :param outputs_info: not needed. :param kwargs: ``opset_version``, and what ``prepare`` takes.
        """
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        arrays = _node_inputs(node, inputs)
        names = list(arrays)
        for constants in ((), names[1:], names):
            model = _node_model(node, arrays, constants, opset)
            feeds = [array for name, array in arrays.items() if name not in constants]
            try:
                return cls.run_model(model, feeds, device, **kwargs)
            except UnsupportedModel as error:
                if constants == names or not any(problem.needs_constant for problem in error.problems):
                    raise
        raise AssertionError("the last attempt returns or raises")

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether ``device`` (``CPU``, ``CPU:0``) is the host."""
        kind, _, index = device.upper().partition(":")
        return kind == "CPU" and index in ("", "0")

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Return whether the model can be imported and the device is here."""
        from thalweg_input_onnx.importer import OnnxImporter  # brings in xDSL, which running does not need

        try:
            OnnxImporter().import_model(model)
        except (InvalidArgument, UnsupportedModel):
            return False
        return cls.supports_device(device)


def _node_inputs(node: onnx.NodeProto, inputs: Any) -> dict[str, np.ndarray]:
    names = list(dict.fromkeys(name for name in node.input if name))
    if isinstance(inputs, np.ndarray | np.generic):
        inputs = [inputs]
    values: Iterable[Any] = inputs
    if isinstance(inputs, Mapping):
        values = [inputs[name] for name in names if name in inputs]
    arrays = [np.asarray(value) for value in values]
    if len(arrays) != len(names):
        raise InvalidArgument(
            f"{node.op_type} has inputs {', '.join(names) or 'none'}; got {len(arrays)} arrays"
        )
    return dict(zip(names, arrays))


def _node_model(
    node: onnx.NodeProto, arrays: Mapping[str, np.ndarray], constants: Sequence[str], opset: int
) -> onnx.ModelProto:
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
        if name not in constants
    ]
    graph = helper.make_graph(
        [node],
        "node",
        infos,
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        [numpy_helper.from_array(arrays[name], name) for name in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])


prepare = ThalwegBackend.prepare
run_model = ThalwegBackend.run_model
run_node = ThalwegBackend.run_node
supports_device = ThalwegBackend.supports_device
is_compatible = ThalwegBackend.is_compatible
