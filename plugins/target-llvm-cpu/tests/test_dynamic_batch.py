"""Convolutions by the packed kernels over a batch that is known at the call only."""

from __future__ import annotations

import pytest
from dynamic_dispatches import check_dynamic
from kernel_harness import PROCESSORS
from random_dispatches import generator
from thalweg.extents import dimension
from thalweg.ir.dialects import tw

BATCH = dimension("tokens")


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_of_a_dynamic_batch(groups: int, cpu: str) -> None:
    rng = generator("dynamic batch", groups)
    window = {"strides": [1, 1], "dilations": [1, 1], "pads_low": [1, 1], "pads_high": [1, 1]}
    result = (BATCH, 10, 8, 9)
    build = lambda f, x, w: f.structured(tw.ConvOp, [x, w], result, groups=groups, **window)
    operands = [((BATCH, 6, 8, 9), "f32"), ((10, 6 // groups, 3, 3), "f32")]
    given = [{"tokens": n} for n in (1, 2, 3, 17)]
    check_dynamic(rng, build, operands, cpu, constants=[1], given=given, tolerance=2e-6, emitter="gemm")
