"""A node of the graph as an op function sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper
from thalweg.api import InvalidArgument
from thalweg.dtypes import dtype_name
from thalweg.extents import Extent, UnknownOrder, format_shape

from thalweg_input_onnx.diagnostics import UnknownValue, UnsupportedForm
from thalweg_input_onnx.model_file import tensor_array
from thalweg_input_onnx.tensor import Tensor


class Node:
    """One ``NodeProto``: its attributes, and the schema version it was written for."""

    def __init__(self, proto: onnx.NodeProto, opset: int, version: int):
        self.proto = proto
        self.opset = opset
        self.version = version
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}

    @property
    def name(self) -> str:
        """The node's name, or its op and first output where it has none."""
        return node_name(self.proto)

    @property
    def outputs(self) -> int:
        """How many outputs the node declares."""
        return len(self.proto.output)

    def has(self, attribute: str) -> bool:
        """Whether the attribute is given."""
        return attribute in self._attributes

    def attribute(self, name: str, default: Any = None) -> Any:
        """The attribute as a Python value (int, float, str, list, array), or ``default``."""
        if name not in self._attributes:
            return default
        value = helper.get_attribute_value(self._attributes[name])
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, onnx.TensorProto):
            return tensor_array(value)
        if isinstance(value, list | tuple) and value and isinstance(value[0], bytes):
            return [item.decode() for item in value]
        return value

    def tensor_type(self, name: str) -> int:
        """The ONNX element type of a tensor attribute."""
        return self._attributes[name].t.data_type

    def required(self, name: str) -> Any:
        """The attribute, which must be given.

        :raises InvalidArgument: it is not.
        """
        if name not in self._attributes:
            raise InvalidArgument(f"node {self.name!r} ({self.proto.op_type}) has no attribute {name!r}")
        return self.attribute(name)

    def known(self, x: Tensor, what: str) -> np.ndarray:
        """The elements of an input that must be known when the model is compiled.

        :raises UnknownValue: they are computed from the model's inputs.
        :raises UnknownOrder: they are expressions of dynamic dimensions.
        """
        if x.extents is not None:
            raise UnknownOrder(
                f"its {what} must be numbers, and is {format_shape(x.extents.ravel().tolist())}"
            )
        if x.array is None:
            raise UnknownValue(
                f"its {what} is computed from the model's inputs", f"make the {what} a constant of the model"
            )
        return x.array

    def known_extents(self, x: Tensor, what: str) -> list[Extent]:
        """As ``known``, as a list of extents: numbers, or expressions of dynamic dimensions."""
        if x.extents is not None:
            return x.extents.reshape(-1).tolist()
        return list(self.known_ints(x, what))

    def known_ints(self, x: Tensor, what: str) -> list[int]:
        """As ``known``, as a list of int."""
        return [int(v) for v in self.known(x, what).reshape(-1)]


def node_name(proto: onnx.NodeProto) -> str:
    """Return the node's name, or its op and first output where it has none."""
    if proto.name:
        return proto.name
    output = next((name for name in proto.output if name), "")
    return f"{proto.op_type} -> {output}"


def element_dtype(elem_type: int) -> str:
    """Return the element name of an ONNX element type.

    :raises UnsupportedForm: a type without a name here (strings, complex, 8-bit floats, 4-bit integers).
    """
    name = (
        onnx.TensorProto.DataType.Name(elem_type)
        if elem_type in onnx.TensorProto.DataType.values()
        else elem_type
    )
    remedy = "use bool, int8 to int64, uint8 to uint64, float16, bfloat16, float or double"
    try:
        return dtype_name(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, InvalidArgument):
        raise UnsupportedForm(f"element type {name}", remedy) from None
