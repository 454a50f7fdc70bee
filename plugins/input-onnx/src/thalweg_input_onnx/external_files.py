"""Which files a model keeps its tensors in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnx import GraphProto, NodeProto, TensorProto
from onnx.external_data_helper import uses_external_data

from thalweg_input_onnx.model_file import Model


def external_files(model: Model) -> tuple[Path, ...]:
    """Return the files of the model's external data, each once, in the order in which it names them."""
    if model.folder is None:
        return ()
    names = (_location(tensor) for tensor in _tensors(model))
    return tuple(model.folder / name for name in dict.fromkeys(names) if name)


def _location(tensor: TensorProto) -> str:
    if not uses_external_data(tensor):
        return ""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _tensors(model: Model) -> Iterator[TensorProto]:
    yield from _graph_tensors(model.proto.graph)
    for function in model.proto.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)
