"""Random programs of named dimensions: as they are, specialized first, and evaluated, they give the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import prod

import numpy as np
import pytest
from thalweg.compiler.api import compile_model
from thalweg.errors import InvalidArgument
from thalweg.extents import Extent, ceil_divide, dimension, evaluate
from thalweg.ir import FunctionBuilder, Program, extents_of
from thalweg.ir.dialects import tw
from thalweg.ir.evaluate import evaluate as evaluate_program
from thalweg.ir.specialization import specialize
from thalweg.runtime import load
from xdsl.ir import SSAValue

SEEDS = (*range(24), 60, 74)
OPS = 9
NAMES = ("batch", "heads", "tokens")
LARGEST = 6
"""Dimensions are at most this, and a tensor has at most ``ELEMENTS`` elements there."""
ELEMENTS = 20_000
TOLERANCE = 1e-5


def at(value: int) -> dict[str, int]:
    """Return every dimension at one value."""
    return dict[str, int].fromkeys(NAMES, value)


class RandomProgram:
    """Makes one program, op by op; every op takes values made before."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.names = [dimension(name) for name in self.rng.sample(NAMES, self.rng.randint(1, 3))]
        shapes = [[self.extent() for _ in range(self.rng.randint(1, 3))] for _ in range(2)]
        shapes.append(list(self.names))  # every dimension is an input's
        self.f = FunctionBuilder("main", [(f"x{i}", shape, "f32") for i, shape in enumerate(shapes)])
        self.values: list[SSAValue] = list(self.f.arguments)
        while len(self.values) < len(shapes) + OPS:
            value = self.rng.choice(_OPERATIONS)(self, self.pick())
            if value is not None and self.fits(value):
                self.values.append(value)

    def extent(self) -> Extent:
        return self.rng.choice([*self.names, *self.names, self.rng.randint(1, 4)])

    def pick(self) -> SSAValue:
        return self.rng.choice(self.values)

    def fits(self, value: SSAValue) -> bool:
        return evaluate(prod(extents_of(value)), at(LARGEST)) <= ELEMENTS and len(extents_of(value)) <= 5

    def program(self) -> Program:
        results = [self.values[-1], *self.rng.sample(self.values, 2)]
        built = self.f.program([(f"y{i}", value) for i, value in enumerate(results)])
        return Program.parse(built.text(), built.resources)


def unary(p: RandomProgram, x: SSAValue) -> SSAValue:
    name = p.rng.choice(["tanh", "absf", "negf"])
    return p.f.elementwise([x], lambda s, v: getattr(s, name)(v))


def binary(p: RandomProgram, x: SSAValue) -> SSAValue | None:
    name = p.rng.choice(["addf", "mulf", "maximumf"])
    try:
        return p.f.elementwise([x, p.pick()], lambda s, a, b: getattr(s, name)(a, b))
    except InvalidArgument:  # these shapes do not broadcast
        return None


def with_numbers(p: RandomProgram, x: SSAValue) -> SSAValue:
    """x + an extent / 100 + an index."""
    extent = prod(extents_of(x)) + p.extent()
    axis = p.rng.randrange(max(len(extents_of(x)), 1))

    def body(s, v):
        v = s.addf(v, s.mulf(s.count(extent, "f32"), s.constant(0.01, "f32")))
        return s.addf(v, s.sitofp(s.index(axis), "f32")) if extents_of(x) else v

    return p.f.elementwise([x], body)


def reduce(p: RandomProgram, x: SSAValue) -> SSAValue | None:
    rank = len(extents_of(x))
    axes = [axis for axis in range(rank) if p.rng.random() < 0.5]
    if not axes:
        return None
    name, initial = p.rng.choice([("addf", 0.25), ("maximumf", -5)])
    return p.f.reduce(
        [x], axes, initial, lambda s, v, acc: getattr(s, name)(acc, v), keepdims=p.rng.random() < 0.5
    )


def transpose(p: RandomProgram, x: SSAValue) -> SSAValue:
    rank = len(extents_of(x))
    return p.f.transpose(x, p.rng.sample(range(rank), rank))


def merge(p: RandomProgram, x: SSAValue) -> SSAValue | None:
    shape = list(extents_of(x))
    if len(shape) < 2:
        return None
    axis = p.rng.randrange(len(shape) - 1)
    return p.f.reshape(x, [*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]])


def unsqueeze(p: RandomProgram, x: SSAValue) -> SSAValue:
    shape = list(extents_of(x))
    shape.insert(p.rng.randint(0, len(shape)), 1)
    return p.f.reshape(x, shape)


