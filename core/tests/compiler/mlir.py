"""What the pass tests share: run passes on text, and find ops in what comes out."""

from __future__ import annotations

import difflib

import numpy as np
from thalweg.compiler.passes import PASSES
from thalweg.ir.evaluate import evaluate
from thalweg.ir.program import Program
from thalweg.ir.types import shape_of


def run(text: str, *passes: str, resources: dict[str, np.ndarray] | None = None) -> Program:
    """Parse ``text``, run the passes, check that the result verifies and that its text parses back to
    itself.
    """
    program = Program.parse(text, resources)
    for name in passes:
        PASSES[name].run(program)
        program.module.verify()
    text, again = program.text(), Program.parse(program.text(), program.resources).text()
    assert text == again, "the text does not parse back to itself:\n" + "\n".join(
        difflib.unified_diff(text.splitlines(), again.splitlines(), lineterm="", n=0)
    )
    return program


def ops(program: Program, name: str) -> list:
    """Return the ops called ``name``, in order."""
    return [op for op in program.module.walk() if op.name == name]


def same_values(before: Program, after: Program, seed: int, tolerance: float = 1e-6) -> None:
    """Check that two programs of phase ``input`` give the same results on one random input."""
    rng = np.random.default_rng(seed)
    function = before.functions()[0]
    inputs = [rng.standard_normal(shape_of(t)).astype(np.float32) for t in function.function_type.inputs.data]
    for a, b in zip(evaluate(before, inputs), evaluate(after, inputs), strict=True):
        error = np.linalg.norm(a.astype(np.float64) - b) / max(np.linalg.norm(a), 1e-30)
        assert error <= tolerance, f"seed {seed}: relative error {error:.1e}"
