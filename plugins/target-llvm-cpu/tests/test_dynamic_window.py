"""Windows, depthwise and plain convolutions and plain products with dynamic dimensions, with epilogues."""

from __future__ import annotations

import numpy as np
import pytest
from dynamic_dispatches import broadcast_extents, check_dynamic
from kernel_harness import PROCESSORS
from random_dispatches import cases, epilogue, generator, tensor
from thalweg.extents import Extent, dimension, evaluate
from thalweg.ir.dialects import tw

BATCH, HEIGHT, WIDTH = (dimension(name) for name in ("tokens", "height", "width"))


def spatial_parameters(rng: np.random.Generator, rank: int) -> tuple[list[Extent], dict[str, list[int]]]:
    """Return extents (numbers, dimensions) that a window fits whatever the dimensions are, and the window."""
    extents: list[Extent] = []
    found: dict[str, list[int]] = {k: [] for k in ("window", "strides", "dilations", "pads_low", "pads_high")}
    for axis in range(rank):
        size, dilation = int(rng.integers(1, 6)), int(rng.choice([1, 1, 2]))
        reach = (size - 1) * dilation
        low, high = (int(v) for v in rng.integers(0, size, 2)) if dilation == 1 else (0, 0)
        least = max(1, reach - low - high + 1)
        # No window lies in the padding alone: those of a row shorter than a window would.
        least = max(least, low + 1, high + 1)
        name = (HEIGHT, WIDTH)[axis % 2]
        number = least + int(rng.integers(0, 40))
        choices: list[Extent] = [number, name + least, name + least, 2 * name + least]
        extents.append(choices[int(rng.integers(0, len(choices)))])
        for key, value in zip(found, (size, int(rng.integers(1, 4)), dilation, low, high)):
            found[key].append(value)
    return extents, found


def output(extents: list[Extent], p: dict[str, list[int]]) -> list[Extent]:
    """Return how many window positions there are."""
    windows = zip(*(p[key] for key in ("window", "strides", "dilations", "pads_low", "pads_high")))
    return [
        (extent + low + high - (size - 1) * dilation - 1) // stride + 1
        for extent, (size, stride, dilation, low, high) in zip(extents, windows)
    ]


@cases(40)
def test_random_windows(case: int, cpu: str) -> None:
    rng = generator("dynamic window", case)
    kind = str(rng.choice(["max", "sum"]))
    dtype = str(rng.choice(["f32", "f32", "f32", "f64", "f16", "bf16", "i8", "ui8", "i32"]))
    planes: list[Extent] = [[1, BATCH][int(rng.integers(0, 2))], int(rng.choice([1, 3]))]
    spatial, parameters = spatial_parameters(rng, int(rng.integers(1, 4)))
    if not any(not isinstance(extent, int) for extent in (*planes, *spatial)):
        planes[0] = BATCH
    shape = (*planes, *spatial)
    full = {key: [0 if key.startswith("pads") else 1] * 2 + values for key, values in parameters.items()}
    result = (*planes, *output(spatial, parameters))

    def build(f, value, other):
        return epilogue(rng, f, f.structured(tw.ReduceWindowOp, [value], result, kind=kind, **full), other)

    def operand(size, values):
        x = tensor(rng, size, dtype)
        return np.abs(x) if kind == "sum" and dtype.startswith(("f", "b")) else x

    tolerance = {"f16": 4e-3, "bf16": 3e-2}.get(dtype)
    operands = [(shape, dtype), (broadcast_extents(rng, result), dtype)]
    check_dynamic(
        rng, build, operands, cpu, fill={0: operand}, tolerance=tolerance, emitter="window", bounded=[result]
    )


