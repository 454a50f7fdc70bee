"""Windows (maxima, sums) over any dimensions and depthwise convolutions, with epilogues."""

from __future__ import annotations

import numpy as np
from kernel_harness import check
from random_dispatches import broadcast_operand, cases, epilogue, extents, generator, tensor
from thalweg.ir.dialects import tw
from thalweg.semantics.windows import output_extents


def window_parameters(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, list[int]]:
    """Return window, strides, dilations and pads that fit ``shape``; no window lies in the padding alone."""
    found: dict[str, list[int]] = {k: [] for k in ("window", "strides", "dilations", "pads_low", "pads_high")}
    for extent in shape:
        size = int(rng.integers(1, min(5, extent) + 1))
        dilation = int(rng.integers(1, 3)) if size > 1 and (size - 1) * 2 < extent else 1
        reach = (size - 1) * dilation
        found["window"].append(size)
        found["dilations"].append(dilation)
        found["strides"].append(int(rng.integers(1, 4)))
        found["pads_low"].append(int(rng.integers(0, reach + 1)) if dilation == 1 else 0)
        found["pads_high"].append(int(rng.integers(0, reach + 1)) if dilation == 1 else 0)
    return found


@cases(30)
def test_random_windows(case: int, cpu: str) -> None:
    rng = generator("window", case)
    kind = str(rng.choice(["max", "sum"]))
    dtype = str(rng.choice(["f32", "f32", "f32", "f64", "f16", "bf16", "i8", "ui8", "i32"]))
    planes = [int(n) for n in rng.choice([1, 2, 3, 5], 2)]
    spatial = extents(rng, int(rng.integers(1, 4)), 2000)
    shape = (*planes, *spatial)
    parameters = window_parameters(rng, spatial)
    full = {key: [0 if key.startswith("pads") else 1] * 2 + values for key, values in parameters.items()}
    result = output_extents(shape, *(full[k] for k in full))
    x = tensor(rng, shape, dtype)
    if kind == "sum" and dtype.startswith(("f", "b")):
        x = np.abs(x)

    def build(f, value, other):
        return epilogue(rng, f, f.structured(tw.ReduceWindowOp, [value], result, kind=kind, **full), other)

    tolerance = {"f16": 4e-3, "bf16": 3e-2}.get(dtype)
    check(build, [x, broadcast_operand(rng, result, dtype)], cpu, tolerance=tolerance, emitter="window")


@cases(8)
def test_windows_over_channels(case: int, cpu: str) -> None:
    """Local response normalization sums squares over neighbouring channels."""
    rng = generator("channels", case)
    shape = extents(rng, 4, 4000)
    size = int(rng.integers(1, 6))
    low = (size - 1) // 2
    result = output_extents(
        shape, [1, size, 1, 1], [1] * 4, [1] * 4, [0, low, 0, 0], [0, size - 1 - low, 0, 0]
    )
    x = np.abs(tensor(rng, shape, "f32"))

    def build(f, value, other):
        root = f.structured(
            tw.ReduceWindowOp, [value], result, kind="sum", window=[1, size, 1, 1], strides=[1] * 4,
            dilations=[1] * 4, pads_low=[0, low, 0, 0], pads_high=[0, size - 1 - low, 0, 0],
        )  # fmt: skip
        return epilogue(rng, f, root, other)

    check(build, [x, broadcast_operand(rng, result, "f32")], cpu, emitter="window")


@cases(16)
def test_random_depthwise_convolutions(case: int, cpu: str) -> None:
    rng = generator("depthwise", case)
    channels, multiplier = int(rng.choice([2, 3, 5, 8])), int(rng.choice([1, 1, 2]))
    spatial = extents(rng, int(rng.integers(1, 3)), 2000)
    parameters = window_parameters(rng, spatial)
    window = parameters.pop("window")
    x_shape = (int(rng.choice([1, 2])), channels, *spatial)
    w_shape = (channels * multiplier, 1, *window)
    result = (x_shape[0], w_shape[0], *output_extents(spatial, window, *parameters.values()))
    dtype = str(rng.choice(["f32", "f32", "f64", "f16", "i32"]))

    def build(f, x, w, other):
        root = f.structured(tw.ConvOp, [x, w], result, groups=channels, **parameters)
        return epilogue(rng, f, root, other)

    operands = [
        tensor(rng, x_shape, dtype),
        tensor(rng, w_shape, dtype),
        broadcast_operand(rng, result, dtype),
    ]
    check(build, operands, cpu, constants=[1], tolerance={"f16": 4e-3}.get(dtype))
