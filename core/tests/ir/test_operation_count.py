"""Operations of a dispatch, counted by hand."""

from __future__ import annotations

import pytest
from thalweg.extents import dimension
from thalweg.ir import Dispatch, FunctionBuilder
from thalweg.ir.dialects import tw
from thalweg.ir.operation_count import count_operations


def count(inputs, build) -> object:
    """Count the operations of a function of f32 inputs of these shapes."""
    builder = FunctionBuilder("main", [(f"x{i}", shape, "f32") for i, shape in enumerate(inputs)])
    program = builder.program([("y", build(builder, *builder.arguments))])
    return count_operations(Dispatch(program.functions()[0]))


TOKENS = dimension("tokens")


@pytest.mark.parametrize(
    ("inputs", "build", "expected"),
    [
        ([(2, 3)], lambda b, x: b.elementwise([x], lambda s, v: s.mulf(s.exp(v), v)), 12),
        ([(2, 3)], lambda b, x: b.reduce([x], [1], 0.0, lambda s, v, a: s.addf(v, a)), 6),
        ([(5, 2, 3), (5, 3, 7)], lambda b, x, y: b.structured(tw.MatmulOp, [x, y], (5, 2, 7)), 420),
        ([(TOKENS, 3), (3, 7)], lambda b, x, y: b.structured(tw.MatmulOp, [x, y], (TOKENS, 7)), 42 * TOKENS),
        ([(2, 4)], lambda b, x: b.transpose(x, [1, 0]), 0),
        ([(2, 4)], lambda b, x: b.elementwise([x], lambda s, v: s.addf(v, s.constant(1.0, "f32"))), 8),
    ],
)
def test_operations_are_counted(inputs, build, expected):
    assert count(inputs, build) == expected


CONV = """
func.func @k(%x: tensor<1x8x10x10xf32>, %w: tensor<16x4x3x3xf32>) -> tensor<1x16x8x8xf32> {
  %y = tw.conv %x, %w {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>,
      pads_low = array<i64: 0, 0>, pads_high = array<i64: 0, 0>, groups = 2 : i64}
      : (tensor<1x8x10x10xf32>, tensor<16x4x3x3xf32>) -> tensor<1x16x8x8xf32>
  func.return %y : tensor<1x16x8x8xf32>
}
"""


def test_a_grouped_convolution_counts_the_channels_of_one_group():
    assert count_operations(Dispatch.parse(CONV)) == 2 * 16 * 8 * 8 * 4 * 3 * 3
