"""Concurrent calls on one program."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from thalweg.runtime import load

from . import fakes
from .fakes import DEVICES, make_registry
from .sample import WEIGHT, make_module

SEED = random.SystemRandom().randrange(1 << 32)


def test_many_threads_get_their_own_answers(program):
    print(f"seed {SEED}")

    def work(number: int) -> None:
        generator = np.random.default_rng([SEED, number])
        target = np.empty((2, 3), np.float32)
        for _ in range(40):
            x = generator.standard_normal((2, 3)).astype(np.float32)
            s = np.float32(generator.standard_normal())
            y, n = program.main(x, s, out={"y": target} if number % 2 else None)
            np.testing.assert_allclose(np.asarray(y), x * WEIGHT + s, rtol=1e-6)
            assert int(n) == (x > 0).sum()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(8)]:
            future.result()


@pytest.mark.parametrize("kind", ["prepared", "inline"])
def test_calls_in_flight_at_once_have_arenas_of_their_own(kind, monkeypatch):
    """Both calls write their arenas before either reads its own."""
    meeting = threading.Barrier(2, timeout=30)
    scale, dtypes, accesses = fakes.KERNELS["scale"]

    def scale_and_meet(x, w, t):
        scale(x, w, t)
        meeting.wait()

    monkeypatch.setitem(fakes.KERNELS, "scale", (scale_and_meet, dtypes, accesses))
    program = load(make_module(inline=kind == "inline"), DEVICES[kind](), registry=make_registry())
    inputs = [np.full((2, 3), value, np.float32) for value in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda x: program.main(x, np.float32(0))[0].to_numpy(), inputs))
    for x, y in zip(inputs, results):
        np.testing.assert_array_equal(y, x * WEIGHT)
