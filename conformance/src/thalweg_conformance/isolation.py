"""Run the suite against a driver in processes of its own: what it does to one costs one test.

A driver that ends the process (a segmentation fault in a vendor library), or hangs while it holds the
interpreter lock, fails the test that was running; another process goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from thalweg.api import InvalidArgument, PluginError, ThalwegError, Unavailable, UnknownName

from thalweg_conformance.child_process import ChildProcess
from thalweg_conformance.outcomes import Outcome, Verdict
from thalweg_conformance.report import Report, Result, result_of
from thalweg_conformance.session import END
from thalweg_conformance.settings import RunSettings

ERRORS: dict[str, type[ThalwegError]] = {
    kind.__name__: kind for kind in (InvalidArgument, PluginError, Unavailable, UnknownName)
}
"""Name → error, of those that a process hands on."""

START_LIMIT = 300.0
"""Seconds for the imports of a process, and for a target backend to compile the kernels."""

GIVE_UP_AFTER = 5
"""How many processes in a row may be lost with no test passing in between."""


def run_driver(
    driver: str,
    settings: RunSettings = RunSettings(),
    device: str = "",
    on_start: Callable[[str], object] = lambda uri: None,
    on_result: Callable[[Result], object] = lambda result: None,
) -> list[Report]:
    """Run the suite against the installed driver called ``driver``; returns a report for each device tested.

    :param device: the URI of one device; empty: those of the driver's conformance profile.
    :param on_start: called with each device's URI. :param on_result: called after each test.
    :raises UnknownName: no such driver. :raises InvalidArgument: the device, the opt-outs or the pattern.
    :raises PluginError: the driver ends the process before the first test.
    """
    reports: list[Report] = []
    count = 1
    while len(reports) < count:
        job = {"driver": driver, "device": device, "settings": settings.as_dict(), "index": len(reports)}
        run = _DeviceRun(job, settings, on_start, on_result)
        reports.append(run.to_the_end())
        count = run.device_count
    return reports


@dataclass
class _DeviceRun:
    """One device's run, over as many processes as it takes.

    :ivar tests: id → what is known of each test, in their order; those of ``settled`` are final.
    :ivar running: the result that the running test has if its process ends now, but for the reason.
    :ivar lost: how many processes in a row ended, or were left, before their tests had.
    """

    job: dict[str, Any]
    settings: RunSettings
    on_start: Callable[[str], object]
    on_result: Callable[[Result], object]
    uri: str = ""
    device_count: int = 1
    tests: dict[str, Result] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    running: Result | None = None
    last: str = ""
    device: dict[str, Any] = field(default_factory=dict)
    kernels: str = ""
    report: Report | None = None
    lost: int = 0

    def to_the_end(self) -> Report:
        """Run processes until every test is settled and one of them has given its report."""
        seconds = 0.0
        while self.report is None or END.id not in self.settled:
            self._run_process()
            seconds += self.report.seconds if self.report is not None else 0.0
            if self.lost >= GIVE_UP_AFTER:
                self._give_up()
        return replace(
            self.report,
            device=self.device or self.report.device,
            kernels=self.kernels or self.report.kernels,
            results=tuple(self.tests.values()),
            seconds=round(seconds, 3),
        )

    def _run_process(self) -> None:
        self.running, self.last = None, ""
        with ChildProcess({**self.job, "settled": sorted(self.settled)}) as child:
            while (event := child.next_event(self._patience())) and event["event"] != "done":
                self._take(event)
            end = child.end(self.settings.time_limit)
        self._account_for(end)

    def _patience(self) -> float:
        """Return the seconds in which the next event should come."""
        if self.running is None or (self.settings.target and not self.kernels):
            return START_LIMIT
        return 2 * self.settings.time_limit + 5  # one for the device, one for the test

    def _take(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "error":
                raise ERRORS.get(event["kind"], InvalidArgument)(event["message"])
            case "subject":
                self.device_count = event["count"]
                if not self.uri:
                    self.uri = event["uri"]
                    self.on_start(self.uri)
            case "collected":
                if not self.tests:
                    self.tests = {test["id"]: Result.from_dict(test) for test in event["tests"]}
                    self.settled = set(event["decided"])
            case "device":
                self.device = event["description"]
            case "kernels":
                self.kernels = event["origin"]
            case "started":
                self.running = Result.from_dict(event["result"])
            case "ended":
                self._settle(Result.from_dict(event["result"]))
            case "report":
                self.report = Report.from_json(event["text"], "the process's report")

    def _account_for(self, end: str) -> None:
        """Say of some test how its process ended, unless that is as it should be."""
        if not self.tests:
            raise PluginError(
                f"HAL driver {self.job['driver']!r}: {end or 'the process ended'} before the first test"
            )
        if self.running is not None:
            reason = f"{end or 'the process ended with exit status 0'} during this test"
            expected = f"{self.running.reason} [{reason}]" if self.running.reason else reason
            self._settle(replace(self.running, reason=expected))
        elif end and self.report is not None:
            verdict = Verdict(Outcome.FAILED, f"{end} after the last test")
            self._settle(result_of(END, verdict, 0.0))
        elif end and self.last:
            reason = f"{end} after this test"
            self._settle(replace(self.tests[self.last], outcome=Outcome.FAILED, reason=reason))
        elif end:
            raise PluginError(f"HAL driver {self.job['driver']!r}: {end} before a test")
        if self.report is None:
            self.lost += 1

    def _settle(self, result: Result) -> None:
        self.running, self.last = None, result.id
        self.tests[result.id] = result
        self.settled.add(result.id)
        if result.outcome is Outcome.SUPPORTED:
            self.lost = 0
        self.on_result(result)

    def _give_up(self) -> None:
        """Settle what is left as blocked."""
        reason = f"not tried: {self.lost} processes in a row were lost to this driver"
        for id, test in self.tests.items():
            if id not in self.settled:
                self._settle(replace(test, outcome=Outcome.BLOCKED, reason=reason))
        self.lost = 0
