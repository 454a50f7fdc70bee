"""Devices run the backend's kernels by the rules of the HAL: the conformance suite, as one test."""

from __future__ import annotations

from thalweg_conformance import Level, Outcome, RunSettings, run_driver


def test_devices_run_the_backend_s_kernels():
    (report,) = run_driver("local-sync", RunSettings(level=Level.FULL, target="example"))
    wrong = {r.id: r.reason for r in report.results if r.outcome in (Outcome.FAILED, Outcome.BLOCKED)}
    assert wrong == {}
    assert report.kernels == "thalweg-example-1, by target backend 'example'"
    assert report.result("HAL-DSP-1").outcome is Outcome.SUPPORTED
