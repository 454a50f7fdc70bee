"""The flow of values through a graph: every name is made once, before it is used."""

from __future__ import annotations

import onnx
from thalweg.api import InvalidArgument

from thalweg_input_onnx.node import node_name


def check_dataflow(graph: onnx.GraphProto, label: str) -> None:
    """Check the names of a graph's nodes and outputs; subgraphs are left to onnx's checker.

    :raises InvalidArgument: a name that is made twice or by nothing, or nodes out of order or in a cycle.
    """
    given = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    given |= {sparse.values.name for sparse in graph.sparse_initializer}
    makers = _makers(graph, given, label)
    made = set(given)
    for node in graph.node:
        for name in node.input:
            if name and name not in given and name not in makers:
                raise InvalidArgument(
                    f"{label} is not a valid ONNX model: input {name!r} of node {node_name(node)!r} "
                    f"({node.op_type}) is made by no node and is no input or initializer of the graph"
                )
        if late := [name for name in node.input if name and name not in made]:
            if cycle := _cycle(makers, given):
                raise InvalidArgument(
                    f"{label} is not a valid ONNX model: its nodes form a cycle: {' -> '.join(cycle)}"
                )
            raise InvalidArgument(
                f"{label} is not a valid ONNX model: node {node_name(node)!r} ({node.op_type}) uses "
                f"{late[0]!r}, which node {node_name(makers[late[0]])!r} makes after it; "
                "sort the nodes topologically"
            )
        made.update(node.output)
    for output in graph.output:
        if output.name not in made:
            raise InvalidArgument(
                f"{label} is not a valid ONNX model: output {output.name!r} is made by no node"
            )


def _makers(graph: onnx.GraphProto, given: set[str], label: str) -> dict[str, onnx.NodeProto]:
    """Return name → the node that makes it."""
    makers: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for name in filter(None, node.output):
            if name in given or name in makers:
                other = f"node {node_name(makers[name])!r}" if name in makers else "an input or initializer"
                raise InvalidArgument(
                    f"{label} is not a valid ONNX model: {name!r} is made by node {node_name(node)!r} "
                    f"({node.op_type}) and is already made by {other}; give one of them another name"
                )
            makers[name] = node
    return makers


def _cycle(makers: dict[str, onnx.NodeProto], given: set[str]) -> list[str]:
    """Return the names of the nodes along one cycle, its first node last again; empty where there is none."""
    done: set[str] = set(given)
    for start in makers:
        path: list[str] = []
        pending = [(start, False)]
        while pending:
            name, leaving = pending.pop()
            if leaving:
                path.pop()
                done.add(name)
            elif name in path:
                around = [node_name(makers[step]) for step in path[path.index(name) :]][::-1]
                return [*around, around[0]]
            elif name not in done and name in makers:
                path.append(name)
                pending.append((name, True))
                pending.extend((source, False) for source in makers[name].input if source)
    return []
