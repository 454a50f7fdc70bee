"""Casts of floats to integers on RISC-V's vectors, one pair of dtypes each: qemu before 8.0 aborts on some,
which would end the test of all.
"""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import FLOATS, Kernel, dispatch_of
from test_emitters_generic import COUNT, WIDTHS, _bits
from thalweg.ir.evaluate import evaluate_function


@pytest.mark.parametrize(
    "cpu", ["riscv64 +v of 128 bits", pytest.param("riscv64 +v of 256 bits", marks=pytest.mark.full)]
)
@pytest.mark.parametrize("result", WIDTHS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["fptosi", "fptoui"])
def test_cast_to_integers(name: str, dtype: str, result: str, cpu: str) -> None:
    x = _bits(np.random.default_rng(7), dtype)
    build = lambda f, v: f.elementwise([v], lambda s, e: getattr(s, name)(e, result), result)
    dispatch = dispatch_of(build, [((COUNT,), dtype)])
    status, output = Kernel(dispatch, cpu).run([x])
    assert status == 0
    (wanted,) = evaluate_function(dispatch.function, [x], {})
    assert np.array_equal(output, wanted), f"{name} of {x[output != wanted]}: {output[output != wanted]}"
