"""A program that computes nothing has no kernel and no executable, and still runs on every target."""

from __future__ import annotations

import numpy as np
import pytest
import thalweg
from thalweg.extents import dimension
from thalweg.ir import FunctionBuilder


@pytest.mark.parametrize("target", ["llvm-cpu", "vmvx", "vmvx-inline"])
@pytest.mark.parametrize("rows", [4, dimension("rows")])
def test_a_reshape_alone(target: str, rows, require, tmp_path):
    require(target_backends=target, hal_drivers="local-sync")
    b = FunctionBuilder("main", [("x", [rows, 6], "f32"), ("y", [2], "f32")])
    x, y = b.arguments
    constant = b.constant(np.arange(3, dtype=np.float32))
    program = b.program([("a", b.reshape(x, [2, rows, 3])), ("b", y), ("c", constant)])
    module = thalweg.compile(program, target_backends=[target])
    assert module.variants[0].executables == ()
    given = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    other = np.array([7, 8], np.float32)
    with thalweg.load(module, device="local-sync") as loaded:
        results = loaded.main(given, other)
    np.testing.assert_array_equal(np.asarray(results["a"]), given.reshape(2, 4, 3))
    np.testing.assert_array_equal(np.asarray(results["b"]), other)
    np.testing.assert_array_equal(np.asarray(results["c"]), [0, 1, 2])
