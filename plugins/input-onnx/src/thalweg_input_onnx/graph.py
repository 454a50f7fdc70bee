"""Walking a graph: inputs, initializers, then node after node, to one function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from thalweg.api import InvalidArgument
from thalweg.dtypes import dtype_name, numpy_dtype
from thalweg.extents import Extent, UnknownOrder, format_shape, names_in
from thalweg.ir import Program

import thalweg_input_onnx.ops  # noqa: F401  (fills the table of ops)
from thalweg_input_onnx.dataflow import check_dataflow
from thalweg_input_onnx.diagnostics import Problem, UnknownValue, UnsupportedForm, unsupported
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.folding import fold
from thalweg_input_onnx.inlining import give_defaults, has_body, inline_functions
from thalweg_input_onnx.model_file import Model, check_model, without_large_initializers
from thalweg_input_onnx.node import Node, element_dtype, node_name
from thalweg_input_onnx.registry import OPS, find_schema
from thalweg_input_onnx.shape_arithmetic import fold_extents
from thalweg_input_onnx.signature import Dimensions, Size, graph_inputs
from thalweg_input_onnx.tensor import Tensor
from thalweg_input_onnx.typing_rules import check_input_types


def import_graph(model: Model, sizes: Mapping[str, Size]) -> Program:
    """Import a model's graph as the function ``main``.

    :param sizes: sizes of dynamic dimensions, by name or ``INPUT:AXIS``.
    :raises InvalidArgument: the model is not valid.
    :raises CompileError: nodes that are not supported, all of them.
    """
    undefined = [problem for node in model.proto.graph.node if (problem := _undefined(model, node))]
    if undefined:  # the checker would refuse the model at the first of them
        raise unsupported(undefined + _unknown_ops(model, model.proto.graph, {p.node for p in undefined}))
    signature, dimensions = graph_inputs(model, sizes)
    check_dataflow(model.proto.graph, model.label)
    check_model(model)
    return _GraphImporter(model, inline_functions(model), signature, dimensions).run()


Signature = Sequence[tuple[str, tuple[Extent, ...], str]]
"""Name, shape and dtype of each argument."""


class _GraphImporter:
    """The state of one import: the tensors by name, and the problems met so far."""

    def __init__(self, model: Model, inlined: Model, signature: Signature, dimensions: Dimensions):
        self.model = model
        self.inlined = inlined
        graph = self.graph = inlined.proto.graph
        self.signature = signature
        self.dimensions = dimensions
        self.emitter = Emitter(self.signature)
        self.tensors: dict[str, Tensor] = {}
        self.problems: list[Problem] = []
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(output.name for output in graph.output)
        self._inferred: dict[str, tuple[tuple[int, ...], str]] | None = None

    def run(self) -> Program:
        """Import everything; returns the program or raises with every problem."""
        self._add_inputs()
        for proto in self.graph.node:
            self._import_node(proto)
        if self.problems:
            raise unsupported(self.problems)
        if found := self._inference_error():
            raise InvalidArgument(f"{self.model.label} is not a valid ONNX model: {found}")
        self.emitter.builder.source = ""
        outputs = [(output.name, self._output(output.name)) for output in self.model.proto.graph.output]
        return self.emitter.builder.program(outputs)

    def _add_inputs(self) -> None:
        for (name, shape, dtype), value in zip(self.signature, self.emitter.builder.arguments):
            self.tensors[name] = Tensor(tuple(shape), dtype, value=value, name=name)
        for tensor in [*self.model.proto.graph.initializer, *self.graph.initializer]:
            if tensor.name in self.tensors:
                continue
            try:
                element_dtype(tensor.data_type)
            except UnsupportedForm as form:
                self._problem(onnx.NodeProto(name=tensor.name, op_type="initializer"), form)
                continue
            self.tensors[tensor.name] = self.emitter.constant(self.model.array(tensor), tensor.name)
        for sparse in self.model.proto.graph.sparse_initializer:
            proto = onnx.NodeProto(name=sparse.values.name, op_type="sparse initializer")
            self._problem(proto, UnsupportedForm("sparse initializers", "store the tensor densely"))

    def _output(self, name: str):
        return self.emitter.value(self.tensors[name])

    # -- nodes -----------------------------------------------------------------------------------------------

    def _import_node(self, proto: onnx.NodeProto) -> None:
        self.emitter.builder.source = node_name(proto)
        if problem := _unknown_op(self.inlined, proto):
            self.problems.append(problem)
            return self._stand_in(proto)
        missing = [name for name in proto.input if name and name not in self.tensors]
        if missing:  # made by a node with a problem, and of unknown type
            return None
        inputs = [self.tensors[name] if name else None for name in proto.input]
        try:
            outputs = self._evaluate(proto, inputs)
        except UnsupportedForm as form:
            self._problem(proto, form)
            return self._stand_in(proto)
        except InvalidArgument as error:
            if (form := self._dynamic_form(inputs, error)) is not None:
                self._problem(proto, form)
                return self._stand_in(proto)
            raise InvalidArgument(
                f"{self.model.label}: node {node_name(proto)!r} ({proto.op_type}): {error}"
            ) from None
        except UnicodeDecodeError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError, MemoryError) as error:
            raise self._malformed(proto, inputs, error) from error
        for name, output in zip(proto.output, outputs):
            if name:
                self.tensors[name] = output
        return None

    def _evaluate(self, proto: onnx.NodeProto, inputs: list[Tensor | None]) -> list[Tensor]:
        opset = self.inlined.opset(proto.domain) or 0
        schema = find_schema(proto.domain, proto.op_type, opset)
        assert schema is not None
        check_input_types(schema, inputs)
        if (arrays := fold(proto, opset, inputs)) is not None:
            return [self.emitter.constant(array) for array in arrays]
        node = Node(proto, opset, schema.since_version)
        if (folded := fold_extents(node, inputs)) is not None:
            return [self.emitter.known_extents(*folded)]
        function = OPS.function(schema.domain, proto.op_type, schema.since_version)
        assert function is not None
        result = function(self.emitter, node, *inputs)
        outputs = list(result) if isinstance(result, tuple) else [result]
        for name in proto.output[len(outputs) :]:
            if name and self.uses[name]:
                index = list(proto.output).index(name)
                raise UnsupportedForm(
                    f"its output {index} ({schema.outputs[min(index, len(schema.outputs) - 1)].name})"
                )
        return outputs

    def _dynamic_form(
        self, inputs: Sequence[Tensor | None], error: InvalidArgument
    ) -> UnsupportedForm | None:
        """Say which dimensions must have sizes for a node that is refused where they have none."""
        present = [x for x in inputs if x is not None]
        elements = [e for x in present if x.extents is not None for e in x.extents.ravel().tolist()]
        names = names_in([*(extent for x in present for extent in x.shape), *elements])
        if not names:
            return None
        shapes = ", ".join(format_shape(x.shape) for x in present)
        what = "its form depends on the call" if isinstance(error, UnknownOrder) else "not for every size"
        return UnsupportedForm(f"{what} (inputs {shapes}): {error}", self.dimensions.remedy(names))

    def _malformed(
        self, proto: onnx.NodeProto, inputs: Sequence[Tensor | None], error: Exception
    ) -> InvalidArgument:
        """Say what is wrong with a node that its function stumbled over, in onnx's words where it knows."""
        types = ", ".join("none" if x is None else f"{format_shape(x.shape)} {x.dtype}" for x in inputs)
        where = f"{self.model.label}: node {node_name(proto)!r} ({proto.op_type}, inputs {types or 'none'})"
        if found := self._inference_error():
            return InvalidArgument(f"{where}: {found}")
        reason = " ".join(str(error).split()) or "no reason given"
        return InvalidArgument(f"{where} cannot be imported: {type(error).__name__}: {reason}")

    def _inference_error(self) -> str:
        """Return what onnx's shape inference finds wrong with the nodes, on one line; empty if nothing."""
        light = without_large_initializers(self.inlined.proto)
        light.graph.ClearField("value_info")  # stale ones are common, and do no harm
        for output in light.graph.output:
            output.ClearField("type")
        for node in light.graph.node:
            if has_body(self.inlined, node):
                give_defaults(light, node)
        try:
            onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True)
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
            return " ".join(str(error).split())
        return ""

    # -- problems --------------------------------------------------------------------------------------------

    def _problem(self, proto: onnx.NodeProto, form: UnsupportedForm) -> None:
        opset = self.inlined.opset(proto.domain) or 0
        needs_constant = isinstance(form, UnknownValue)
        name, op, domain = node_name(proto), proto.op_type, proto.domain
        self.problems.append(Problem(name, op, domain, opset, form.reason, form.remedy, needs_constant))

    def _stand_in(self, proto: onnx.NodeProto) -> None:
        """Put placeholders for the outputs of a node with a problem, so that later problems are found too."""
        for name in proto.output:
            if name in self._types():
                shape, dtype = self._types()[name]
                zero = np.zeros((), numpy_dtype(dtype))
                self.tensors[name] = self.emitter.map([self.emitter.constant(zero)], lambda v: v)
                if shape:
                    self.tensors[name] = self.emitter.broadcast_to(self.tensors[name], shape)

    def _types(self) -> dict[str, tuple[tuple[int, ...], str]]:
        if self._inferred is None:
            self._inferred = {}
            try:
                inferred = onnx.shape_inference.infer_shapes(without_large_initializers(self.inlined.proto))
            except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
                return self._inferred  # no stand-ins then: what depends on a node with a problem is left out
            for info in [*inferred.graph.value_info, *inferred.graph.output]:
                tensor = info.type.tensor_type
                if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
                    continue
                try:
                    dtype = dtype_name(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
                except (InvalidArgument, KeyError):
                    continue
                self._inferred[info.name] = (tuple(d.dim_value for d in tensor.shape.dim), dtype)
        return self._inferred


def _undefined(model: Model, proto: onnx.NodeProto) -> Problem | None:
    """Report an op of a standard domain that onnx does not define at the model's opset."""
    standard = proto.domain in ("", "ai.onnx")
    if not standard or any(
        f.name == proto.op_type and f.domain in ("", "ai.onnx") for f in model.proto.functions
    ):
        return None
    opset = model.opset("") or 0
    if opset > onnx.defs.onnx_opset_version() or find_schema("", proto.op_type, opset):
        return None
    reason = f"onnx {onnx.__version__} defines no such op at this opset"
    remedy = "check the op's name and the model's opset, or replace it by standard ops"
    return Problem(node_name(proto), proto.op_type, proto.domain, opset, reason, remedy)


def _unknown_ops(model: Model, graph: onnx.GraphProto, known: set[str]) -> list[Problem]:
    functions = {(f.domain, f.name) for f in model.proto.functions}
    nodes = [n for n in graph.node if node_name(n) not in known and (n.domain, n.op_type) not in functions]
    bodied = (n for n in nodes if not has_body(model, n))
    return [problem for node in bodied if (problem := _unknown_op(model, node))]


def _unknown_op(model: Model, proto: onnx.NodeProto) -> Problem | None:
    """Report an op, or a version of one, that the table does not have."""
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    opset = model.opset(domain) or 0
    schema = find_schema(domain, proto.op_type, opset)
    if schema is not None and OPS.function(domain, proto.op_type, schema.since_version) is not None:
        return None
    reviewed = OPS.versions(domain, proto.op_type)
    if reviewed and schema is not None:
        reason = (
            f"version {schema.since_version} of this op has not been reviewed (reviewed: {list(reviewed)})"
        )
        remedy = f"convert the model to an opset below {schema.since_version} with onnx.version_converter"
        if schema.since_version < min(reviewed):
            remedy = f"convert the model to opset {min(reviewed)} or later with onnx.version_converter"
    elif schema is None and domain:
        reason = "ops of this domain are not known"
        remedy = "give the model a local function that defines the op, or replace it by standard ops"
    elif has_body(model, proto):
        reason = "onnx defines this op by simpler ones, but its inliner fails on this form"
        remedy = "give the optional inputs between those that are used, or replace it by supported ops"
    else:
        reason = "this op is not supported"
        remedy = "replace it by supported ops (see the README of thalweg-input-onnx)"
    return Problem(node_name(proto), proto.op_type, proto.domain, opset, reason, remedy)
