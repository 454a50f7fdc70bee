"""The table of outcomes, and what a run says where it cannot test."""

from __future__ import annotations

import pytest
from thalweg.api import InvalidArgument, NotSupported, Unavailable
from thalweg.hal.driver import Device
from thalweg_conformance import KernelLibrary, Outcome, RunSettings, run_suite
from thalweg_conformance.outcomes import Blocked, Hung, NotRun, classify

from .reference_driver import ReferenceDevice, kernel_library, subject


@pytest.mark.parametrize(
    ("capability", "declared", "error", "outcome", "reason"),
    [
        ("", False, None, Outcome.SUPPORTED, ""),
        ("x", True, None, Outcome.SUPPORTED, ""),
        ("x", True, AssertionError("came 1"), Outcome.FAILED, "came 1"),
        ("x", True, OSError("a\nb"), Outcome.FAILED, "OSError: a b"),
        ("x", True, NotSupported("x"), Outcome.FAILED, "capability 'x' is declared, but it was refused:"),
        ("", False, NotSupported("x"), Outcome.FAILED, "every driver must do this, but it was refused:"),
        ("x", False, NotSupported("x"), Outcome.REFUSED, "NotSupported: not supported: x"),
        (
            "x",
            False,
            NotSupported("y"),
            Outcome.FAILED,
            "declare capability 'x', or raise NotSupported('x');",
        ),
        ("x", False, None, Outcome.FAILED, "declare capability 'x', or raise NotSupported('x'); it is not"),
        (
            "x",
            False,
            OSError("b"),
            Outcome.FAILED,
            "declare capability 'x', or raise NotSupported('x'); it is",
        ),
        ("x", True, Hung("has not ended"), Outcome.FAILED, "has not ended"),
        ("x", False, Blocked("no device"), Outcome.BLOCKED, "no device"),
        ("x", False, NotRun("no kernel"), Outcome.NOT_RUN, "no kernel"),
    ],
)
def test_what_a_tests_end_means(
    capability: str, declared: bool, error: BaseException | None, outcome: Outcome, reason: str
):
    verdict = classify(capability, declared, error)
    assert verdict.outcome is outcome
    assert verdict.reason.startswith(reason) and bool(verdict.reason) == bool(reason)


def test_without_a_device_everything_that_needs_one_is_blocked():
    def unavailable() -> ReferenceDevice:
        raise Unavailable("the card is in use")

    report = run_suite(subject(unavailable))
    reasons = {result.reason for result in report.results if result.outcome is Outcome.BLOCKED}
    assert reasons == {"no device reference://: Unavailable: the card is in use"}
    assert report.result("HAL-DRV-11").outcome is Outcome.BLOCKED
    assert report.result("HAL-DRV-1").outcome is Outcome.SUPPORTED
    failed = {result.id for result in report.results if result.outcome is Outcome.FAILED}
    assert failed == {"HAL-DRV-2"}, "the driver lists a device that cannot be made"
    assert report.device["runs_on"] == "interpreter"


def test_without_kernels_the_tests_that_run_some_are_blocked():
    def none(device: Device) -> KernelLibrary:
        raise Blocked("the device runs none of the formats that the suite ships")

    report = run_suite(subject(kernels=none), RunSettings(pattern="HAL-DSP or HAL-XFR-4"))
    assert report.result("HAL-DSP-1").outcome is Outcome.BLOCKED
    assert report.result("HAL-DSP-1").reason.startswith("the device runs none of the formats")
    assert report.result("HAL-XFR-4").outcome is Outcome.SUPPORTED
    assert report.exit_status == 3


def test_a_kernel_that_an_executable_lacks_leaves_its_test_out():
    report = run_suite(
        subject(kernels=lambda device: kernel_library("absolute")),
        RunSettings(pattern="HAL-DSP-1 or HAL-DSP-2"),
    )
    assert report.result("HAL-DSP-1").outcome is Outcome.SUPPORTED
    result = report.result("HAL-DSP-2")
    assert result.outcome is Outcome.NOT_RUN
    assert result.reason == "the executable (the reference driver's own) has no kernel 'add': out = a + b"


def test_a_run_that_tests_nothing_does_not_pass():
    report = run_suite(
        subject(kernels=lambda device: kernel_library("absolute")),
        RunSettings(pattern="keeps_bindings_in_order"),
    )
    assert report.count(Outcome.SUPPORTED) == 1, "only the end"
    with pytest.raises(InvalidArgument, match="no test of level core matches 'HAL-QQQ'"):
        run_suite(subject(), RunSettings(pattern="HAL-QQQ"))
    with pytest.raises(InvalidArgument, match="the report has no test 'HAL-QQQ'"):
        report.result("HAL-QQQ")
