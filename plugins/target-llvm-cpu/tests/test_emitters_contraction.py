"""Matrix products and convolutions, by the packed and by the plain emitter, with epilogues."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import PROCESSORS, check
from random_dispatches import EXTENTS, broadcast_operand, cases, epilogue, extents, generator, tensor
from test_emitters_window import window_parameters
from thalweg.ir.dialects import tw
from thalweg.semantics.windows import output_extents

TOLERANCES = {"f32": 2e-6, "f64": 1e-14, "f16": 4e-3, "bf16": 3e-2}


@cases(30)
def test_random_products(case: int, cpu: str) -> None:
    rng = generator("product", case)
    dtype = str(rng.choice(["f32", "f32", "f32", "f64", "f16", "bf16", "i8", "i32"]))
    m, n, k = (int(v) for v in rng.choice([*EXTENTS, 97, 130], 3))
    batch = tuple(int(v) for v in rng.choice([1, 2, 3], int(rng.integers(0, 3))))
    lead = [tuple(1 if rng.random() < 0.3 else v for v in batch) for _ in range(2)]
    shared = rng.random() < 0.5
    b_shape = ((1,) * len(batch) if shared else lead[1]) + (k, n)
    a_shape = (batch if shared else lead[0]) + (m, k)
    result = (*np.broadcast_shapes(a_shape[:-2], b_shape[:-2]), m, n)

    def build(f, a, b, other):
        return epilogue(rng, f, f.structured(tw.MatmulOp, [a, b], result), other)

    operands = [
        tensor(rng, a_shape, dtype),
        tensor(rng, b_shape, dtype),
        broadcast_operand(rng, result, dtype),
    ]
    emitter = "gemm" if dtype in ("f32", "f64") and _is_gemm(a_shape, b_shape, result, shared) else ""
    constants = [1] if shared else []
    check(build, operands, cpu, constants, TOLERANCES.get(dtype), emitter)


def _is_gemm(a: tuple[int, ...], b: tuple[int, ...], result: tuple[int, ...], shared: bool) -> bool:
    batch = np.prod(result[:-2])
    return shared or all(np.prod(shape[:-2]) in (1, batch) for shape in (a, b))


@cases(30)
def test_random_convolutions(case: int, cpu: str) -> None:
    rng = generator("convolution", case)
    dtype = str(rng.choice(["f32", "f32", "f32", "f32", "f64", "f16", "i8"]))
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    spatial = extents(rng, rank, 1200)
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, outputs = (
        groups * int(rng.choice([1, 2, 3, 8, 16])),
        groups * int(rng.choice([1, 3, 4, 8, 17, 33])),
    )
    parameters = window_parameters(rng, spatial)
    window = parameters.pop("window")
    if rng.random() < 0.3:  # pointwise
        window = [1] * rank
        parameters = {key: [0 if key.startswith("pads") else 1] * rank for key in parameters}
    x_shape = (int(rng.choice([1, 1, 2])), channels, *spatial)
    w_shape = (outputs, channels // groups, *window)
    result = (x_shape[0], outputs, *output_extents(spatial, window, *parameters.values()))

    def build(f, x, w, other):
        root = f.structured(tw.ConvOp, [x, w], result, groups=groups, **parameters)
        return epilogue(rng, f, root, other)

    operands = [
        tensor(rng, x_shape, dtype),
        tensor(rng, w_shape, dtype),
        broadcast_operand(rng, result, dtype),
    ]
    constants = [1] if rng.random() < 0.8 else []
    check(build, operands, cpu, constants, TOLERANCES.get(dtype))


MIXED = [
    ("i8", "i8", "i32"), ("ui8", "i8", "i32"), ("ui8", "ui8", "i32"), ("i16", "i16", "i64"),
    ("i32", "i32", "i8"), ("f16", "f16", "f32"), ("bf16", "bf16", "f32"), ("f32", "f32", "f64"),
]  # fmt: skip
"""Dtypes of the operands and of the result."""


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("a, b, result", MIXED)
def test_products_whose_result_has_another_dtype(a: str, b: str, result: str, cpu: str) -> None:
    rng = generator("mixed product", 0)
    operands = [tensor(rng, (5, 37), a), tensor(rng, (37, 11), b)]
    build = lambda f, x, y: f.structured(tw.MatmulOp, [x, y], (5, 11), result)
    check(build, operands, cpu, tolerance=2e-6)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("a, b, result", MIXED)
def test_convolutions_whose_result_has_another_dtype(a: str, b: str, result: str, groups: int) -> None:
    rng = generator("mixed convolution", groups)
    operands = [tensor(rng, (1, 4, 7, 9), a), tensor(rng, (8, 4 // groups, 3, 3), b)]
    window = {"strides": [1, 2], "dilations": [1, 1], "pads_low": [1, 1], "pads_high": [1, 0]}
    build = lambda f, x, w: f.structured(tw.ConvOp, [x, w], (1, 8, 7, 4), result, groups=groups, **window)
    check(build, operands, constants=[1], tolerance=2e-6)


@pytest.mark.parametrize("shapes", [((3, 0), (0, 5)), ((0, 3), (3, 5)), ((3, 2), (2, 0))])
def test_products_of_nothing(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    a, b = (np.ones(shape, np.float32) for shape in shapes)
    check(lambda f, x, y: f.structured(tw.MatmulOp, [x, y], (a.shape[0], b.shape[1])), [a, b])
