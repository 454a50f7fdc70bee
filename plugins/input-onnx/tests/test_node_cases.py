"""ONNX's node cases: what the importer takes must evaluate right, and what it refuses must be named."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from node_cases import node_cases, op_of, run_case

SEED = 20261121

DIFFERENT_ON_PURPOSE = {
    # the reference divides by the fractional size scale * extent; onnxruntime and torch, and so we, by the whole one
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}


def sampled_names() -> list[str]:
    """One seeded case of every op, and as many again from all."""
    by_op = defaultdict(list)
    for name, case in node_cases().items():
        if name not in DIFFERENT_ON_PURPOSE:
            by_op[op_of(case)].append(name)
    chooser = random.Random(SEED)
    chosen = {chooser.choice(names) for _, names in sorted(by_op.items())}
    everything = sorted(name for names in by_op.values() for name in names)
    return sorted(chosen | set(chooser.sample(everything, 200)))


@pytest.mark.parametrize("name", sampled_names())
def test_sampled_case_is_right_or_refused_by_name(name):
    outcome = run_case(node_cases()[name])
    assert outcome.kind in ("passed", "refused"), f"seed {SEED}: {outcome.detail}"
    if outcome.kind == "refused":
        assert (
            "node '" in outcome.detail or "not a tensor" in outcome.detail or "element type" in outcome.detail
        )


@pytest.mark.full
def test_every_case_is_right_or_refused_and_most_are_right():
    outcomes = {
        name: run_case(case) for name, case in node_cases().items() if name not in DIFFERENT_ON_PURPOSE
    }
    wrong = {name: o.detail for name, o in outcomes.items() if o.kind not in ("passed", "refused")}
    assert not wrong
    assert sum(o.kind == "passed" for o in outcomes.values()) >= 1400
