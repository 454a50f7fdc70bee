"""Slices of the whole extent: the identity goes away, the reversal stays."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.ir import Program
from thalweg.ir.evaluate import evaluate

from .mlir import run

SLICE = """
func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {{
  %y = tw.slice %x {{offsets = array<i64: {0}>, strides = array<i64: {1}>}}
      : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %y : tensor<2x3xf32>
}}
"""


def test_a_slice_that_takes_everything_goes_away():
    assert "tw.slice" not in run(SLICE.format("0, 0", "1, 1"), "canonicalize").text()


@pytest.mark.parametrize("offsets, strides", [("0, 2", "1, -1"), ("1, 2", "-1, -1")])
def test_a_slice_that_reverses_keeps_its_meaning(offsets, strides):
    text = SLICE.format(offsets, strides)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (before,), (after,) = evaluate(Program.parse(text), [x]), evaluate(run(text, "canonicalize"), [x])
    assert not np.array_equal(before, x)
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("high, pads", [("0, 0", 0), ("0, 2", 1)])
def test_only_a_pad_of_nothing_goes_away(high, pads):
    text = f"""
    func.func @main(%x: tensor<2x3xf32>) -> tensor<2x{5 if pads else 3}xf32> {{
      %y = tw.pad %x {{low = array<i64: 0, 0>, high = array<i64: {high}>, value = 1.0 : f64}}
          : (tensor<2x3xf32>) -> tensor<2x{5 if pads else 3}xf32>
      func.return %y : tensor<2x{5 if pads else 3}xf32>
    }}
    """
    assert run(text, "canonicalize").text().count("tw.pad") == pads
