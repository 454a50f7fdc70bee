"""The evaluator: programs of text and of the builder against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.errors import InvalidArgument, NotSupported, UnknownName
from thalweg.ir import FunctionBuilder, Program
from thalweg.ir.dialects import tw
from thalweg.ir.evaluate import evaluate, evaluate_op
from thalweg.semantics import generic

SEED = 23


def draw(*shape):
    return np.random.default_rng([SEED, *shape]).standard_normal(shape).astype(np.float32)


def build(inputs, function) -> Program:
    """Build a program of one function, and read it back from its text."""
    f = FunctionBuilder("main", [(f"x{i}", shape, dtype) for i, (shape, dtype) in enumerate(inputs)])
    results = function(f, *f.arguments)
    program = f.program([(f"y{i}", value) for i, value in enumerate(results)])
    return Program.parse(program.text(), program.resources)


def test_constants_of_every_form():
    large, small = draw(5, 7), np.array([[1, -2], [3, 4]], np.int8)
    halves = np.array([1.5, -2.25], np.float16)
    flags = np.array([True, False, True])
    program = build(
        [], lambda f: [f.constant(v) for v in (large, small, halves, flags, np.uint8(200), large[:0])]
    )
    results = evaluate(program, [])
    for result, expected in zip(results, (large, small, halves, flags, np.uint8(200), large[:0])):
        assert result.dtype == expected.dtype and result.shape == expected.shape
        np.testing.assert_array_equal(result, expected)


def test_splats_and_unsigned_spellings():
    program = Program.parse("""
    func.func @main() -> (tensor<2x3xf32>, tensor<2xi8>, tensor<i1>) {
      %a = arith.constant dense<1.5> : tensor<2x3xf32>
      %b = arith.constant dense<[-1, 127]> : tensor<2xi8>
      %c = arith.constant dense<true> : tensor<i1>
      func.return %a, %b, %c : tensor<2x3xf32>, tensor<2xi8>, tensor<i1>
    }""")
    a, b, c = evaluate(program, [])
    assert a.tolist() == [[1.5] * 3] * 2 and b.tolist() == [-1, 127] and c.shape == () and bool(c) is True


def test_elementwise_broadcasts_as_numpy_does():
    program = build(
        [((4, 1, 5), "f32"), ((3, 1), "f32")],
        lambda f, x, y: [f.elementwise([x, y], lambda s, a, b: s.divf(a, s.absf(b)))],
    )
    x, y = draw(4, 1, 5), draw(3, 1)
    (z,) = evaluate(program, [x, y])
    np.testing.assert_allclose(z, x.astype(float) / np.abs(y.astype(float)), rtol=1e-6)


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_pieces_do_not_change_the_result(piece, monkeypatch):
    def coordinates(s):
        return s.addi(s.muli(s.index(0), s.constant(10, "i64")), s.index(1))

    program = build(
        [((6, 5, 4), "f32"), ((4, 6), "f32")],
        lambda f, x, y: [
            f.elementwise([f.transpose(x, (2, 0, 1)), f.reshape(y, (4, 6, 1))], lambda s, a, b: s.mulf(a, b)),
            f.reduce([x], [1], 0, lambda s, a, acc: s.addf(a, acc)),
            f.reduce([x], [0, 2], -1e30, lambda s, a, acc: s.maximumf(acc, a), keepdims=True),
            f.generate(
                (3, 5), "i64", lambda s: s.addi(s.muli(s.index(0), s.constant(10, "i64")), s.index(1))
            ),
        ],
    )
    monkeypatch.setattr(generic, "PIECE_ELEMENTS", piece)
    x, y = draw(6, 5, 4), draw(4, 6)
    product, total, most, index = evaluate(program, [x, y])
    np.testing.assert_array_equal(product, x.transpose(2, 0, 1) * y[:, :, None])
    np.testing.assert_allclose(total, x.astype(float).sum(1), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(most, x.max((0, 2)).reshape(1, 5, 1))
    assert index.tolist() == [[10 * i + j for j in range(5)] for i in range(3)]


@pytest.mark.parametrize(
    ("combiner", "dtype", "initial", "reference"),
    [
        ("mulf", "f32", 1, lambda x: np.prod(x.astype(float), 1)),
        ("minimumf", "f32", 0.25, lambda x: np.minimum(x.min(1), 0.25)),
        ("addi", "i32", 3, lambda x: x.sum(1) + 3),
        ("muli", "i32", 1, lambda x: np.prod(x, 1, dtype=np.int32)),
        ("maxsi", "i32", -99, lambda x: x.max(1)),
        ("minsi", "i32", 99, lambda x: x.min(1)),
        ("andi", "i32", -1, lambda x: np.bitwise_and.reduce(x, 1)),
        ("ori", "i32", 0, lambda x: np.bitwise_or.reduce(x, 1)),
        ("xori", "i32", 0, lambda x: np.bitwise_xor.reduce(x, 1)),
    ],
)
def test_combiners(combiner, dtype, initial, reference):
    program = build(
        [((3, 6), dtype)],
        lambda f, x: [f.reduce([x], [1], initial, lambda s, v, acc: getattr(s, combiner)(acc, v))],
    )
    x = draw(3, 6) if dtype == "f32" else np.random.default_rng(SEED).integers(-9, 9, (3, 6), np.int32)
    np.testing.assert_allclose(evaluate(program, [x])[0], reference(x), rtol=1e-6)


def test_a_sum_of_what_does_not_vary_counts_every_point():
    program = build(
        [((4, 5), "f32")],
        lambda f, x: [f.reduce([x], [1], 0, lambda s, v, acc: s.addf(acc, s.constant(1, "f32")))],
    )
    assert evaluate(program, [draw(4, 5)])[0].tolist() == [5] * 4


def test_accumulators_used_twice_are_folded_in_order():
    def body(s, v, acc):
        return s.select(s.cmpf("ogt", v, acc), s.addf(v, acc), acc)

    program = build([((3, 4), "f32")], lambda f, x: [f.reduce([x], [0], 0, body)])
    x = draw(3, 4)
    expected = np.zeros(4, np.float32)
    for row in x:
        expected = np.where(row > expected, row + expected, expected)
    np.testing.assert_array_equal(evaluate(program, [x])[0], expected)


def test_two_outputs_make_an_argmax():
    program = Program.parse("""
    func.func @main(%x: tensor<3x4xf32>) -> (tensor<3xf32>, tensor<3xi64>) {
      %m0 = arith.constant dense<-1.0e+30> : tensor<3xf32>
      %i0 = arith.constant dense<0> : tensor<3xi64>
      %m, %i = linalg.generic {
          indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a)>,
                           affine_map<(a, b) -> (a)>],
          iterator_types = ["parallel", "reduction"]}
          ins(%x : tensor<3x4xf32>) outs(%m0, %i0 : tensor<3xf32>, tensor<3xi64>) {
      ^bb0(%v: f32, %best: f32, %at: i64):
        %here = linalg.index 1 : index
        %n = arith.index_cast %here : index to i64
        %more = arith.cmpf ogt, %v, %best : f32
        %p = arith.select %more, %v, %best : f32
        %q = arith.select %more, %n, %at : i64
        linalg.yield %p, %q : f32, i64
      } -> tensor<3xf32>, tensor<3xi64>
      func.return %m, %i : tensor<3xf32>, tensor<3xi64>
    }""")
    x = draw(3, 4)
    most, index = evaluate(program, [x])
    np.testing.assert_array_equal(most, x.max(1))
    np.testing.assert_array_equal(index, x.argmax(1))


def test_structured_ops_chain():
    def function(f, x, w):
        y = f.structured(
            tw.ConvOp, [x, w], (1, 2, 3, 3),
            strides=(1, 1), dilations=(1, 1), pads_low=(0, 0), pads_high=(0, 0), groups=1,
        )  # fmt: skip
        y = f.reshape(y, (2, 9))
        y = f.structured(tw.SliceOp, [y], (2, 3), offsets=(1, 8), strides=(-1, -3))
        return [f.structured(tw.SoftmaxOp, [y], (2, 3), axis=1)]

    x, w = draw(1, 3, 5, 5), draw(2, 3, 3, 3)
    (result,) = evaluate(build([((1, 3, 5, 5), "f32"), ((2, 3, 3, 3), "f32")], function), [x, w])
    windows = np.lib.stride_tricks.sliding_window_view(x[0].astype(float), (3, 3), (1, 2))
    y = np.einsum("cyxhw,ochw->oyx", windows, w.astype(float)).reshape(2, 9)[::-1, 8:1:-3]
    e = np.exp(y - y.max(1, keepdims=True))
    np.testing.assert_allclose(result, e / e.sum(1, keepdims=True), rtol=1e-5)


def test_evaluate_op_gives_one_array():
    program = build([((2, 3), "f32")], lambda f, x: [f.structured(tw.ReshapeOp, [x], (3, 2))])
    op = next(iter(program.functions()[0].body.block.ops))
    assert evaluate_op(op, [draw(2, 3)], {}).shape == (3, 2)


def test_mistakes_are_named():
    program = build([((2,), "f32")], lambda f, x: [x])
    with pytest.raises(UnknownName, match="no function 'other' in the program; it has: main"):
        evaluate(program, [draw(2)], "other")
    with pytest.raises(InvalidArgument, match="main takes 1 inputs; got 2"):
        evaluate(program, [draw(2), draw(2)])
    with pytest.raises(InvalidArgument, match=r"input 0 must be \(2,\) float32; got \(3,\) float32"):
        evaluate(program, [draw(3)])
    program = build([], lambda f: [f.constant(draw(5, 7), "weight")])
    with pytest.raises(UnknownName, match="no resource named 'weight'"):
        evaluate(Program(program.module), [])
    program = Program.parse("""
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = "tensor.cast"(%x) : (tensor<4xf32>) -> tensor<4xf32>
      func.return %y : tensor<4xf32>
    }""")
    with pytest.raises(NotSupported, match=r"op tensor\.cast cannot be evaluated"):
        evaluate(program, [draw(4)])


def test_maps_that_are_no_projection_are_refused():
    program = Program.parse("""
    func.func @main(%x: tensor<7xf32>) -> tensor<4x4xf32> {
      %e = tensor.empty() : tensor<4x4xf32>
      %y = linalg.generic {
          indexing_maps = [affine_map<(a, b) -> (a + b)>, affine_map<(a, b) -> (a, b)>],
          iterator_types = ["parallel", "parallel"]}
          ins(%x : tensor<7xf32>) outs(%e : tensor<4x4xf32>) {
      ^bb0(%v: f32, %o: f32):
        linalg.yield %v : f32
      } -> tensor<4x4xf32>
      func.return %y : tensor<4x4xf32>
    }""")
    with pytest.raises(NotSupported, match="no projected permutation"):
        evaluate(program, [draw(7)])
