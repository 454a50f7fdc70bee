"""Floats that have no decimal form survive the trip through MLIR text."""

import numpy as np
import pytest
from thalweg.dtypes import numpy_dtype
from thalweg.ir import FunctionBuilder, Program
from thalweg.ir.evaluate import evaluate


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("values", [[np.inf], [-np.inf], [-np.inf, 1.5, np.inf]])
def test_infinities_are_parsed_as_printed(dtype, values):
    builder = FunctionBuilder("main", [])
    constant = builder.constant(np.array(values, numpy_dtype(dtype)))
    text = builder.program([("y", constant)]).text()
    (result,) = evaluate(Program.parse(text), [])
    np.testing.assert_array_equal(result.astype(np.float64), values)
