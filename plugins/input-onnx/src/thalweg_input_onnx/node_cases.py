"""ONNX's own node cases (``onnx.backend.test``) as test vectors for the importer; run as a program, it counts
them.

    python -m thalweg_input_onnx.node_cases [--target vmvx] [--failures]

Without a target the imported programs are evaluated by ``thalweg.ir.evaluate``; with one they are compiled
for it and run on ``local-sync``.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from thalweg.api import CompileError, InvalidArgument, NotSupported
from thalweg.ir import Program
from thalweg.ir.evaluate import evaluate

from thalweg_input_onnx.diagnostics import UnsupportedModel
from thalweg_input_onnx.importer import OnnxImporter

Runner = Callable[[Program, Sequence[np.ndarray]], Sequence[np.ndarray]]
"""(an imported program, its arguments) → its results; raises ``NotSupported`` or ``CompileError``."""

DIFFERENT_ON_PURPOSE = {
    # the reference divides by the fractional size scale * extent; onnxruntime, torch and we by the whole one
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}


@dataclass(frozen=True)
class Outcome:
    """``kind``: passed, wrong, refused (the importer says so), not run (the evaluator or compiler does)."""

    kind: str
    detail: str = ""
    needs_constant: bool = False


@cache
def node_cases() -> dict[str, Any]:
    """Return name → case, in a stable order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in sorted(load_model_tests(kind="node"), key=lambda case: case.name)}


def op_of(case: Any) -> str:
    """Return the op that a case is for: its only node's, or the name of the function that was expanded."""
    nodes = case.model.graph.node
    return nodes[0].op_type if len(nodes) == 1 else "(graphs)"


def compiled_for(target_backend: str, device: str = "local-sync") -> Runner:
    """Return a runner that compiles for ``target_backend`` and runs on ``device``."""
    import thalweg  # compiling and running are core's; the importer itself must not depend on them

    def run(program: Program, arguments: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        module = thalweg.compile(program, target_backends=[target_backend])
        results = thalweg.load(module, device=device).main(*arguments)
        return [np.asarray(result) for result in (results if isinstance(results, tuple) else (results,))]

    return run


def run_case(case: Any, run: Runner = evaluate) -> Outcome:
    """Import a case, run it on its data and compare by the case's own tolerances.

    Many cases pass as inputs what a model to be compiled holds as constants (axes, shapes, pads): where that
    is why the importer refuses, such inputs become initializers.
    """
    names = [info.name for info in case.model.graph.input]
    outcome = _run(case, frozenset(), run)
    for frozen in (names[1:], names):
        if outcome.needs_constant:
            outcome = _run(case, frozenset(frozen), run)
    return outcome


def _run(case: Any, frozen: frozenset[str], run: Runner) -> Outcome:
    for inputs, expected in case.data_sets:
        infos = case.model.graph.input
        tensors = all(info.type.HasField("tensor_type") for info in infos)
        feeds = {info.name: _array(v) for info, v in zip(infos, inputs)} if tensors else {}
        try:
            program = OnnxImporter().import_model(_with_initializers(case.model, feeds, frozen))
        except UnsupportedModel as error:
            return Outcome("refused", str(error), any(problem.needs_constant for problem in error.problems))
        except InvalidArgument as error:
            return Outcome("refused", str(error))
        try:
            with np.errstate(all="ignore"):
                results = run(program, [array for name, array in feeds.items() if name not in frozen])
        except (NotSupported, CompileError) as error:
            return Outcome("not run", str(error))
        for index, (result, reference) in enumerate(zip(results, expected, strict=True)):
            if difference := compare(result, _array(reference), case.rtol, case.atol):
                return Outcome("wrong", f"output {index}: {difference}")
    return Outcome("passed")


def _array(value: Any) -> np.ndarray:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _with_initializers(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], frozen: frozenset[str]
) -> onnx.ModelProto:
    if not frozen:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.initializer.extend(onnx.numpy_helper.from_array(feeds[name], name) for name in sorted(frozen))
    return copy


def compare(result: np.ndarray, reference: np.ndarray, rtol: float, atol: float) -> str:
    """Return what differs, or an empty string."""
    if result.shape != reference.shape or result.dtype != reference.dtype:
        return f"got {result.dtype} {result.shape}, should be {reference.dtype} {reference.shape}"
    if reference.dtype.kind in "biu":
        wrong = int((result != reference).sum())
        return f"{wrong} of {reference.size} elements differ" if wrong else ""
    if reference.dtype.itemsize == 2:  # one unit in the last place is more than what the cases allow for
        rtol = max(rtol, 2 * float(ml_dtypes.finfo(reference.dtype).eps))
    wide, exact = result.astype(np.float64), reference.astype(np.float64)
    if not np.allclose(wide, exact, rtol=rtol, atol=atol, equal_nan=True):
        with np.errstate(all="ignore"):
            return f"largest difference {np.nanmax(np.abs(wide - exact))}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print counts by op, and every result that is wrong; returns the exit status: 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m thalweg_input_onnx.node_cases", description=__doc__)
    parser.add_argument("--target", help="compile for this target backend instead of evaluating the IR")
    parser.add_argument("--failures", action="store_true", help="print the refused cases too")
    options = parser.parse_args(arguments)
    run = compiled_for(options.target) if options.target else evaluate
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    shown = {"wrong", "not run"} | ({"refused"} if options.failures else set())
    for name, case in node_cases().items():
        outcome = run_case(case, run)
        counts[op_of(case)][outcome.kind] += 1
        if outcome.kind in shown:
            print(f"{outcome.kind}: {name}: {' '.join(outcome.detail.split())[:300]}")
    for op, kinds in sorted(counts.items()):
        print(f"{op:28} {dict(kinds)}")
    total = sum(counts.values(), Counter())
    print(f"onnx {onnx.__version__}: {total.total()} node cases: {dict(total)}")
    return 1 if total["wrong"] > len(DIFFERENT_ON_PURPOSE) or total["not run"] else 0


if __name__ == "__main__":
    sys.exit(main())
