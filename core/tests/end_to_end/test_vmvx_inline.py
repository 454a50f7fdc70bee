"""A module for ``vmvx-inline`` runs in the host program, without any HAL device."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

TOLERANCE = 1e-5

LOAD_AND_CALL = """
import json, sys
import numpy as np
import thalweg

program = thalweg.load(sys.argv[1])
np.save(sys.argv[3], np.asarray(program.main(np.load(sys.argv[2]))))
unwanted = ("thalweg_driver", "thalweg.compiler", "xdsl", "onnx")
foreign = [name for name in sys.modules if name.startswith(unwanted)]
print(json.dumps([program.device is None, program.variant.inline, foreign]))
"""


def test_mnist_equals_onnxruntime_without_any_driver(compile_elsewhere, require, mnist, mnist_case, tmp_path):
    require(target_backends="vmvx-inline")
    module = tmp_path / "inline.twm"
    compile_elsewhere(mnist, module, "--target-backend=vmvx-inline")
    x, expected = mnist_case
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_CALL, module, tmp_path / "x.npy", tmp_path / "y.npy"],
        env={**os.environ, "THALWEG_PLUGIN_AUTOLOAD": "0", "THALWEG_PLUGINS": "thalweg_target_vmvx.plugin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, True, []]
    y = np.load(tmp_path / "y.npy")
    assert y.shape == expected.shape and y.dtype == expected.dtype
    error = np.linalg.norm(y.astype(np.float64) - expected) / np.linalg.norm(expected)
    assert error <= TOLERANCE, f"relative error {error:.1e}"
