"""Conversions between element types."""

from __future__ import annotations

from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node, element_dtype
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.tensor import Tensor


@onnx_op("Cast", since=(6, 9, 13, 19, 21, 23, 24, 25, 28))
def cast(b: Emitter, node: Node, x: Tensor) -> Tensor:
    """Convert; ``saturate`` and ``round_mode`` concern 8-bit floats only, which have no element type here."""
    return b.cast(x, element_dtype(node.required("to")))


@onnx_op("CastLike", since=(15, 19, 21, 23, 24, 25))
def cast_like(b: Emitter, node: Node, x: Tensor, like: Tensor) -> Tensor:
    """Convert to another tensor's dtype."""
    return b.cast(x, like.dtype)
