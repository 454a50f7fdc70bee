"""ONNX's own node cases (``onnx.backend.test``) as test vectors for the importer; run as a program, it counts
them.

python plugins/input-onnx/tests/node_cases.py [--failures]
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from thalweg.errors import CompileError, InvalidArgument, NotSupported
from thalweg.ir.evaluate import evaluate
from thalweg_input_onnx.importer import OnnxImporter


@dataclass(frozen=True)
class Outcome:
    """``kind``: passed, wrong, refused (the importer says so) or not evaluated (the evaluator says so)."""

    kind: str
    detail: str = ""


@cache
def node_cases() -> dict[str, object]:
    """Return name → case, in a stable order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in sorted(load_model_tests(kind="node"), key=lambda case: case.name)}


def op_of(case) -> str:
    """Return the op that a case is for: its only node's, or the name of the function that was expanded."""
    nodes = case.model.graph.node
    return nodes[0].op_type if len(nodes) == 1 else "(graphs)"


def run_case(case) -> Outcome:
    """Import a case, evaluate it on its data and compare by the case's own tolerances.

    Many cases pass as inputs what a model to be compiled holds as constants (axes, shapes, pads): where that
    is why the importer refuses, such inputs become initializers.
    """
    outcome = _run(case, frozenset())
    if outcome.kind == "refused" and "computed from the model's inputs" in outcome.detail:
        names = [info.name for info in case.model.graph.input]
        outcome = _run(case, frozenset(names[1:]))
        if outcome.kind == "refused" and "computed from the model's inputs" in outcome.detail:
            outcome = _run(case, frozenset(names))
    return outcome


def _run(case, frozen: frozenset[str]) -> Outcome:
    for inputs, expected in case.data_sets:
        infos = case.model.graph.input
        tensors = all(info.type.HasField("tensor_type") for info in infos)
        feeds = {info.name: _array(v) for info, v in zip(infos, inputs)} if tensors else {}
        try:
            program = OnnxImporter().import_model(_with_initializers(case.model, feeds, frozen))
        except (CompileError, InvalidArgument) as error:
            return Outcome("refused", str(error))
        try:
            with np.errstate(all="ignore"):
                results = evaluate(program, [array for name, array in feeds.items() if name not in frozen])
        except NotSupported as error:
            return Outcome("not evaluated", str(error))
        for index, (result, reference) in enumerate(zip(results, expected, strict=True)):
            if difference := compare(result, _array(reference), case.rtol, case.atol):
                return Outcome("wrong", f"output {index}: {difference}")
    return Outcome("passed")


def _array(value) -> np.ndarray:
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


def main() -> None:
    """Print counts by op, and every wrong result."""
    counts: dict[str, Counter] = defaultdict(Counter)
    outcomes = {name: run_case(case) for name, case in node_cases().items()}
    for name, outcome in outcomes.items():
        counts[op_of(node_cases()[name])][outcome.kind] += 1
        shown = {"wrong", "not evaluated"} | ({"refused"} if "--failures" in sys.argv else set())
        if outcome.kind in shown:
            print(f"{outcome.kind}: {name}: {' '.join(outcome.detail.split())[:220]}")
    for op, kinds in sorted(counts.items()):
        print(f"{op:28} {dict(kinds)}")
    total = Counter(outcome.kind for outcome in outcomes.values())
    print(f"onnx {onnx.__version__}: {len(outcomes)} node cases: {dict(total)}")


if __name__ == "__main__":
    main()
