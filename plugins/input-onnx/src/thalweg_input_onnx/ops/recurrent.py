"""Recurrent networks: unrolled over the sequence, the products with the inputs made for all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from thalweg.api import InvalidArgument
from thalweg.dtypes import numpy_dtype
from thalweg.extents import UnknownOrder, static

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.ops.activation import sigmoid, softplus
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.scalar import Scalar
from thalweg_input_onnx.tensor import Tensor

Activation = Callable[[Scalar], Scalar]
State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]
"""(the input's products [batch, gates · hidden], the states [batch, hidden]) → the next states."""

ACTIVATIONS: dict[str, Activation] = {
    "Sigmoid": sigmoid,
    "Tanh": lambda x: x.tanh(),
    "Relu": lambda x: x.maximum(0.0),
    "Softsign": lambda x: x / (1.0 + abs(x)),
    "Softplus": softplus,
}
"""Those without parameters; ONNX compares the names without regard to case."""


@dataclass(frozen=True)
class Direction:
    """One direction's weights, of ``gates`` blocks of ``hidden`` rows each, and its activations.

    ``weight`` [gates · hidden, input], ``recurrence`` [gates · hidden, hidden]; the biases [gates · hidden].
    """

    weight: Tensor
    recurrence: Tensor
    weight_bias: Tensor
    recurrence_bias: Tensor
    activations: tuple[Activation, ...]
    hidden: int


def _parameter(b: Emitter, x: Tensor, index: int) -> Tensor:
    """The slice of one direction, without the dimension of directions."""
    return b.reshape(b.slice_axis(x, 0, index, 1), x.shape[1:])


def _blocks(b: Emitter, x: Tensor, count: int) -> list[Tensor]:
    """Cut the last dimension into ``count`` equal parts."""
    size = x.shape[-1] // count
    return [b.slice_axis(x, x.rank - 1, i * size, size) for i in range(count)]


def _activations(node: Node, defaults: Sequence[str], index: int, directions: int) -> tuple[Activation, ...]:
    names = node.attribute("activations") or list(defaults) * directions
    if len(names) != len(defaults) * directions:
        raise InvalidArgument(f"{len(names)} activations for {directions} directions of {len(defaults)}")
    known = {name.lower(): body for name, body in ACTIVATIONS.items()}
    chosen = names[index * len(defaults) : (index + 1) * len(defaults)]
    if missing := [name for name in chosen if name.lower() not in known]:
        raise UnsupportedForm(f"the activation {missing[0]!r}", f"use one of {', '.join(ACTIVATIONS)}")
    return tuple(known[name.lower()] for name in chosen)


def _run(
    b: Emitter, node: Node, x: Tensor, weight: Tensor, recurrence: Tensor, bias: Tensor | None,
    lengths: Tensor | None, initial: Sequence[Tensor | None], defaults: Sequence[str],
    step_of: Callable[[Direction, int], Step],
) -> tuple[Tensor, ...]:  # fmt: skip
    """Run every direction over the sequence; returns the outputs of all steps, then the last states.

    ``x`` is [sequence, batch, input], or with ``layout=1`` [batch, sequence, input]; so are the results.
    """
    if node.attribute("clip", 0.0):
        raise UnsupportedForm("clip", "leave clip out")
    batch_first = bool(node.attribute("layout", 0))
    if batch_first:
        x = b.transpose(x, [1, 0, 2])
        initial = [None if state is None else b.transpose(state, [1, 0, 2]) for state in initial]
    steps, batch, features = x.shape
    if not isinstance(steps, int):
        raise UnknownOrder(f"a sequence of {steps} steps, which are unrolled")
    if lengths is not None and np.any(node.known(lengths, "sequence_lens") != steps):
        raise UnsupportedForm("sequences shorter than the input", "run each length on its own")
    directions = ("forward", "reverse", "bidirectional").index(node.attribute("direction", "forward"))
    count, hidden, rows = static((weight.shape[0], recurrence.shape[-1], weight.shape[1]))
    if count != (2 if directions == 2 else 1):
        raise InvalidArgument(f"weights of {count} directions for direction {node.attribute('direction')!r}")
    zeros = b.full((count, 2 * rows), np.zeros((), numpy_dtype(x.dtype)))
    start = b.full((count, batch, hidden), np.zeros((), numpy_dtype(x.dtype)))
    outputs: list[Tensor] = []
    finals: list[State] = []
    for index in range(count):
        weight_bias, recurrence_bias = _blocks(b, _parameter(b, zeros if bias is None else bias, index), 2)
        direction = Direction(
            _parameter(b, weight, index), _parameter(b, recurrence, index), weight_bias, recurrence_bias,
            _activations(node, defaults, index, count), hidden,
        )  # fmt: skip
        product = b.matmul(b.reshape(x, (steps * batch, features)), b.transpose(direction.weight, [1, 0]))
        products = b.reshape(
            b.map([product, direction.weight_bias], lambda v, c: v + c), (steps, batch, rows)
        )
        state: State = tuple(_parameter(b, start if s is None else s, index) for s in initial)
        step = step_of(direction, index)
        backward = directions == 1 or index == 1
        made: list[Tensor] = []
        for time in reversed(range(steps)) if backward else range(steps):
            state = step(b.reshape(b.slice_axis(products, 0, time, 1), (batch, rows)), state)
            made.append(b.reshape(state[0], (1, 1, batch, hidden)))
        outputs.append(b.concat(made[::-1] if backward else made, 0))
        finals.append(state)
    whole = b.concat(outputs, 1)
    last = [b.concat([b.reshape(s[i], (1, batch, hidden)) for s in finals], 0) for i in range(len(initial))]
    if batch_first:
        return b.transpose(whole, [2, 0, 1, 3]), *(b.transpose(state, [1, 0, 2]) for state in last)
    return whole, *last


def _recurrent(b: Emitter, state: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """``state · matrixᵀ + bias``."""
    return b.map([b.matmul(state, b.transpose(matrix, [1, 0])), bias], lambda v, c: v + c)


@onnx_op("RNN", since=(7, 14, 22))
def rnn(
    b: Emitter, node: Node, x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None,
    lengths: Tensor | None = None, initial_h: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """``h = f(x · wᵀ + h · rᵀ + biases)``."""

    def step_of(d: Direction, index: int) -> Step:
        def step(product: Tensor, state: State) -> State:
            recurrent = _recurrent(b, state[0], d.recurrence, d.recurrence_bias)
            return (b.map([product, recurrent], lambda p, q: d.activations[0](p + q)),)

        return step

    return _run(b, node, x, w, r, bias, lengths, [initial_h], ["Tanh"], step_of)


@onnx_op("GRU", since=(7, 14, 22))
def gru(
    b: Emitter, node: Node, x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None,
    lengths: Tensor | None = None, initial_h: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gates update, reset and hidden, in that order; ``linear_before_reset`` resets the product, not the
    state.
    """
    reset_product = bool(node.attribute("linear_before_reset", 0))

    def step_of(d: Direction, index: int) -> Step:
        f, g = d.activations
        size = 2 * d.hidden
        gate_matrix = b.slice_axis(d.recurrence, 0, 0, size)
        hidden_matrix = b.slice_axis(d.recurrence, 0, size, d.hidden)
        gate_bias = b.slice_axis(d.recurrence_bias, 0, 0, size)
        hidden_bias = b.slice_axis(d.recurrence_bias, 0, size, d.hidden)

        def step(product: Tensor, state: State) -> State:
            (h,) = state
            update_x, reset_x, hidden_x = _blocks(b, product, 3)
            update_h, reset_h = _blocks(b, _recurrent(b, h, gate_matrix, gate_bias), 2)
            if reset_product:
                operands = [hidden_x, _recurrent(b, h, hidden_matrix, hidden_bias), reset_x, reset_h]
                new = b.map(operands, lambda p, q, rx, rh: g(p + f(rx + rh) * q))
            else:
                kept = b.map([h, reset_x, reset_h], lambda v, rx, rh: f(rx + rh) * v)
                recurrent = _recurrent(b, kept, hidden_matrix, hidden_bias)
                new = b.map([hidden_x, recurrent], lambda p, q: g(p + q))

            def mix(v: Scalar, old: Scalar, ux: Scalar, uh: Scalar) -> Scalar:
                share = f(ux + uh)
                return (1.0 - share) * v + share * old

            return (b.map([new, h, update_x, update_h], mix),)

        return step

    return _run(b, node, x, w, r, bias, lengths, [initial_h], ["Sigmoid", "Tanh"], step_of)


@onnx_op("LSTM", since=(7, 14, 22))
def lstm(
    b: Emitter, node: Node, x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None,
    lengths: Tensor | None = None, initial_h: Tensor | None = None, initial_c: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gates input, output, forget and cell, in that order; the cell looks through the peepholes, if given."""
    if node.attribute("input_forget", 0):
        raise UnsupportedForm("coupled input and forget gates (input_forget)", "use separate gates")
    if peepholes is None:
        peepholes = b.full((w.shape[0], 3 * r.shape[-1]), np.zeros((), numpy_dtype(x.dtype)))
    looks = peepholes

    def step_of(d: Direction, index: int) -> Step:
        f, g, h = d.activations
        look_in, look_out, look_forget = _blocks(b, _parameter(b, looks, index), 3)

        def step(product: Tensor, state: State) -> State:
            recurrent = _recurrent(b, state[0], d.recurrence, d.recurrence_bias)
            gates = b.map([product, recurrent], lambda p, q: p + q)
            enter, leave, forget, cell = _blocks(b, gates, 4)

            def next_cell(i: Scalar, o: Scalar, c: Scalar, old: Scalar, li: Scalar, lf: Scalar) -> Scalar:
                return f(o + lf * old) * old + f(i + li * old) * g(c)

            new = b.map([enter, forget, cell, state[1], look_in, look_forget], next_cell)
            return b.map([leave, new, look_out], lambda o, c, lo: f(o + lo * c) * h(c)), new

        return step

    defaults = ["Sigmoid", "Tanh", "Tanh"]
    return _run(b, node, x, w, r, bias, lengths, [initial_h, initial_c], defaults, step_of)
