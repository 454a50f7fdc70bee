"""Functions: model-local ones, and ops that onnx defines as functions of simpler ops, are inlined."""

from __future__ import annotations

import onnx
import onnx.inliner

from thalweg_input_onnx.model_file import Model, without_large_initializers
from thalweg_input_onnx.registry import OPS, find_schema


def inline_functions(model: Model) -> tuple[onnx.GraphProto, Model]:
    """Return the graph to import, and the model whose opsets its nodes use.

    Ops of the table are kept; of the others, those that onnx defines by a function body are replaced by it.
    """
    proto = model.proto
    wanted = {
        (node.domain, node.op_type)
        for node in _all_nodes(proto)
        if _has_body(model, node) and not _registered(model, node)
    }
    if not wanted and not proto.functions:
        return proto.graph, model
    light = without_large_initializers(proto)
    if proto.functions:
        light = onnx.inliner.inline_local_functions(light)
    if wanted:
        light = onnx.inliner.inline_selected_functions(light, sorted(wanted), inline_schema_functions=True)
    # large initializers were set aside as inputs; only nodes, opsets and types are taken from the inlined copy
    return light.graph, Model(light, model.label, model.folder)


def _all_nodes(proto: onnx.ModelProto):
    yield from proto.graph.node
    for function in proto.functions:
        yield from function.node


def _registered(model: Model, node: onnx.NodeProto) -> bool:
    schema = find_schema(node.domain, node.op_type, model.opset(node.domain) or 0)
    return schema is not None and OPS.function(node.domain, node.op_type, schema.since_version) is not None


def _has_body(model: Model, node: onnx.NodeProto) -> bool:
    schema = find_schema(node.domain, node.op_type, model.opset(node.domain) or 0)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)
