"""The reference driver passes every rule; each driver with a fault fails the rule that is there for it."""

from __future__ import annotations

import pytest
from thalweg_conformance import Level, Outcome, RunSettings, run_suite
from thalweg_conformance.session import END

from .mutants import FAULTS, Fault
from .reference_driver import subject

WRONG = (Outcome.FAILED, Outcome.BLOCKED)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_reference_driver_passes_every_rule(seed: int):
    report = run_suite(subject(), RunSettings(level=Level.FULL, seed=seed))
    wrong = {result.id: result.reason for result in report.results if result.outcome in WRONG}
    assert wrong == {}
    assert report.count(Outcome.NOT_RUN) == 0
    refused = [
        (result.id, result.capability) for result in report.results if result.outcome is Outcome.REFUSED
    ]
    assert refused == [("HAL-DSP-16", "prepared-calls")]
    assert report.exit_status == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.device.__name__)
def test_a_fault_is_caught_by_its_rule(fault: Fault):
    rule = fault.rule.partition(":")[0]
    pattern = "HAL-DRV" if rule == END.id else rule  # the end is judged after some other test
    settings = RunSettings(level=Level.STANDARD, pattern=pattern, time_limit=6)
    report = run_suite(subject(fault.device), settings)
    result = report.result(fault.rule)
    assert (result.outcome, result.area) == (Outcome.FAILED, fault.area), result
    assert result.reason and "\n" not in result.reason
    assert report.exit_status == 1


def test_every_area_has_a_fault_that_it_catches():
    report = run_suite(subject(), RunSettings(pattern="HAL-SEM-1"))
    assert {fault.area for fault in FAULTS} == {result.area for result in report.results}
