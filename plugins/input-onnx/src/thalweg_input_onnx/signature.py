"""The arguments of ``main``: the graph's inputs that are not initializers.

A dimension without a size keeps the model's name for it, written as an identifier; one without a name is
called after its input and axis. A name that is an expression of other inputs' dimensions (``past + 1``) is
read as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import onnx
from thalweg.api import InvalidArgument
from thalweg.extents import Extent, dimension, names_in, parse, substitute

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.model_file import Model
from thalweg_input_onnx.node import element_dtype

Size = int | str
"""What ``--onnx-dim`` gives a dimension: a number, or the label of another dimension."""


class Dimensions:
    """The dynamic dimensions of a model's inputs: their labels (the model's name, or ``INPUT:AXIS``), and the
    extents they become.

    :param labels: of every dimension without a size, in the order of the inputs.
    :param sizes: by label.
    :raises InvalidArgument: a size that is the label of no dimension.
    """

    def __init__(self, labels: Iterable[str], sizes: Mapping[str, Size]):
        self._extents: dict[str, Extent] = {}
        self._labels: dict[str, str] = {}
        labels = list(dict.fromkeys(labels))
        self._named = {label: self._identifier(label) for label in labels}
        for label in labels:
            size = sizes.get(label)
            if isinstance(size, str):
                if size not in self._named or isinstance(sizes.get(size), str):
                    raise InvalidArgument(
                        f"--onnx-dim {label}={size}: {size!r} is neither a positive integer nor another "
                        f"dynamic dimension of the model ({', '.join(labels)})"
                    )
                size = sizes.get(size, dimension(self._named[size]))
            self._extents[label] = dimension(self._named[label]) if size is None else _known(size)
        for label in labels:
            if label not in sizes and (combined := self._expression(label)) is not None:
                self._extents[label] = combined

    def _identifier(self, label: str) -> str:
        """Return the label as letters, digits and underscores, unlike that of any other label."""
        word = re.sub(r"\W", "_", label, flags=re.ASCII)
        word = f"_{word}" if not word or word[0].isdigit() or word in ("min", "max") else word
        stem, count = word, 1
        while word in self._labels:
            count += 1
            word = f"{stem}_{count}"
        self._labels[word] = label
        return word

    def _expression(self, label: str) -> Extent | None:
        """Return what a label such as ``past + 1`` means, where other inputs have the dimensions it names."""
        if label in self._labels:
            return None
        try:
            extent = parse(label)
        except InvalidArgument:
            return None
        names = names_in(extent)
        if not names or any(self._labels.get(name) != name for name in names):
            return None
        return substitute(extent, {name: self._extents[name] for name in names})

    def extent(self, label: str) -> Extent:
        """Return the extent of the dimension with a label."""
        return self._extents[label]

    def remedy(self, names: Iterable[str]) -> str:
        """Return the options that give the named dimensions sizes, as advice; empty for no names."""
        labels = [self._labels.get(name, name) for name in sorted(set(names))]
        if not labels:
            return ""
        advice = "fix the dynamic dimensions: " + " ".join(f"--onnx-dim {label}=VALUE" for label in labels)
        if len(labels) > 1:
            advice += f", or make two of them one: --onnx-dim {labels[0]}={labels[1]}"
        return advice


def graph_inputs(
    model: Model, sizes: Mapping[str, Size]
) -> tuple[list[tuple[str, tuple[Extent, ...], str]], Dimensions]:
    """Return (name, shape, dtype) of each argument, in order, and the dynamic dimensions.

    :param sizes: sizes of dynamic dimensions, by name or ``INPUT:AXIS``.
    :raises InvalidArgument: sizes that name no dimension, or an input that is not a tensor.
    """
    initializers = {tensor.name for tensor in model.proto.graph.initializer}
    infos = [info for info in model.proto.graph.input if info.name not in initializers]
    shapes = [(info, _dimensions(model, info)) for info in infos]
    used: set[str] = set()
    labels = [_label(info, axis, dim, sizes, used) for info, dims in shapes for axis, dim in enumerate(dims)]
    if unused := sorted(set(sizes) - used):
        known = ", ".join(dict.fromkeys(label for label in labels if isinstance(label, str))) or "none"
        raise InvalidArgument(
            f"{model.label} has no dynamic dimension named {', '.join(map(repr, unused))}; it has: {known}"
        )
    dimensions = Dimensions((label for label in labels if isinstance(label, str)), sizes)
    extents = iter(label if isinstance(label, int) else dimensions.extent(label) for label in labels)
    signature = [
        (info.name, tuple(next(extents) for _ in dims), _dtype(model, info)) for info, dims in shapes
    ]
    return signature, dimensions


def _dimensions(model: Model, info: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise InvalidArgument(
            f"{model.label}: input {info.name!r} is a {kind or 'value of no type'}, not a tensor"
        )
    if not info.type.tensor_type.HasField("shape"):
        raise InvalidArgument(
            f"{model.label}: input {info.name!r} has no shape; give it one, whose dimensions may be names"
        )
    return list(info.type.tensor_type.shape.dim)


def _label(
    info: onnx.ValueInfoProto,
    axis: int,
    dim: onnx.TensorShapeProto.Dimension,
    sizes: Mapping[str, Size],
    used: set[str],
) -> int | str:
    """Return a dimension's size, or its label."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return dim.dim_value
    place = f"{info.name}:{axis}"
    used.update({place, dim.dim_param} & set(sizes))
    return place if place in sizes else dim.dim_param or place


def _known(size: Size | Extent) -> Extent:
    assert not isinstance(size, str), size
    return size


def _dtype(model: Model, info: onnx.ValueInfoProto) -> str:
    try:
        return element_dtype(info.type.tensor_type.elem_type)
    except UnsupportedForm as form:
        raise InvalidArgument(
            f"{model.label}: input {info.name!r}: {form.reason} is not supported; {form.remedy}"
        ) from None
