"""The arena: no two buffers that live together share bytes, and little is wasted."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.module.arena import Lifetime, aligned, peak_live_bytes, place


@pytest.mark.parametrize("seed", range(20))
def test_buffers_that_live_together_never_overlap(seed: int):
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, 40, 60)
    buffers = [Lifetime(int(rng.integers(1, 5000)), int(f), int(f + rng.integers(0, 6))) for f in firsts]
    offsets, total = place(buffers)
    for i, a in enumerate(buffers):
        assert offsets[i] % 64 == 0 and offsets[i] + a.size <= total
        for j, b in enumerate(buffers[:i]):
            if a.first <= b.last and b.first <= a.last:
                apart = offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i]
                assert apart, f"seed {seed}: buffers {i} and {j} overlap"
    assert total >= peak_live_bytes(buffers)


def test_a_chain_needs_two_buffers_at_a_time():
    chain = [Lifetime(1000, i, i + 1) for i in range(50)]
    assert place(chain)[1] == 2 * aligned(1000)


def test_an_empty_program_needs_nothing():
    assert place([]) == ([], 0)
