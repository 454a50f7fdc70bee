"""The evaluator on programs of named dimensions, and specialization itself."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.compiler.passes import PASSES
from thalweg.errors import InvalidArgument
from thalweg.extents import dimension
from thalweg.ir import FunctionBuilder, Program
from thalweg.ir.dialects import tw
from thalweg.ir.evaluate import evaluate
from thalweg.ir.specialization import specialize
from thalweg.semantics import GenericForm, ScalarStep, evaluate_generic, splat

B, T = dimension("batch"), dimension("tokens")


def program() -> Program:
    """(x [batch, tokens], y [tokens + 1]) → the last column of x * tokens + y[tokens], tokens at most 8."""
    f = FunctionBuilder("main", [("x", (B, T), "f32"), ("y", (T + 1,), "f32")])
    x, y = f.arguments
    f.limit(T, 8, "positions")
    last = f.structured(tw.SliceOp, [x], (B, 1), offsets=(0, T - 1), strides=(1, 1))
    end = f.structured(tw.SliceOp, [y], (1,), offsets=(T,), strides=(1,))
    result = f.elementwise(
        [last, end, f.splat(0.5, (B, 1), "f32")],
        lambda s, a, b, c: s.addf(s.mulf(a, s.count(T, "f32")), s.addf(b, c)),
    )
    built = f.program([("z", result)])
    return Program.parse(built.text(), built.resources)


def test_dimensions_are_read_from_the_inputs():
    dynamic = program()
    for batch, tokens in [(1, 1), (3, 8), (2, 5)]:
        generator = np.random.default_rng([batch, tokens])
        x, y = (
            generator.standard_normal(shape).astype(np.float32) for shape in ((batch, tokens), (tokens + 1,))
        )
        expected = x[:, -1:].astype(float) * tokens + y[-1] + 0.5
        np.testing.assert_allclose(evaluate(dynamic, [x, y])[0], expected, rtol=1e-5)
        static = specialize(dynamic, {"batch": batch, "tokens": tokens})
        assert not any(word in static.text() for word in ("batch", "tokens", "?", "tw.extent", "tw.splat"))
        np.testing.assert_allclose(evaluate(static, [x, y])[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3), (5,)], "input 1 must be [4]; got [5]"),
        ([(6,), (4,)], "input 0 has 2 dimensions; got [6]"),
        ([(2, 9), (10,)], "tokens would be 9, and is at most 8 (positions)"),
        ([(2, 3)], "main takes 2 inputs; got 1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(InvalidArgument) as caught:
        evaluate(program(), [np.zeros(shape, np.float32) for shape in shapes])
    assert str(caught.value) == message


def test_nothing_that_depends_on_the_call_is_folded():
    f = FunctionBuilder("main", [("x", (T,), "f32")])
    table = f.constant(np.arange(100, dtype=np.float32), "table")
    part = f.structured(tw.SliceOp, [table], (1,), offsets=(T,), strides=(1,))
    count = f.generate((1,), "f32", lambda s: s.count(T, "f32"))
    fixed = f.structured(tw.SliceOp, [table], (1,), offsets=(7,), strides=(1,))
    built = f.program([("part", part), ("count", count), ("fixed", fixed)])
    PASSES["fold-constants"].run(built)
    assert sum(op.name == "tw.slice" for op in built.module.walk()) == 1
    results = evaluate(built, [np.zeros(5, np.float32)])
    assert [float(result[0]) for result in results] == [5, 5, 7]


@pytest.mark.parametrize(
    ("value", "dtype", "stored"),
    [
        (1.5, np.float32, 1.5),
        (-1, np.int8, -1),
        (255, np.int8, -1),
        (-1, np.uint16, 65535),
        (-1, np.bool_, True),
    ],
)
def test_a_splat_holds_its_value_as_its_type_does(value, dtype, stored):
    result = splat(value=value, shape=(2, 3), dtype=np.dtype(dtype))
    assert result.dtype == dtype and result.tolist() == [[stored] * 3] * 2


def test_an_extent_step_gives_a_number_and_refuses_an_expression():
    form = GenericForm((2,), (), (), ((0,),), ("i64",), (ScalarStep("extent", (), "i64", extent=9),), (1,))
    assert evaluate_generic(form, [], [None])[0].tolist() == [9, 9]
    dynamic = GenericForm((2,), (), (), ((0,),), ("i64",), (ScalarStep("extent", (), "i64", extent=T),), (1,))
    with pytest.raises(InvalidArgument, match="tokens is known at the call only"):
        evaluate_generic(dynamic, [], [None])
