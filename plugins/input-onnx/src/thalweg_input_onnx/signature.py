"""The arguments of ``main``: the graph's inputs that are not initializers.

A dimension without a size keeps the model's name for it, written as an identifier; one without a name is
called after its input and axis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx
from thalweg.api import InvalidArgument
from thalweg.extents import Extent, dimension

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.model_file import Model
from thalweg_input_onnx.node import element_dtype


def graph_inputs(model: Model, sizes: Mapping[str, int]) -> list[tuple[str, tuple[Extent, ...], str]]:
    """Return (name, shape, dtype) of each argument, in order.

    :param sizes: sizes of dynamic dimensions, by name or ``INPUT:AXIS``.
    :raises InvalidArgument: sizes that name no dimension, or an input that is not a tensor.
    """
    graph = model.proto.graph
    initializers = {tensor.name for tensor in graph.initializer}
    infos = [info for info in graph.input if info.name not in initializers]
    used: set[str] = set()
    signature = []
    for info in infos:
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            raise InvalidArgument(
                f"{model.label}: input {info.name!r} is a {kind or 'value of no type'}, not a tensor"
            )
        if not info.type.tensor_type.HasField("shape"):
            raise InvalidArgument(
                f"{model.label}: input {info.name!r} has no shape; give it one; its dimensions may be named"
            )
        shape = []
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            size = _extent(info.name, axis, dim, sizes, used)
            shape.append(size)
        signature.append((info.name, tuple(shape), _dtype(model, info)))
    if unused := sorted(set(sizes) - used):
        raise InvalidArgument(f"{model.label} has no dynamic dimension named {', '.join(map(repr, unused))}")
    return signature


def _extent(
    name: str,
    axis: int,
    dim: onnx.TensorShapeProto.Dimension,
    sizes: Mapping[str, int],
    used: set[str],
) -> Extent:
    place = f"{name}:{axis}"
    if place in sizes and not dim.HasField("dim_value"):
        used.update({place, dim.dim_param} & set(sizes))
        return sizes[place]
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return dim.dim_value
    if dim.dim_param in sizes:
        used.add(dim.dim_param)
        return sizes[dim.dim_param]
    return dimension(identifier(dim.dim_param or f"{name}_{axis}"))


def identifier(name: str) -> str:
    """Return a name as letters, digits and underscores."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{word}" if not word or word[0].isdigit() or word in ("min", "max") else word


def _dtype(model: Model, info: onnx.ValueInfoProto) -> str:
    try:
        return element_dtype(info.type.tensor_type.elem_type)
    except UnsupportedForm as form:
        raise InvalidArgument(
            f"{model.label}: input {info.name!r}: {form.reason} is not supported; {form.remedy}"
        ) from None
