"""The driver keeps the rules of the HAL: the whole suite, as one test."""

from __future__ import annotations

from thalweg_conformance import Level, Outcome, RunSettings, run_driver


def test_the_driver_conforms():
    (report,) = run_driver("example", RunSettings(level=Level.FULL))
    wrong = {r.id: r.reason for r in report.results if r.outcome in (Outcome.FAILED, Outcome.BLOCKED)}
    assert wrong == {}
    assert report.exit_status == 0
    assert report.device["uri"] == "example://0"
    assert report.device["capabilities"] == ["wait-idle"]
    refused = {result.capability for result in report.results if result.outcome is Outcome.REFUSED}
    assert refused == {"allocator-statistics", "host-addressable", "import-host", "prepared-calls"}
