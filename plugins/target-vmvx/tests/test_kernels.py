"""Dispatches through plan, translate, link, load and call: against the evaluator and float64 references."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.ir import FunctionBuilder
from thalweg.ir.dialects import tw

SEED = 11


def draw(*shape, dtype=np.float32):
    return np.random.default_rng([SEED, *shape]).standard_normal(shape).astype(dtype)


def relative(result, reference):
    reference = np.asarray(reference, np.float64)
    assert result.shape == reference.shape
    return np.linalg.norm(result.astype(np.float64) - reference) / np.linalg.norm(reference)


def text_of(inputs, build) -> str:
    """Build a dispatch: ``build(f, *arguments)`` returns its result."""
    f = FunctionBuilder("kernel", [(f"x{i}", shape, dtype) for i, (shape, dtype) in enumerate(inputs)])
    result = build(f, *f.arguments)
    return str(f.finish([("y", result)]))


def test_elementwise_with_broadcast_and_constants(run_kernel):
    def build(f, x, b):
        def body(s, v, w):
            return s.select(s.cmpf("ogt", v, w), s.mulf(v, s.constant(2, "f32")), s.exp(w))

        return f.elementwise([x, b], body)

    x, b = draw(300, 5, 70), draw(5, 1)
    (y,) = run_kernel(text_of([((300, 5, 70), "f32"), ((5, 1), "f32")], build), [x, b])
    assert relative(y, np.where(x > b, x.astype(float) * 2, np.exp(b.astype(float)))) < 1e-7


def test_conv_with_bias_and_relu_epilogue(run_kernel):
    def build(f, x, w, b):
        y = f.structured(
            tw.ConvOp, [x, w], (1, 4, 6, 6),
            strides=(1, 1), dilations=(1, 1), pads_low=(1, 1), pads_high=(1, 1), groups=1,
        )  # fmt: skip
        zero = lambda s: s.constant(0, "f32")
        return f.elementwise([y, b], lambda s, v, c: s.maximumf(s.addf(v, c), zero(s)))

    x, w, b = draw(1, 3, 6, 6), draw(4, 3, 3, 3), draw(4, 1, 1)
    text = text_of([((1, 3, 6, 6), "f32"), ((4, 3, 3, 3), "f32"), ((4, 1, 1), "f32")], build)
    (y,) = run_kernel(text, [x, w, b])
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    reference = np.maximum(np.einsum("ncyxhw,ochw->noyx", windows, w.astype(float)) + b, 0)
    assert relative(y, reference) < 1e-6


def test_reduction_with_fused_producer_and_epilogue(run_kernel):
    def build(f, x):
        total = f.reduce([x], [1], 0, lambda s, v, acc: s.addf(acc, s.mulf(v, v)))
        return f.elementwise([total], lambda s, v: s.sqrt(v))

    x = draw(40, 1000)
    (y,) = run_kernel(text_of([((40, 1000), "f32")], build), [x])
    assert relative(y, np.linalg.norm(x.astype(float), axis=1)) < 1e-7


def test_reduction_over_a_body_that_no_combiner_describes(run_kernel):
    def build(f, x):
        def alternate(s, v, acc):
            return s.subf(v, acc)

        return f.reduce([x], [0], 1, alternate)

    x = draw(7, 3)
    (y,) = run_kernel(text_of([((7, 3), "f32")], build), [x])
    reference = np.ones(3)
    for row in x.astype(float):
        reference = row - reference
    assert relative(y, reference) < 1e-6


def test_transpose_index_and_casts(run_kernel):
    def build(f, x):
        y = f.transpose(x, (2, 0, 1))
        return f.elementwise([y], lambda s, v: s.addf(v, s.sitofp(s.index(0), "f32")))

    x = draw(3, 4, 5)
    (y,) = run_kernel(text_of([((3, 4, 5), "f32")], build), [x])
    assert relative(y, x.transpose(2, 0, 1).astype(float) + np.arange(5).reshape(5, 1, 1)) < 1e-7


def softmax_reference(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm_reference(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias


WINDOW = {
    "window": (1, 2), "strides": (1, 2), "dilations": (1, 1), "pads_low": (0, 0), "pads_high": (0, 0),
}  # fmt: skip
OPS = {
    "matmul": (tw.MatmulOp, [(2, 5, 6), (2, 6, 3)], (2, 5, 3), {}, np.matmul),
    "softmax": (tw.SoftmaxOp, [(4, 9)], (4, 9), {"axis": -1}, softmax_reference),
    "layer_norm": (
        tw.LayerNormOp, [(4, 9), (9,), (9,)], (4, 9), {"axis": -1, "epsilon": 1e-5}, layer_norm_reference
    ),
    "max_window": (
        tw.ReduceWindowOp, [(3, 8)], (3, 4), {"kind": "max", **WINDOW}, lambda x: x.reshape(3, 4, 2).max(-1)
    ),
    "sum_window": (
        tw.ReduceWindowOp, [(3, 8)], (3, 4), {"kind": "sum", **WINDOW}, lambda x: x.reshape(3, 4, 2).sum(-1)
    ),
    "slice": (
        tw.SliceOp, [(5, 6)], (2, 3), {"offsets": (4, 0), "strides": (-2, 2)}, lambda x: x[4:1:-2, 0::2]
    ),
    "pad": (
        tw.PadOp, [(2, 3)], (3, 5), {"low": (1, 0), "high": (0, 2), "value": 1.5},
        lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=1.5),
    ),
    "reshape": (tw.ReshapeOp, [(2, 6)], (3, 4), {}, lambda x: x.reshape(3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", OPS)
def test_structured_op(name, dtype, run_kernel):
    op, shapes, result, properties, reference = OPS[name]
    text = text_of(
        [(shape, dtype) for shape in shapes],
        lambda f, *arguments: f.structured(op, list(arguments), result, **properties),
    )
    operands = [draw(*shape, dtype={"f32": np.float32, "f64": np.float64}[dtype]) for shape in shapes]
    (y,) = run_kernel(text, operands)
    assert relative(y, reference(*(x.astype(float) for x in operands))) < (1e-6 if dtype == "f32" else 1e-13)


def test_concat_and_gather(run_kernel):
    text = text_of(
        [((2, 3), "f32"), ((2, 2), "f32")],
        lambda f, a, b: f.structured(tw.ConcatOp, [[a, b, a]], (2, 8), axis=1),
    )
    a, b = draw(2, 3), draw(2, 2)
    np.testing.assert_array_equal(run_kernel(text, [a, b])[0], np.concatenate([a, b, a], 1))
    text = text_of(
        [((5, 3), "f32"), ((2, 2), "i64")],
        lambda f, d, i: f.structured(tw.GatherOp, [d, i], (2, 2, 3), axis=0),
    )
    data, indices = draw(5, 3), np.array([[0, -1], [4, 2]])
    np.testing.assert_array_equal(run_kernel(text, [data, indices])[0], data[indices])


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_halves(dtype, run_kernel):
    import ml_dtypes

    numpy_type = {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}[dtype]

    def build(f, a, b):
        y = f.structured(tw.MatmulOp, [a, b], (4, 5))
        return f.elementwise([y], lambda s, v: s.tanh(s.addf(v, s.constant(0.5, dtype))))

    a, b = draw(4, 6).astype(numpy_type), draw(6, 5).astype(numpy_type)
    (y,) = run_kernel(text_of([((4, 6), dtype), ((6, 5), dtype)], build), [a, b])
    reference = np.tanh(a.astype(float) @ b.astype(float) + 0.5)
    assert relative(y, reference) < {"f16": 2e-3, "bf16": 1e-2}[dtype]


def test_scalars_and_empty_tensors(run_kernel):
    text = text_of([((), "i32")], lambda f, x: f.elementwise([x], lambda s, v: s.muli(v, v)))
    assert run_kernel(text, [np.array(7, np.int32)])[0] == 49
    text = text_of([((0, 3), "f32")], lambda f, x: f.reduce([x], [0], 2, lambda s, v, acc: s.addf(acc, v)))
    assert run_kernel(text, [np.empty((0, 3), np.float32)])[0].tolist() == [2, 2, 2]
