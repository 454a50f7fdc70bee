"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor


def _activation(op: str, since: tuple[int, ...], body: Callable[..., Scalar], **defaults: Any) -> None:
    """Register ``body(x, **attributes)``; ``defaults`` are the attributes and what they are when left out."""

    @onnx_op(op, since=since)
    def import_activation(b: Emitter, node: Node, x: Tensor) -> Tensor:
        values = {name: node.attribute(name, default) for name, default in defaults.items()}
        return b.map([x], lambda v: body(v, **values))


def sigmoid(x: Scalar) -> Scalar:
    """``1 / (1 + e^-x)``."""
    return 1.0 / (1.0 + (-x).exp())


def softplus(x: Scalar) -> Scalar:
    """``log(1 + e^x)``, without overflow."""
    return x.maximum(0.0) + (1.0 + (-abs(x)).exp()).log()


def _elu(x: Scalar, alpha: float) -> Scalar:
    return (x < 0).where(alpha * (x.exp() - 1.0), x)


def _selu(x: Scalar, alpha: float, gamma: float) -> Scalar:
    return (x <= 0).where(gamma * (alpha * x.exp() - alpha), gamma * x)


def _celu(x: Scalar, alpha: float) -> Scalar:
    return x.maximum(0.0) + (alpha * ((x / alpha).exp() - 1.0)).minimum(0.0)


def _hard_sigmoid(x: Scalar, alpha: float, beta: float) -> Scalar:
    return (alpha * x + beta).minimum(1.0).maximum(0.0)


def _gelu(x: Scalar, approximate: str) -> Scalar:
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1.0 + inner.tanh())
    return 0.5 * x * (1.0 + (x * math.sqrt(0.5)).erf())


def _shrink(x: Scalar, lambd: float, bias: float) -> Scalar:
    return (x < -lambd).where(x + bias, (x > lambd).where(x - bias, 0))


_activation("Relu", (1, 6, 13, 14), lambda x: x.maximum(0))
_activation("LeakyRelu", (1, 6, 16), lambda x, alpha: (x < 0).where(alpha * x, x), alpha=0.01)
_activation("ThresholdedRelu", (10, 22), lambda x, alpha: (x > alpha).where(x, 0.0), alpha=1.0)
_activation("Sigmoid", (1, 6, 13), sigmoid)
_activation("HardSigmoid", (1, 6, 22), _hard_sigmoid, alpha=0.2, beta=0.5)
_activation("HardSwish", (14, 22), lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5))
_activation("Swish", (24,), lambda x, alpha: x * sigmoid(alpha * x), alpha=1.0)
_activation("Elu", (1, 6, 22), _elu, alpha=1.0)
_activation("Selu", (1, 6, 22), _selu, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875)
_activation("Celu", (12, 28), _celu, alpha=1.0)
_activation("Softplus", (1, 22), softplus)
_activation("Softsign", (1, 22), lambda x: x / (1.0 + abs(x)))
_activation("Mish", (18, 22), lambda x: x * softplus(x).tanh())
_activation("Gelu", (20,), _gelu, approximate="none")
_activation("Shrink", (9,), _shrink, lambd=0.5, bias=0.0)


@onnx_op("PRelu", since=(1, 6, 7, 9, 16))
def prelu(b: Emitter, node: Node, x: Tensor, slope: Tensor) -> Tensor:
    """A slope per element; until opset 6 one per channel (dimension 1) or one for all."""
    if node.version < 7 and slope.size > 1:
        slope = b.reshape(slope, (slope.size, *[1] * (x.rank - 2)))
    return b.map([x, slope], lambda v, s: (v < 0).where(s * v, v))


@onnx_op("Dropout", since=(1, 6, 7, 10))
def dropout_by_attribute(b: Emitter, node: Node, x: Tensor) -> Tensor | tuple[Tensor, ...]:
    """Inference: the identity; the mask (if used) is all true."""
    return x if node.version < 10 else (x, _all_true(b, x))


@onnx_op("Dropout", since=(12, 13, 22))
def dropout(
    b: Emitter, node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Inference: the identity. Training mode draws random numbers, unless its ratio is zero."""
    in_training = training is not None and node.known(training, "training mode").any()
    if in_training and (ratio is None or node.known(ratio, "ratio").any()):
        raise UnsupportedForm("training mode", "export the model for inference (torch: model.eval())")
    return x, _all_true(b, x)


def _all_true(b: Emitter, x: Tensor) -> Tensor:
    return b.full(x.shape, np.True_)
