"""ONNX's node cases: what the importer takes must compute right, and what it refuses must be named."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from thalweg_input_onnx.node_cases import DIFFERENT_ON_PURPOSE, compiled_for, node_cases, op_of, run_case

SEED = 20261121
COMPILED = 60
"""How many of the sampled cases are compiled and run too, beside being evaluated."""


def sampled_names() -> list[str]:
    """One seeded case of every op, and 200 from all."""
    by_op = defaultdict(list)
    for name, case in node_cases().items():
        if name not in DIFFERENT_ON_PURPOSE:
            by_op[op_of(case)].append(name)
    chooser = random.Random(SEED)
    chosen = {chooser.choice(names) for _, names in sorted(by_op.items())}
    everything = sorted(name for names in by_op.values() for name in names)
    return sorted(chosen | set(chooser.sample(everything, 200)))


def refused_by_name(detail: str) -> bool:
    """Whether a refusal says which node, input or type it is about."""
    return any(words in detail for words in ("node '", "not a tensor", "element type"))


@pytest.mark.parametrize("name", sampled_names())
def test_sampled_case_is_right_or_refused_by_name(name):
    outcome = run_case(node_cases()[name])
    assert outcome.kind in ("passed", "refused"), f"seed {SEED}: {outcome.detail}"
    assert outcome.kind == "passed" or refused_by_name(outcome.detail), outcome.detail


@pytest.mark.parametrize("name", sorted(random.Random(SEED).sample(sampled_names(), COMPILED)))
def test_sampled_case_is_right_when_compiled_for_vmvx(name):
    outcome = run_case(node_cases()[name], compiled_for("vmvx"))
    assert outcome.kind in ("passed", "refused"), f"seed {SEED}: {outcome.detail}"


@pytest.mark.full
@pytest.mark.parametrize("target", ["", "vmvx"])
def test_every_case_is_right_or_refused_by_name_and_most_are_right(target):
    run = {"run": compiled_for(target)} if target else {}
    outcomes = {
        name: run_case(case, **run) for name, case in node_cases().items() if name not in DIFFERENT_ON_PURPOSE
    }
    wrong = {name: o.detail for name, o in outcomes.items() if o.kind not in ("passed", "refused")}
    assert not wrong
    unnamed = {
        n: o.detail for n, o in outcomes.items() if o.kind == "refused" and not refused_by_name(o.detail)
    }
    assert not unnamed
    assert Counter(o.kind for o in outcomes.values())["passed"] >= 1455
