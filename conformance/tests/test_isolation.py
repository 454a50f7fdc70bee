"""A driver that crashes, hangs or leaves costs the test it does it in, and is reported as having done it."""

from __future__ import annotations

from pathlib import Path

import pytest
from thalweg.api import InvalidArgument, PluginError, UnknownName
from thalweg_conformance import Outcome, Report, RunSettings, run_driver
from thalweg_conformance.child_process import describe_status
from thalweg_conformance.command_line import main
from thalweg_conformance.isolation import GIVE_UP_AFTER

CULPRIT = "HAL-XFR-3"
AFTER = "HAL-XFR-4"
END = "HAL-DRV-11"


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes that the suite starts find ``misbehaving_plugin``."""
    monkeypatch.setenv("THALWEG_PLUGINS", "misbehaving_plugin")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def run(driver: str, pattern: str = "HAL-XFR-3 or HAL-XFR-4", time_limit: float = 30) -> Report:
    (report,) = run_driver(driver, RunSettings(pattern=pattern, time_limit=time_limit))
    return report


@pytest.mark.parametrize(
    ("driver", "time_limit", "reason"),
    [
        ("crashes", 30, "the process ended with SIGSEGV (segmentation fault) during this test"),
        ("leaves", 30, "the process ended with exit status 7 during this test"),
        ("hangs", 3, "HAL-XFR-3 has not ended after 3 s"),
        (
            "hangs-with-the-lock",
            3,
            "nothing was heard of the process for 11 s (it was ended) during this test",
        ),
    ],
)
def test_the_test_that_was_running_fails_and_the_next_one_runs(driver: str, time_limit: float, reason: str):
    report = run(driver, time_limit=time_limit)
    culprit = report.result(CULPRIT)
    assert (culprit.outcome, culprit.area, culprit.reason) == (Outcome.FAILED, "transfer", reason)
    assert report.result(AFTER).outcome is Outcome.SUPPORTED
    assert report.result(END).outcome is Outcome.SUPPORTED
    assert report.totals == {"supported": 2, "failed": 1, "not-run": len(report.results) - 3}
    assert report.exit_status == 1
    assert report.device["identifier"] == f"{driver}://"


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        ("crashes-at-close", "the process ended with SIGSEGV (segmentation fault) during this test"),
        ("hangs-at-close", "closing the device has not ended after 3 s"),
        ("lingers", "the process had not ended after 3 s (it was ended) after the last test"),
    ],
)
def test_the_end_is_a_test_too(driver: str, reason: str):
    report = run(driver, "HAL-XFR-4", time_limit=3)
    assert report.result(AFTER).outcome is Outcome.SUPPORTED
    end = report.result(END)
    assert (end.outcome, end.area, end.reason) == (Outcome.FAILED, "driver", reason)
    assert report.exit_status == 1


def test_a_crash_may_be_an_expected_failure():
    report = run("crashes-as-expected")
    culprit = report.result(CULPRIT)
    assert culprit.outcome is Outcome.EXPECTED_FAILURE
    assert culprit.reason.startswith(
        "The vendor's library does not survive odd fills. [the process ended with"
    )
    assert report.exit_status == 0


def test_a_run_gives_up_on_a_driver_that_crashes_every_time():
    report = run("crashes-always", "HAL-SEM")
    failed = [result for result in report.results if result.outcome is Outcome.FAILED]
    blocked = [result for result in report.results if result.outcome is Outcome.BLOCKED]
    assert len(failed) == GIVE_UP_AFTER
    assert blocked and {result.reason for result in blocked} == {
        f"not tried: {GIVE_UP_AFTER} processes in a row were lost to this driver"
    }
    assert {result.area for result in failed} == {"semaphore"}
    assert report.exit_status == 1


def test_a_driver_that_crashes_before_the_first_test_is_one_line(capfd: pytest.CaptureFixture[str]):
    assert main(["run", "--driver", "crashes-at-start"]) == 2
    assert capfd.readouterr().err.splitlines()[-1] == (
        "thalweg-conformance: error: HAL driver 'crashes-at-start': the process ended with SIGSEGV"
        " (segmentation fault) before the first test"
    )
    with pytest.raises(PluginError, match="before the first test"):
        run("crashes-at-start")


def test_what_is_wrong_with_the_question_is_said_before_any_test():
    with pytest.raises(UnknownName, match="no HAL driver named 'crash'; installed: "):
        run("crash")
    with pytest.raises(InvalidArgument, match="no test of level core matches 'no_such_test'"):
        run("crashes", "no_such_test")


def test_an_exit_status_is_said_in_words():
    assert describe_status(0) == ""
    assert describe_status(3) == "the process ended with exit status 3"
    assert describe_status(-6) == "the process ended with SIGABRT (aborted)"
