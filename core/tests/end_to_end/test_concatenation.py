"""Concatenations without a kernel: parts are written to where they belong, whatever reads them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import thalweg
from thalweg.extents import Extent, dimension, evaluate
from thalweg.ir import FunctionBuilder, Program, extents_of
from thalweg.ir.dialects import tw
from thalweg.ir.evaluate import evaluate as evaluate_program
from xdsl.ir import SSAValue

Build = Callable[[FunctionBuilder, SSAValue, SSAValue], list[SSAValue]]


def made(b: FunctionBuilder, x: SSAValue) -> SSAValue:
    """Return a value of the shape of ``x`` that a dispatch of its own computes."""
    return b.structured(tw.SoftmaxOp, [x], extents_of(x), axis=len(extents_of(x)) - 1)


def joined(b: FunctionBuilder, values: list[SSAValue], axis: int = 1) -> SSAValue:
    """Return a concatenation."""
    shape = list(extents_of(values[0]))
    shape[axis] = sum((extents_of(v)[axis] for v in values[1:]), start=shape[axis])
    return b.structured(tw.ConcatOp, [values], shape, axis=axis)


def two_parts(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    return [made(b, joined(b, [made(b, x), made(b, y)]))]


def a_part_that_others_read(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    part = made(b, x)
    return [made(b, joined(b, [part, made(b, y)])), b.elementwise([part], lambda s, v: s.exp(v))]


def growing_by_parts(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    """As DenseNet does: each whole is a part of the next."""
    first = joined(b, [made(b, x), made(b, y)])
    second = joined(b, [first, made(b, b.elementwise([x, y], lambda s, v, w: s.mulf(v, w)))])
    return [made(b, joined(b, [second, made(b, first)]))]


def a_whole_that_is_returned(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    return [joined(b, [made(b, x), made(b, y)])]


def parts_through_reshapes(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    shape = extents_of(x)
    flat = b.reshape(made(b, x), (1, shape[1] * shape[2]))
    other = b.reshape(made(b, y), (1, shape[1] * shape[2]))
    return [made(b, joined(b, [flat, other]))]


def a_part_that_is_returned(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    part = made(b, x)
    return [made(b, joined(b, [part, made(b, y)])), part]


def one_part_twice(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    part = made(b, x)
    return [made(b, joined(b, [part, part]))]


def a_part_of_two_wholes(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    part = made(b, x)
    first, second = joined(b, [part, made(b, y)]), joined(b, [made(b, y), part])
    return [b.elementwise([made(b, first), made(b, second)], lambda s, v, w: s.addf(v, w))]


def an_input_as_part(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    return [made(b, joined(b, [x, made(b, y)]))]


def along_an_inner_axis(b: FunctionBuilder, x: SSAValue, y: SSAValue) -> list[SSAValue]:
    return [made(b, joined(b, [made(b, x), made(b, y)], axis=2))]


FREE = (
    two_parts,
    a_part_that_others_read,
    growing_by_parts,
    a_whole_that_is_returned,
    parts_through_reshapes,
)
KERNELS = (
    a_part_that_is_returned,
    one_part_twice,
    a_part_of_two_wholes,
    an_input_as_part,
    along_an_inner_axis,
)


def program_of(build: Build, rows: Extent, columns: int) -> Program:
    b = FunctionBuilder("main", [("x", [1, rows, columns], "f32"), ("y", [1, rows, columns], "f32")])
    return b.program([(f"out{i}", value) for i, value in enumerate(build(b, *b.arguments))])


def check(program: Program, rows: int, columns: int, device: str) -> None:
    """Compile a copy with vmvx, run it, and compare with the evaluator."""
    rng = np.random.default_rng(rows)
    inputs = [rng.standard_normal((1, rows, columns)).astype(np.float32) for _ in range(2)]
    expected = evaluate_program(program, inputs)
    copy = Program.parse(program.text(), dict(program.resources))
    with thalweg.load(thalweg.compile(copy, target_backends=["vmvx"]), device=device) as loaded:
        results = loaded.main(*inputs)
    for found, wanted in zip(results if isinstance(results, tuple) else (results,), expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5)


def concat_kernels(program: Program) -> int:
    """Return how many kernels there are for concatenations."""
    text = thalweg.compile(program, target_backends=["vmvx"], compile_to="flow")
    return len(re.findall(r"func.func private @\w+_concat\(", str(text)))


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
@pytest.mark.parametrize("build", [*FREE, *KERNELS])
def test_the_values_are_right(build: Build, device: str, require):
    require(target_backends="vmvx", hal_drivers=device)
    check(program_of(build, 3, 16), 3, 16, device)


@pytest.mark.parametrize("build", FREE)
def test_no_kernel_is_made(build: Build, require):
    require(target_backends="vmvx")
    assert concat_kernels(program_of(build, 3, 16)) == 0


@pytest.mark.parametrize("build", KERNELS)
def test_a_kernel_is_made_where_parts_cannot_be_placed(build: Build, require):
    require(target_backends="vmvx")
    assert concat_kernels(program_of(build, 3, 16)) > 0


def test_parts_of_odd_sizes_are_copied(require):
    require(target_backends="vmvx", hal_drivers="local-sync")
    assert concat_kernels(program_of(two_parts, 3, 5)) == 1
    check(program_of(two_parts, 3, 5), 3, 5, "local-sync")


@pytest.mark.parametrize("build", [*FREE, *KERNELS])
def test_dynamic_parts(build: Build, require):
    require(target_backends="vmvx", hal_drivers="local-sync")
    rows = dimension("rows")
    for extent in (1, 4):
        check(program_of(build, rows, 16), evaluate(rows, {"rows": extent}), 16, "local-sync")
