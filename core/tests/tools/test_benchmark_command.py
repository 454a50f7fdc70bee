"""``thalweg benchmark``: what it measures, and how it says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
from thalweg.module.program import TensorSignature
from thalweg.tools.benchmark_command import measure, random_inputs, statistics_ms


def test_json_is_one_object(thalweg, compiled):
    outcome = thalweg("benchmark", compiled, "--json", "--repetitions=20", "--warmup=1")
    assert outcome.status == 0
    report = json.loads(outcome.out)
    assert report["runs"] == 20
    assert (
        0
        < report["min_ms"]
        <= report["median_ms"]
        <= report["p90_ms"]
        <= report["p99_ms"]
        <= report["max_ms"]
    )
    assert (report["function"], report["device"], report["inputs"]) == ("main", "host", "random, seed 0")


def test_a_table_for_people(thalweg, compiled):
    outcome = thalweg("benchmark", compiled, "--min-time=0", "--input=4xf32=1")
    lines = outcome.out.splitlines()
    assert lines[0] == "@main on host: 10 calls, inputs given"
    assert [line.split()[0] for line in lines[1:]] == ["median", "p90", "p99", "min", "max", "mean"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--input=5xf32"], "expected 4 at dimension 0, got 5"),
        (["--repetitions=0"], "--warmup is at least 0 and --repetitions at least 1"),
        (["--function=f"], "the module has no function 'f'; it has: main"),
    ],
)
def test_mistakes(thalweg, compiled, arguments, message):
    outcome = thalweg("benchmark", compiled, *arguments)
    assert outcome.status == 1
    assert message in outcome.err


def test_calls_that_are_measured_and_calls_that_are_not():
    calls = []
    assert len(measure(lambda: calls.append(None), 3, 7, 0)) == 7
    assert len(calls) == 10
    assert len(measure(lambda: None, 0, None, 0.0, least=5)) == 5


def test_statistics_of_known_times():
    assert statistics_ms([value / 1e3 for value in range(1, 101)]) == pytest.approx(
        {"median_ms": 50.5, "p90_ms": 90, "p99_ms": 99, "min_ms": 1, "max_ms": 100, "mean_ms": 50.5}
    )
    assert statistics_ms([0.003])["p90_ms"] == pytest.approx(3)


def test_random_inputs_are_seeded_and_valid_as_indices():
    signatures = [TensorSignature("x", (3, 4), "bf16"), TensorSignature("ids", (100,), "i64")]
    first, again, other = (random_inputs(signatures, seed) for seed in (1, 1, 2))
    assert [array.dtype.name for array in first] == ["bfloat16", "int64"]
    assert set(first[1]) == {0, 1}
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