def cut(p: RandomProgram, x: SSAValue) -> SSAValue:
    """A slice: from the second on (perhaps nothing), the last, every second or all backwards."""
    ways: list[Callable[[Extent], tuple[Extent, Extent, int]]] = [
        lambda n: (0, n, 1), lambda n: (n - n, n, 1), lambda n: (1, n - 1, 1), lambda n: (n - 1, 1, 1),
        lambda n: (0, ceil_divide(n, 2), 2), lambda n: (n - 1, n, -1),
    ]  # fmt: skip
    parts = [
        p.rng.choice(ways)(extent) if evaluate(extent, at(1)) else (0, extent, 1) for extent in extents_of(x)
    ]
    offsets, shape, strides = ([part[i] for part in parts] for i in range(3))
    return p.f.structured(tw.SliceOp, [x], shape, offsets=offsets, strides=strides)


def pad(p: RandomProgram, x: SSAValue) -> SSAValue:
    low, high = ([p.rng.randint(0, 2) for _ in extents_of(x)] for _ in range(2))
    shape = [a + n + b for a, n, b in zip(low, extents_of(x), high)]
    return p.f.structured(tw.PadOp, [x], shape, low=low, high=high, value=p.rng.choice([0.0, -1.5]))


def concat(p: RandomProgram, x: SSAValue) -> SSAValue | None:
    shape = list(extents_of(x))
    if not shape:
        return None
    axis = p.rng.randrange(len(shape))
    added = [*shape[:axis], p.extent(), *shape[axis + 1 :]]
    parts = [x, p.f.splat(0.75, added, "f32"), *([x] if p.rng.random() < 0.5 else [])]
    shape[axis] = shape[axis] * (len(parts) - 1) + added[axis]
    return p.f.structured(tw.ConcatOp, [parts], shape, axis=axis)


def softmax(p: RandomProgram, x: SSAValue) -> SSAValue | None:
    rank = len(extents_of(x))
    return p.f.structured(tw.SoftmaxOp, [x], extents_of(x), axis=p.rng.randrange(rank)) if rank else None


def gram(p: RandomProgram, x: SSAValue) -> SSAValue | None:
    """tanh(x) · tanh(x)ᵀ over the last two dimensions."""
    shape = extents_of(x)
    if len(shape) < 2:
        return None
    y = p.f.elementwise([x], lambda s, v: s.tanh(v))
    order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    result = (*shape[:-1], shape[-2])
    return p.f.structured(tw.MatmulOp, [y, p.f.transpose(y, order)], result)


def gather(p: RandomProgram, x: SSAValue) -> SSAValue | None:
    shape = extents_of(x)
    if not shape or any(evaluate(n, at(1)) == 0 for n in shape):
        return None
    axis = p.rng.randrange(len(shape))
    indices = p.f.constant(np.array([0, -1, 0], np.int64))
    return p.f.structured(tw.GatherOp, [x, indices], (*shape[:axis], 3, *shape[axis + 1 :]), axis=axis)


_OPERATIONS = [
    unary, binary, binary, with_numbers, reduce, reduce, transpose, merge, unsqueeze, cut, pad, concat,
    softmax, gram, gather,
]  # fmt: skip


def run(program: Program, backend: str, device: str | None):
    """Compile a copy and load it."""
    copy = Program(program.module.clone(), dict(program.resources))
    return load(compile_model(copy, target_backends=[backend]), device)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_dynamic_program_equals_the_static_one(seed: int, require):
    require(target_backends="vmvx", hal_drivers="local-sync")
    made = RandomProgram(seed)
    program = made.program()
    dynamic = run(program, "vmvx", "local-sync"), run(program, "vmvx-inline", None)
    generator = np.random.default_rng(seed)
    (function,) = program.functions()
    for turn in range(3):
        values = {name: 1 if turn == 0 else made.rng.randint(1, LARGEST) for name in NAMES}
        shapes = [
            [evaluate(e, values) for e in extents_of(argument)] for argument in function.body.block.args
        ]
        inputs = [generator.standard_normal(shape).astype(np.float32) for shape in shapes]
        static = run(specialize(program, values), "vmvx", "local-sync")
        expected = [np.asarray(result) for result in static.main(*inputs)]
        for name, found in [
            *((f"loaded on {loaded.device}", loaded.main(*inputs)) for loaded in dynamic),
            ("evaluated", evaluate_program(program, inputs)),
        ]:
            for number, (result, wanted) in enumerate(zip(found, expected, strict=True)):
                result = np.asarray(result)
                where = f"seed {seed}, {values}, {name}, result {number}"
                assert result.shape == wanted.shape and result.dtype == wanted.dtype, where
                np.testing.assert_allclose(result, wanted, TOLERANCE, TOLERANCE, err_msg=where)