@pytest.mark.parametrize("cpu", PROCESSORS)
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_of_every_width(stride: int, cpu: str) -> None:
    rng = generator("pooling widths", stride)
    result = (BATCH, 2, (HEIGHT - 1) // stride + 1, (WIDTH - 1) // stride + 1)
    window = {"window": [1, 1, 3, 3], "strides": [1, 1, stride, stride], "dilations": [1] * 4}
    pads = {"pads_low": [0, 0, 1, 1], "pads_high": [0, 0, 1, 1]}
    build = lambda f, x: f.structured(tw.ReduceWindowOp, [x], result, kind="max", **window, **pads)
    given = [{"tokens": 1 + n % 2, "height": 1 + n % 5, "width": n} for n in range(1, 70)]
    check_dynamic(rng, build, [((BATCH, 2, HEIGHT, WIDTH), "f32")], cpu, given=given, emitter="window")


@cases(8)
def test_windows_over_channels(case: int, cpu: str) -> None:
    """Local response normalization sums squares over neighbouring channels."""
    rng = generator("dynamic channels", case)
    size = int(rng.integers(1, 6))
    low = (size - 1) // 2
    shape = (BATCH, 5, HEIGHT, [WIDTH, 7][case % 2])
    window = {"window": [1, size, 1, 1], "strides": [1] * 4, "dilations": [1] * 4}
    pads = {"pads_low": [0, low, 0, 0], "pads_high": [0, size - 1 - low, 0, 0]}

    def build(f, value, other):
        root = f.structured(tw.ReduceWindowOp, [value], shape, kind="sum", **window, **pads)
        return epilogue(rng, f, root, other)

    fill = {0: lambda size, values: np.abs(tensor(rng, size, "f32"))}
    operands = [(shape, "f32"), (broadcast_extents(rng, shape), "f32")]
    check_dynamic(rng, build, operands, cpu, fill=fill, emitter="window")


@cases(30)
def test_convolutions_by_weights_of_the_call(case: int, cpu: str) -> None:
    """Depthwise ones as windows, others plainly: the packed kernels want constant weights."""
    rng = generator("dynamic convolution", case)
    depthwise = rng.random() < 0.6
    groups = int(rng.choice([2, 3, 5])) if depthwise else int(rng.choice([1, 2]))
    channels, outputs = groups * (1 if depthwise else 3), groups * int(rng.choice([1, 2]))
    spatial, parameters = spatial_parameters(rng, int(rng.choice([1, 2, 2, 3])))
    window = parameters["window"]
    parameters = {key: value for key, value in parameters.items() if key != "window"}
    batch: Extent = BATCH if all(isinstance(extent, int) for extent in spatial) else 1
    x_shape = (batch, channels, *spatial)
    result = (batch, outputs, *output(spatial, {"window": window, **parameters}))
    dtype = str(rng.choice(["f32", "f32", "f64", "f16", "i32"]))

    def build(f, x, w, other):
        root = f.structured(tw.ConvOp, [x, w], result, groups=groups, **parameters)
        return epilogue(rng, f, root, other)

    operands = [
        (x_shape, dtype),
        ((outputs, channels // groups, *window), dtype),
        (broadcast_extents(rng, result), dtype),
    ]
    tolerance = {"f16": 4e-3, "f32": 2e-6}.get(dtype)
    check_dynamic(rng, build, operands, cpu, tolerance=tolerance, bounded=[result])


@cases(20)
def test_plain_products(case: int, cpu: str) -> None:
    """Products of dtypes, or with batches that broadcast, that no fast kernel takes."""
    rng = generator("dynamic product", case)
    a, b, result = [("f16", "f16", "f16"), ("i32", "i32", "i32"), ("i8", "i8", "i32"), ("f16", "f16", "f32"),
                    ("f32", "f32", "f32")][case % 5]  # fmt: skip
    m, n, k = ([BATCH, HEIGHT, WIDTH, 5, 17][int(i)] for i in rng.integers(0, 5, 3))
    if all(isinstance(extent, int) for extent in (m, n, k)):
        m = BATCH
    a_shape, b_shape = [((m, k), (k, n)), ((2, 1, m, k), (1, 3, k, n))][int(a == "f32" or rng.random() < 0.3)]
    shape = (m, n) if len(a_shape) == 2 else (2, 3, m, n)

    def build(f, x, y, other):
        return epilogue(rng, f, f.structured(tw.MatmulOp, [x, y], shape, result), other)

    operands = [(a_shape, a), (b_shape, b), (broadcast_extents(rng, shape), result)]
    tolerance = 2e-6 if result == "f32" else 4e-3 if result == "f16" else 0.0
    check_dynamic(rng, build, operands, cpu, tolerance=tolerance, bounded=[shape], emitter="contraction")


@pytest.mark.parametrize("kind", ["max", "conv"])
def test_a_dynamic_batch_of_images_is_divided(kind: str) -> None:
    """Rows inside, and rows at the border, of more planes than there are workgroups."""
    rng = generator("images", 0)
    result = (BATCH, 3, 40, 33)
    pads = {"pads_low": [1, 1], "pads_high": [1, 1]}

    def build(f, x, w):
        if kind == "conv":
            return f.structured(tw.ConvOp, [x, w], result, groups=3, strides=[1, 1], dilations=[1, 1], **pads)
        full = {key: [0, 0, *values] for key, values in pads.items()}
        ones = {"strides": [1] * 4, "dilations": [1] * 4}
        return f.structured(tw.ReduceWindowOp, [x], result, kind="max", window=[1, 1, 3, 3], **ones, **full)

    given = [{"tokens": n} for n in (1, 2, 3, 7, 23, 41)]
    operands = [(result, "f32"), ((3, 1, 3, 3), "f32")]
    kernel = check_dynamic(rng, build, operands, "host", given=given, tolerance=2e-6, emitter="window")
    assert kernel.plan.kernel.parameters["way"] == "rows"
    counts = [evaluate(kernel.plan.kernel.workgroup_count[0], values) for values in given]
    assert counts[0] < counts[-1] <= 64, counts
