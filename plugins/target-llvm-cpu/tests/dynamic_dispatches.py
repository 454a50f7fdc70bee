"""Dispatches with dynamic dimensions for the emitters' tests: random extents, awkward values, comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from kernel_harness import FLOATS, TOLERANCES, Kernel, dispatch_of, error
from random_dispatches import EXTENTS, tensor
from thalweg.extents import Extent, dimension, evaluate
from thalweg.hal import kernel_abi
from thalweg.ir import Dispatch
from thalweg.ir.evaluate import evaluate_function
from thalweg.ir.program import Program
from thalweg.ir.specialization import specialize
from xdsl.dialects.builtin import ModuleOp

NAMES: tuple[str, ...] = ("height", "tokens", "width")
VALUES = (1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 23, 31, 32, 33, 63, 64, 65, 127, 128, 129)
"""Ones, vector lengths and their neighbours, primes."""

Operand = tuple[Sequence[Extent], str]
"""An operand's extents and dtype."""


def dynamic_extents(rng: np.random.Generator, rank: int) -> tuple[Extent, ...]:
    """Return a shape of numbers, named dimensions and simple expressions of these; not of numbers only."""
    shape: list[Extent] = []
    for _ in range(rank):
        name = dimension(str(rng.choice(NAMES)))
        number = int(rng.choice(EXTENTS[:12]))
        choices: list[Extent] = [number, number, name, name, name + int(rng.integers(1, 4)), name * number]
        shape.append(choices[int(rng.integers(0, len(choices)))])
    if all(isinstance(extent, int) for extent in shape):
        shape[int(rng.integers(0, rank))] = dimension(NAMES[1])
    return tuple(shape)


def assignments(
    rng: np.random.Generator, shapes: Sequence[Sequence[Extent]], count: int = 6, most: int = 1 << 14
) -> list[dict[str, int]]:
    """Return values of the dimensions at which no shape has more than ``most`` elements; first, all are 1."""
    found = [dict.fromkeys(NAMES, 1)]
    while len(found) < count:
        limit = int(rng.integers(1, len(VALUES) + 1))
        values = {name: int(rng.choice(VALUES[:limit])) for name in NAMES}
        if all(np.prod(sizes(shape, values), dtype=np.int64) <= most for shape in shapes):
            found.append(values)
    return found


def sizes(shape: Sequence[Extent], values: Mapping[str, int]) -> tuple[int, ...]:
    """Return a shape's numbers."""
    return tuple(evaluate(extent, values) for extent in shape)


def broadcast_extents(rng: np.random.Generator, shape: Sequence[Extent]) -> tuple[Extent, ...]:
    """Return extents that broadcast to ``shape``: some leading dimensions missing, some of extent 1."""
    kept = shape[int(rng.integers(0, len(shape) + 1)) :]
    return tuple(1 if rng.random() < 0.3 else extent for extent in kept)


def reference(dispatch: Dispatch, inputs: Sequence[np.ndarray], values: Mapping[str, int]) -> np.ndarray:
    """Return what core's evaluator, which sums in float64, makes of the dispatch at ``values``."""
    program = specialize(Program(ModuleOp([dispatch.function.clone()]), {}), values)
    (function,) = program.functions()
    (result,) = evaluate_function(function, inputs, {})
    return result


def check_dynamic(
    rng: np.random.Generator,
    build: Callable,
    operands: Sequence[Operand],
    cpu: str,
    *,
    fill: Mapping[int, Callable[[tuple[int, ...], Mapping[str, int]], np.ndarray]] | None = None,
    constants: Sequence[int] = (),
    tolerance: float | None = None,
    emitter: str = "",
    given: Sequence[Mapping[str, int]] | None = None,
    bounded: Sequence[Sequence[Extent]] = (),
) -> Kernel:
    """Compile ``build(f, *operands)`` once and run it for several values of its dimensions.

    :param fill: operand index → a function of its shape and the values; the others are random.
    :param emitter: the emitter that has to take the dispatch, where the test means one.
    :param given: the values; random ones, at which operands and ``bounded`` shapes are small, if left out.
    """
    dispatch = dispatch_of(build, operands, constants)
    assert dispatch.dimensions, "the test means a dispatch with dynamic dimensions"
    kernel = Kernel(dispatch, cpu)
    took = kernel.plan.kernel.parameters["emitter"]
    assert emitter in ("", took), f"taken by {took}, but should be by {emitter}"
    makers = fill or {}
    for values in given or assignments(rng, [*(shape for shape, _ in operands), *bounded]):
        inputs = []
        for number, (shape, dtype) in enumerate(operands):
            size = sizes(shape, values)
            maker = makers.get(number)
            inputs.append(tensor(rng, size, dtype) if maker is None else maker(size, values))
        status, output = kernel.run(inputs, values)
        assert status == kernel_abi.STATUS_OK, f"kernel returned {status} at {values}"
        wanted = reference(dispatch, inputs, values)
        dtypes = [dtype for _, dtype in operands if dtype in FLOATS]
        allowed = (
            max((TOLERANCES[dtype] for dtype in dtypes), default=0.0) if tolerance is None else tolerance
        )
        found = error(output, wanted)
        assert found <= allowed, (
            f"relative error {found:.3g} > {allowed:g} at {values}, by {took} for {cpu}\n{dispatch.text()}"
            f"\ngot {output.ravel()[:8]}, but should be {wanted.ravel()[:8]}"
        )
    return kernel
