"""Packings are undone."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.codegen.packing import Packing

PACKINGS = [
    ((64, 3, 7, 7), Packing((64, 3, 7, 7), (64, 3, 7, 7), (8, 8, 3, 7, 7), (0, 3, 4, 2, 1))),
    ((10, 5), Packing((10, 5), (12, 8), (3, 4, 2, 4), (0, 2, 3, 1))),
    ((2, 3, 4), Packing((6, 4), (8, 4), (2, 4, 4), (2, 0, 1))),
]


@pytest.mark.parametrize(("shape", "packing"), PACKINGS)
def test_what_was_packed_is_unpacked(shape, packing):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    packed = packing.apply(array)
    assert packed.shape == packing.shape
    np.testing.assert_array_equal(packing.undo(packed, shape), array)
    np.testing.assert_array_equal(packing.undo(packed.reshape(-1), shape), array)
