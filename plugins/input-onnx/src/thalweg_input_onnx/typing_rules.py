"""The type rules of ONNX's schemas: which dtypes each input of a node takes, and which inputs share one."""

from __future__ import annotations

from collections.abc import Sequence

import onnx.defs
from onnx import TensorProto, helper
from thalweg.api import InvalidArgument
from thalweg.dtypes import numpy_dtype

from thalweg_input_onnx.tensor import Tensor


def check_input_types(schema: onnx.defs.OpSchema, inputs: Sequence[Tensor | None]) -> None:
    """Check the dtypes of a node's inputs against its schema.

    :raises InvalidArgument: an input of a dtype that the op does not take, or two that must be of one dtype
        and are not.
    """
    shared: dict[str, tuple[str, str]] = {}
    for position, x in enumerate(inputs):
        if x is None or not schema.inputs:
            continue
        formal = schema.inputs[min(position, len(schema.inputs) - 1)]
        given = onnx_type(x.dtype)
        if formal.types and f"tensor({given})" not in formal.types:
            takes = ", ".join(sorted(t[7:-1] for t in formal.types if t.startswith("tensor(")))
            raise InvalidArgument(
                f"input {position} ({formal.name}) is of type {given}; version {schema.since_version} of the "
                f"op takes {takes}"
            )
        if formal.option == onnx.defs.OpSchema.FormalParameterOption.Variadic and not formal.is_homogeneous:
            continue
        other, dtype = shared.setdefault(formal.type_str, (formal.name, given))
        if dtype != given:
            raise InvalidArgument(
                f"input {position} ({formal.name}) is of type {given} and {other} of type {dtype}; "
                "they must be of one type"
            )


def onnx_type(dtype: str) -> str:
    """Return ONNX's name of a dtype, as schemas write it: ``float`` for ``f32``."""
    return TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))).lower()
