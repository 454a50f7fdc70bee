"""Opt-outs: what does not apply does not run, what is expected to fail must, each entry has a meaning."""

from __future__ import annotations

import pytest
from thalweg.api import InvalidArgument
from thalweg_conformance import Level, Outcome, RunSettings, run_suite
from thalweg_conformance.opt_outs import OptOuts
from thalweg_conformance.report_formats import markdown

from .processor_mutants import FillsWithTheFirstByte, SkipsTheLastWorkgroup
from .reference_driver import ReferenceDevice, subject

STANDARD = RunSettings(level=Level.STANDARD, pattern="HAL-XFR-1 or HAL-DSP-13 or HAL-SEM-2")


def entry(kind: str, tests: str, reason: str = "Because of the hardware.") -> str:
    return f'[[{kind}]]\ntests = "{tests}"\nreason = """{reason}"""\n'


def test_what_does_not_apply_does_not_run_and_is_shown():
    ran = []

    class Recording(SkipsTheLastWorkgroup):
        def prepare_executable(self, record):
            ran.append(record.name)
            return super().prepare_executable(record)

    report = run_suite(subject(Recording, entry("not-applicable", "HAL-DSP-13")), STANDARD)
    result = report.result("HAL-DSP-13")
    assert (result.outcome, result.reason) == (Outcome.NOT_APPLICABLE, "Because of the hardware.")
    assert report.exit_status == 0
    assert "Because of the hardware." in markdown(report)
    assert ran == []


def test_an_expected_failure_runs_and_says_both_reasons():
    opt_outs = entry("expected-failure", "transfer/fills_a_buffer:*-byte", "Fills are\n  being worked on.")
    report = run_suite(subject(FillsWithTheFirstByte, opt_outs), RunSettings(pattern="HAL-XFR-1"))
    result = report.result("HAL-XFR-1:4-byte")
    assert result.outcome is Outcome.EXPECTED_FAILURE
    assert result.reason.startswith("Fills are being worked on. [queue_fill of 1024 bytes with")
    passing = report.result("HAL-XFR-1:1-byte")
    assert passing.outcome is Outcome.FAILED, "fills of one byte work: the entry is too wide"


def test_an_expected_failure_that_passes_is_a_failure():
    report = run_suite(subject(ReferenceDevice, entry("expected-failure", "HAL-SEM-2")), STANDARD)
    result = report.result("HAL-SEM-2")
    assert result.outcome is Outcome.FAILED
    assert result.reason == (
        "expected to fail (Because of the hardware.), but it came out supported;"
        " remove the entry 'HAL-SEM-2' from conformance.toml"
    )
    assert report.exit_status == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            entry("not-applicable", "HAL-XYZ-1"),
            "conformance.toml of reference 1.0: not-applicable 'HAL-XYZ-1' matches no test; remove it",
        ),
        (
            entry("not-applicable", "HAL-SEM-*") + entry("expected-failure", "HAL-SEM-2"),
            "conformance.toml of reference 1.0: HAL-SEM-2 is both not-applicable and expected-failure",
        ),
    ],
)
def test_entries_that_do_not_fit_the_tests_stop_the_run(text: str, message: str):
    with pytest.raises(InvalidArgument) as caught:
        run_suite(subject(ReferenceDevice, text), STANDARD)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[[not-applicable]", "is not TOML"),
        (
            '[[wont-fix]]\ntests = "*"',
            "has a table 'wont-fix'; it may have: not-applicable, expected-failure",
        ),
        ('[not-applicable]\ntests = "*"', "write [[not-applicable]], a table for each entry"),
        ('[[not-applicable]]\ntests = "*"', "and 'reason', and nothing else"),
        ('[[not-applicable]]\ntests = "*"\nreason = " "', "and 'reason', and nothing else"),
        ('[[not-applicable]]\ntests = "*"\nreason = "x"\nuntil = "May"', "and nothing else"),
    ],
)
def test_a_malformed_file_is_refused_naming_its_owner(text: str, part: str):
    with pytest.raises(InvalidArgument) as caught:
        OptOuts.parse(text, "a-driver 1.0")
    assert part in str(caught.value)
    assert "conformance.toml of a-driver 1.0" in str(caught.value)


def test_the_end_can_be_opted_out_of():
    report = run_suite(subject(ReferenceDevice, entry("not-applicable", "HAL-DRV-11")), STANDARD)
    assert report.result("HAL-DRV-11").outcome is Outcome.NOT_APPLICABLE
