"""Call overhead: the median wall time of ``program.main(x, out=y)`` for one 16-element addition on
``local-sync``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import thalweg
from thalweg.ir import FunctionBuilder
from thalweg.module.module import Module

ROUNDS = 50
CALLS = 200


def addition() -> Module:
    """Return the compiled module ``main(x) = x + x`` on 16 float32."""
    builder = FunctionBuilder("main", [("x", [16], "f32")])
    (x,) = builder.arguments
    y = builder.elementwise([x, x], lambda s, a, b: s.addf(a, b))
    return thalweg.compile(builder.program([("y", y)]))


def measure(device: str) -> float:
    """Return the median time of one call in microseconds, over rounds of calls."""
    program = thalweg.load(addition(), device=device)
    x = np.random.default_rng(0).standard_normal(16).astype(np.float32)
    y = np.empty_like(x)
    main = program.main
    main(x, out=y)
    np.testing.assert_allclose(y, x + x)
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            main(x, out=y)
        rounds.append(1e6 * (time.perf_counter() - start) / CALLS)
    return statistics.median(rounds)


def main() -> None:
    """Print the overhead on both local drivers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = {device: measure(device) for device in ("local-sync", "local-task")}
    if arguments.json:
        print(json.dumps({f"{name}_us": value for name, value in results.items()}))
    else:
        for name, value in results.items():
            print(f"{name}: {value:.2f} µs a call (median of {ROUNDS} rounds of {CALLS})")


if __name__ == "__main__":
    main()
