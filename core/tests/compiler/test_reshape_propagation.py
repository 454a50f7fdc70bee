"""Elementwise generics move before reshapes of unit dimensions: text in, text out, and the same values."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from thalweg.extents import Extent, dimension
from thalweg.ir.builder import FunctionBuilder
from thalweg.ir.dialects import tw
from thalweg.ir.program import Program

from .mlir import run, same_values

PASSES = ("propagate-reshapes", "canonicalize", "fuse-elementwise", "canonicalize", "create-dispatches")


def biased_product(rows: Extent, shape: Sequence[Extent], bias: Sequence[Extent]) -> Program:
    """Return a product [rows, 8] that is reshaped to ``shape``, to which a bias is added."""
    b = FunctionBuilder("main", [("x", [rows, 6], "f32"), ("w", [6, 8], "f32"), ("bias", bias, "f32")])
    x, w, addend = b.arguments
    product = b.reshape(b.structured(tw.MatmulOp, [x, w], [rows, 8]), shape)
    return b.program([("y", b.elementwise([product, addend], lambda s, v, a: s.addf(v, a)))])


@pytest.mark.parametrize(
    ("shape", "bias"),
    [
        ([1, 4, 8], [8]),
        ([1, 4, 8], [1, 1, 8]),
        ([1, 4, 8], [1, 4, 8]),
        ([4, 1, 8], [4, 1, 1]),
        ([1, 4, 1, 8], [4, 1, 8]),
        ([1, 4, 8], []),
    ],
)
def test_a_bias_becomes_the_products_epilogue(shape: list[int], bias: list[int]):
    before = biased_product(4, shape, bias)
    after = run(before.text(), *PASSES)
    assert after.text().count("flow.dispatch") == 1
    same_values(before, run(before.text(), "propagate-reshapes", "canonicalize"), seed=1)


def test_dynamic_rows_too():
    rows = dimension("rows")
    after = run(biased_product(rows, [1, rows, 8], [8]).text(), *PASSES)
    assert after.text().count("flow.dispatch") == 1


def test_a_reshape_that_moves_elements_between_dimensions_stays():
    before = biased_product(4, [2, 2, 8], [8])
    assert run(before.text(), "propagate-reshapes").text() == run(before.text()).text()


def test_a_product_that_others_read_stays():
    b = FunctionBuilder("main", [("x", [4, 6], "f32"), ("w", [6, 8], "f32")])
    x, w = b.arguments
    product = b.reshape(b.structured(tw.MatmulOp, [x, w], [4, 8]), [1, 4, 8])
    first = b.elementwise([product], lambda s, v: s.exp(v))
    program = b.program([("y", first), ("z", b.elementwise([product], lambda s, v: s.tanh(v)))])
    assert run(program.text(), "propagate-reshapes").text() == run(program.text()).text()


def test_a_body_that_asks_for_indices_stays():
    b = FunctionBuilder("main", [("x", [4, 6], "f32"), ("w", [6, 8], "f32")])
    product = b.reshape(b.structured(tw.MatmulOp, list(b.arguments), [4, 8]), [1, 4, 8])
    y = b.elementwise([product], lambda s, v: s.addf(v, s.sitofp(s.index(2), "f32")))
    program = b.program([("y", y)])
    assert run(program.text(), "propagate-reshapes").text() == run(program.text()).text()


def test_a_chain_moves_as_one():
    b = FunctionBuilder("main", [("x", [4, 6], "f32"), ("w", [6, 8], "f32"), ("r", [1, 4, 8], "f32")])
    x, w, residual = b.arguments
    product = b.reshape(b.structured(tw.MatmulOp, [x, w], [4, 8]), [1, 4, 8])
    active = b.elementwise([product], lambda s, v: s.tanh(v))
    program = b.program([("y", b.elementwise([active, residual], lambda s, v, r: s.addf(v, r)))])
    assert run(program.text(), *PASSES).text().count("flow.dispatch") == 1
    values = run(program.text(), "propagate-reshapes", "canonicalize", "fuse-elementwise")
    same_values(program, values, seed=2)
