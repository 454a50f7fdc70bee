"""Functions: model-local ones, and ops that onnx defines as functions of simpler ops, are inlined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx
import onnx.inliner
from thalweg.api import InvalidArgument

from thalweg_input_onnx.model_file import Model, without_large_initializers
from thalweg_input_onnx.registry import OPS, find_schema


def inline_functions(model: Model) -> Model:
    """Return a model without calls of functions: the given one, or a copy to take nodes, opsets and types
    from.

    Ops of the table are kept; of the others, those that onnx defines by a function body are replaced by it.
    In a copy, large initializers are inputs.
    """
    tried: set[tuple[str, str]] = set()
    if model.proto.functions:
        try:
            light = onnx.inliner.inline_local_functions(without_large_initializers(model.proto))
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InvalidArgument(f"{model.label}: its functions cannot be inlined: {reason}") from None
        model = replace(model, proto=light)
    while wanted := _expandable(model) - tried:  # a body may use further such ops
        light = without_large_initializers(model.proto)
        for identifier in sorted(wanted):
            light = _inlined(light, identifier)
        model = replace(model, proto=light)
        tried |= wanted
    return model


def has_body(model: Model, node: onnx.NodeProto) -> bool:
    """Return whether onnx defines the node's op by a function body."""
    schema = find_schema(node.domain, node.op_type, model.opset(node.domain) or 0)
    kinds = ("has_function", "has_context_dependent_function")  # by name: onnx's type stubs leave them out
    return schema is not None and any(getattr(schema, kind) for kind in kinds)


def _expandable(model: Model) -> set[tuple[str, str]]:
    return {(node.domain, node.op_type) for node in _unregistered(model) if has_body(model, node)}


def _unregistered(model: Model) -> Iterator[onnx.NodeProto]:
    for node in model.proto.graph.node:
        schema = find_schema(node.domain, node.op_type, model.opset(node.domain) or 0)
        if schema is None or OPS.function(node.domain, node.op_type, schema.since_version) is None:
            yield node


def _inlined(proto: onnx.ModelProto, identifier: tuple[str, str]) -> onnx.ModelProto:
    """Inline one op; where onnx's inliner cannot (a type it cannot infer), the op stays and is reported by
    name.
    """
    for node in proto.graph.node:
        if (node.domain, node.op_type) == identifier:
            give_defaults(proto, node)
    try:
        return onnx.inliner.inline_selected_functions(proto, [identifier], inline_schema_functions=True)
    except (RuntimeError, ValueError):
        return proto


def give_defaults(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Write out the schema's default attributes: onnx's inliner leaves references to absent ones empty."""
    schema = find_schema(node.domain, node.op_type, Model(proto, "").opset(node.domain) or 0)
    given = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items() if schema is not None else ():
        if name not in given and attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            node.attribute.append(attribute.default_value)
