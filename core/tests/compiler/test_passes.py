"""Passes: text in, text out, and the same values."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.codegen.target import TargetConfiguration
from thalweg.compiler.passes.decompose import DECOMPOSITIONS, decompose
from thalweg.extents import Extent, dimension
from thalweg.ir.builder import FunctionBuilder
from thalweg.ir.dialects import tw
from thalweg.ir.program import Program
from thalweg.ir.specialization import specialize
from xdsl.ir import SSAValue

from .mlir import ops, run, same_values

CHAIN = """
func.func @main(%x: tensor<2x3xf32>) -> tensor<6xf32> {
  %a = tw.reshape %x : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %b = tw.reshape %a : (tensor<3x2xf32>) -> tensor<6xf32>
  func.return %b : tensor<6xf32>
}
"""


def test_a_chain_of_reshapes_becomes_one():
    text = run(CHAIN, "canonicalize").text()
    assert text.count("tw.reshape") == 1
    assert "(tensor<2x3xf32>) -> tensor<6xf32>" in text


def test_a_reshape_to_the_same_shape_goes_away():
    back = CHAIN.replace("tensor<6xf32>", "tensor<2x3xf32>")
    assert "tw.reshape" not in run(back, "canonicalize").text()


def test_a_transpose_of_unit_dimensions_becomes_a_reshape():
    b = FunctionBuilder("main", [("x", [1, 5, 1, 7], "f32")])
    program = b.program([("y", b.transpose(b.arguments[0], [1, 0, 3, 2]))])
    text = run(program.text(), "canonicalize").text()
    assert "linalg.generic" not in text
    assert "tw.reshape" in text


def test_a_real_transpose_stays():
    b = FunctionBuilder("main", [("x", [4, 5], "f32")])
    program = b.program([("y", b.transpose(b.arguments[0], [1, 0]))])
    assert "linalg.generic" in run(program.text(), "canonicalize").text()


def test_equal_ops_become_one_and_dead_ones_go():
    b = FunctionBuilder("main", [("x", [4], "f32")])
    (x,) = b.arguments
    first = b.elementwise([x], lambda s, v: s.exp(v))
    second = b.elementwise([x], lambda s, v: s.exp(v))
    b.elementwise([x], lambda s, v: s.tanh(v))
    program = b.program([("y", b.elementwise([first, second], lambda s, p, q: s.mulf(p, q)))])
    after = run(program.text(), "eliminate-common-subexpressions", "eliminate-dead-code")
    assert after.text().count("math.exp") == 1
    assert "math.tanh" not in after.text()


def test_dead_resources_are_dropped():
    b = FunctionBuilder("main", [("x", [4], "f32")])
    b.constant(np.arange(100, dtype=np.float32), "unused")
    program = b.program([("y", b.arguments[0])])
    assert "unused" not in run(program.text(), "eliminate-dead-code", resources=program.resources).resources


def test_constants_fold_with_their_numpy_meaning():
    b = FunctionBuilder("main", [("x", [3, 4], "f32")])
    table = np.random.default_rng(7).standard_normal((4, 3)).astype(np.float32)
    folded = b.transpose(b.constant(table), [1, 0])
    program = b.program([("y", b.elementwise([b.arguments[0], folded], lambda s, p, q: s.addf(p, q)))])
    after = run(program.text(), "fold-constants", "canonicalize", resources=program.resources)
    assert len(ops(after, "linalg.generic")) == 1
    same_values(program, after, 7)


def test_a_broadcast_of_a_scalar_to_something_large_is_not_folded():
    b = FunctionBuilder("main", [])
    big = b.broadcast_to(b.constant(np.array(2, np.float32)), [1024, 1024])
    assert len(ops(run(b.program([("y", big)]).text(), "fold-constants"), "linalg.generic")) == 1


def convolution_with_batch_norm(rng: np.random.Generator, batch: Extent = 1, rows: Extent = 6) -> Program:
    b = FunctionBuilder("main", [("x", [batch, 3, rows, 6], "f32")])
    weight = b.constant(rng.standard_normal((5, 3, 3, 3)).astype(np.float32), "w")
    y = b.structured(
        tw.ConvOp, [b.arguments[0], weight], [batch, 5, rows - 2, 4],
        strides=[1, 1], dilations=[1, 1], pads_low=[0, 0], pads_high=[0, 0], groups=1,
    )  # fmt: skip

    def per_channel() -> SSAValue:
        return b.constant(rng.uniform(0.5, 2, (5, 1, 1)).astype(np.float32))

    y = b.elementwise([y, per_channel()], lambda s, v, c: s.addf(v, c))
    y = b.elementwise([y, per_channel(), per_channel()], lambda s, v, m, r: s.mulf(s.subf(v, m), r))
    return b.program([("y", b.elementwise([y], lambda s, v: s.maximumf(v, s.constant(0, "f32"))))])


def test_a_batch_norm_moves_into_the_convolution():
    program = convolution_with_batch_norm(np.random.default_rng(11))
    before = Program.parse(program.text(), program.resources)
    after = run(
        program.text(), "fold-batch-norms", "fuse-elementwise", "canonicalize", resources=program.resources
    )
    assert len(ops(after, "linalg.generic")) == 1
    assert [op.name for op in ops(after, "linalg.generic")[0].body.block.ops] == [
        "arith.addf",
        "arith.constant",
        "arith.maximumf",
        "linalg.yield",
    ]
    same_values(before, after, 11)


def test_a_batch_norm_moves_into_the_convolution_of_a_dynamic_image():
    extents = dimension("batch"), dimension("rows")
    program = convolution_with_batch_norm(np.random.default_rng(12), *extents)
    before = Program.parse(program.text(), program.resources)
    after = run(program.text(), "fold-batch-norms", "fuse-elementwise", resources=program.resources)
    assert len(ops(after, "linalg.generic")) == 1
    sizes = {"batch": 2, "rows": 7}
    same_values(specialize(before, sizes), specialize(after, sizes), 12)


def test_elementwise_chains_fuse_into_one_generic():
    b = FunctionBuilder("main", [("x", [4, 8], "f32"), ("bias", [8], "f32")])
    x, bias = b.arguments
    h = b.elementwise([x, bias], lambda s, v, c: s.addf(v, c))
    gate = b.elementwise([h], lambda s, v: s.tanh(v))
    program = b.program([("y", b.elementwise([h, gate], lambda s, v, g: s.mulf(v, g)))])
    before = Program.parse(program.text())
    after = run(program.text(), "fuse-elementwise")
    (generic,) = ops(after, "linalg.generic")
    assert len(generic.inputs) == 2, "an operand that is read twice is one operand"
    same_values(before, after, 3)


def test_a_producer_with_two_users_is_not_computed_twice():
    b = FunctionBuilder("main", [("x", [4], "f32")])
    h = b.elementwise([b.arguments[0]], lambda s, v: s.exp(v))
    program = b.program([("y", b.elementwise([h], lambda s, v: s.negf(v))), ("h", h)])
    assert run(program.text(), "fuse-elementwise").text().count("math.exp") == 1


def test_a_producer_that_would_be_broadcast_is_left_alone():
    b = FunctionBuilder("main", [("x", [4, 1], "f32"), ("y", [4, 8], "f32")])
    row = b.elementwise([b.arguments[0]], lambda s, v: s.exp(v))
    program = b.program([("z", b.elementwise([row, b.arguments[1]], lambda s, p, q: s.addf(p, q)))])
    assert len(ops(run(program.text(), "fuse-elementwise"), "linalg.generic")) == 2


def test_a_producer_fuses_into_a_reduction():
    b = FunctionBuilder("main", [("x", [4, 8], "f32")])
    squares = b.elementwise([b.arguments[0]], lambda s, v: s.mulf(v, v))
    program = b.program([("y", b.reduce([squares], [1], 0.0, lambda s, v, a: s.addf(v, a)))])
    before = Program.parse(program.text())
    after = run(program.text(), "fuse-elementwise")
    assert len(ops(after, "linalg.generic")) == 1
    same_values(before, after, 5)


@pytest.mark.parametrize("name", ["tw.softmax", "tw.layer_norm"])
def test_decompositions_mean_the_same(name: str):
    b = FunctionBuilder("main", [("x", [3, 5, 7], "f32")])
    (x,) = b.arguments
    if name == "tw.softmax":
        y = b.structured(tw.SoftmaxOp, [x], [3, 5, 7], axis=1)
    else:
        rng = np.random.default_rng(1)
        scale, bias = (b.constant(rng.standard_normal((5, 7)).astype(np.float32)) for _ in range(2))
        y = b.structured(tw.LayerNormOp, [x, scale, bias], [3, 5, 7], axis=1, epsilon=1e-5)
    program = b.program([("y", y)])
    before = Program.parse(program.text(), program.resources)
    after = run(program.text(), "decompose", resources=program.resources)
    assert not ops(after, name)
    same_values(before, after, 9)


def test_equal_dispatches_become_one_kernel_with_the_epilogue_inside():
    b = FunctionBuilder("main", [("x", [8, 8], "f32")])
    x = b.arguments[0]
    for seed in range(3):
        w = b.constant(np.random.default_rng(seed).standard_normal((8, 8)).astype(np.float32))
        x = b.structured(tw.MatmulOp, [x, w], [8, 8])
        x = b.elementwise([x], lambda s, v: s.maximumf(v, s.constant(0, "f32")))
    program = b.program([("y", x)])
    after = run(program.text(), "create-dispatches", resources=program.resources)
    assert len(ops(after, "flow.dispatch")) == 3
    kernels = [f for f in after.functions() if f.sym_visibility is not None]
    assert [f.sym_name.data for f in kernels] == ["main_dispatch_0_matmul"]
    assert "arith.maximumf" in str(kernels[0])


def test_of_two_roots_one_takes_the_epilogue():
    b = FunctionBuilder("main", [("x", [4, 4], "f32"), ("y", [4, 4], "f32")])
    x, y = b.arguments
    p = b.structured(tw.MatmulOp, [x, y], [4, 4])
    q = b.structured(tw.MatmulOp, [y, x], [4, 4])
    program = b.program([("z", b.elementwise([p, q], lambda s, u, v: s.addf(u, v)))])
    after = run(program.text(), "create-dispatches")
    assert len(ops(after, "flow.dispatch")) == 2


def test_every_decomposable_op_is_decomposed_unless_the_target_takes_it():
    """An op that core gains later breaks no backend: what a target does not declare comes to it as
    generics.
    """
    b = FunctionBuilder("main", [("x", [2, 3], "f32")])
    program = b.program([("y", b.structured(tw.SoftmaxOp, [b.arguments[0]], [2, 3], axis=1))])
    assert TargetConfiguration("plain", "plain-1").structured_ops == frozenset()
    decompose(program, DECOMPOSITIONS.keys() - frozenset({"tw.softmax"}))
    assert ops(program, "tw.softmax")
    decompose(program, DECOMPOSITIONS.keys() - frozenset())
    assert not ops(program, "tw.softmax")
