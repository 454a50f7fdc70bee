"""The error of the vector math over all 2^32 floats, against float64 NumPy.

    python plugins/target-llvm-cpu/tests/float32_sweep.py

writes ``docs/reports/vector-math.md``. What runs is a kernel, compiled and loaded as any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import pi, sqrt
from multiprocessing import get_context
from os import sched_getaffinity
from pathlib import Path

import numpy as np
from kernel_harness import Kernel, dispatch_of
from thalweg.ir import ScalarBuilder
from thalweg.semantics.special import erf
from xdsl.ir import SSAValue

CHUNK = 1 << 16
"""Floats at a time: a part of one binade of one sign."""

CHUNKS = (1 << 32) // CHUNK
REPORT = Path(__file__).parents[3] / "docs" / "reports" / "vector-math.md"
OVERFLOW = 2.0**128
"""What float32 would hold next to its largest number: an infinity stands for it when errors are counted."""

Reference = Callable[[np.ndarray], np.ndarray]


def sigmoid_body(s: ScalarBuilder, x: SSAValue, dtype: str = "f32") -> SSAValue:
    """1 / (1 + e^-x), as importers write it."""
    one = s.constant(1.0, dtype)
    return s.divf(one, s.addf(one, s.exp(s.negf(x))))


def _piecewise(least: float, small: Reference, greatest: float, large: Reference, between: Reference):
    """Choose a formula by the magnitudes of a chunk: those at the ends cost little and are exact to 2^-40."""

    def reference(x: np.ndarray) -> np.ndarray:
        first, last = abs(float(x[0])), abs(float(x[-1]))
        if first <= last <= least:
            return small(x)
        return large(x) if greatest <= first <= last else between(x)

    return reference


def _sigmoid(x: np.ndarray) -> np.ndarray:
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1.0) / (1.0 + z)


@dataclass(frozen=True)
class Function:
    """One function: what the kernel computes, and its meaning in float64."""

    body: Callable[[ScalarBuilder, SSAValue], SSAValue]
    reference: Reference


SWEPT = {
    "exp": Function(
        lambda s, x: s.exp(x),
        _piecewise(2.0**-25, lambda x: 1.0 + x, 128.0, lambda x: np.where(x > 0, np.inf, 0.0), np.exp),
    ),
    "log": Function(lambda s, x: s.log(x), np.log),
    "tanh": Function(
        lambda s, x: s.tanh(x),
        _piecewise(2.0**-12, lambda x: x - x * x * x / 3.0, 16.0, np.sign, np.tanh),
    ),
    "erf": Function(
        lambda s, x: s.erf(x),
        _piecewise(2.0**-12, lambda x: 2.0 / sqrt(pi) * (x - x * x * x / 3.0), 8.0, np.sign, erf),
    ),
    "sigmoid": Function(
        sigmoid_body,
        _piecewise(2.0**-12, lambda x: 0.5 + x / 4.0, 128.0, lambda x: np.where(x > 0, 1.0, 0.0), _sigmoid),
    ),
}


@dataclass(frozen=True)
class Worst:
    """The largest error found, in units in the last place (at least ½), and the argument it was found at."""

    ulps: float
    argument: float


def ulps_of_float32(output: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return |output - reference| in units in the last place of float32 at the float64 ``reference``.

    NaN where one of them is NaN and the other is not.
    """
    exponent = np.maximum((reference.view(np.int64) >> 52) & 0x7FF, 1023 - 126)
    per_unit = ((2046 + 23 - exponent) << 52).view(np.float64)
    error = np.abs(np.clip(output, -OVERFLOW, OVERFLOW) - np.clip(reference, -OVERFLOW, OVERFLOW)) * per_unit
    return np.where(np.isnan(output) & np.isnan(reference), 0.0, error)


def sweep_part(name: str, first: int, stop: int) -> Worst:
    """Run the chunks ``first`` … ``stop`` - 1 of a function; the error is infinite where a NaN is wrong."""
    function = SWEPT[name]
    dispatch = dispatch_of(lambda f, x: f.elementwise([x], function.body), [((CHUNK,), "f32")])
    kernel = Kernel(dispatch)
    worst = Worst(0.5, 0.0)
    offsets = np.arange(CHUNK, dtype=np.uint32)
    for chunk in range(first, stop):
        x = (offsets + np.uint32(chunk * CHUNK)).view(np.float32)
        status, output = kernel.run([x])
        assert status == 0, f"kernel returned {status}"
        with np.errstate(all="ignore"):
            reference = function.reference(x.astype(np.float64))
            # Where the output is the reference, rounded, the error is at most half a unit.
            (places,) = np.nonzero(reference.astype(np.float32).view(np.uint32) != output.view(np.uint32))
            if places.size:
                errors = ulps_of_float32(output[places].astype(np.float64), reference[places])
                worst = max(worst, _worst(errors, x[places]), key=lambda found: found.ulps)
    return worst


def _worst(errors: np.ndarray, x: np.ndarray) -> Worst:
    errors = np.where(np.isnan(errors), np.inf, errors)
    place = int(errors.argmax())
    return Worst(float(errors[place]), float(x[place]))


def sweep(name: str) -> Worst:
    """Sweep a function over every float, on every core."""
    workers = len(sched_getaffinity(0))
    parts = 8 * workers
    edges = [CHUNKS * i // parts for i in range(parts + 1)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = pool.map(sweep_part, [name] * parts, edges[:-1], edges[1:])
        return max(found, key=lambda worst: worst.ulps)


def write_report(results: dict[str, Worst], seconds: float) -> None:
    """Write the table."""
    lines = [
        "# Vector math of llvm-cpu in float32, over all 2^32 floats",
        "",
        "Made by `python plugins/target-llvm-cpu/tests/float32_sweep.py`, which runs compiled kernels and"
        f" compares with float64; it took {seconds:.0f} s.",
        "",
        "| function | largest error, ulp | at |",
        "| --- | --- | --- |",
        *(f"| {name} | {worst.ulps:.3f} | {worst.argument!r} |" for name, worst in results.items()),
        "",
    ]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join(lines))


def main() -> None:
    """Sweep all and write the report."""
    start, results = time.perf_counter(), {}
    for name in SWEPT:
        results[name] = sweep(name)
        print(f"{name}: {results[name]} ({time.perf_counter() - start:.0f} s)", flush=True)
    write_report(results, time.perf_counter() - start)


if __name__ == "__main__":
    main()
