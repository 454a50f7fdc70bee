"""The process in which a driver is tested: ``python -m thalweg_conformance.child``, started by ``isolation``.

Reads one job from standard input and writes events to standard output, one JSON object a line, the moment
they happen: what is known survives the end of the process. What a driver prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from thalweg.api import Registry, ThalwegError

from thalweg_conformance.kernels import library_chooser
from thalweg_conformance.opt_outs import OptOuts
from thalweg_conformance.outcomes import Outcome, Verdict
from thalweg_conformance.report import Report, Result, result_of
from thalweg_conformance.rules import Rule
from thalweg_conformance.session import run_suite
from thalweg_conformance.settings import RunSettings, Watcher
from thalweg_conformance.subject import subjects_of


class EventWriter(Watcher):
    """Writes what it is told to the file descriptor ``stream``."""

    def __init__(self, stream: int):
        self._stream = stream
        self.opt_outs = OptOuts()

    def write(self, event: str, **fields: Any) -> None:
        """Write one event."""
        line = memoryview((json.dumps({"event": event, **fields}) + "\n").encode())
        while line:
            line = line[os.write(self._stream, line) :]

    def collected(self, rules: Sequence[Rule], decided: Mapping[str, Result]) -> None:
        """Write a result for each test: decided already, or what it has if it never gets to run."""
        blank = Verdict(Outcome.BLOCKED)
        tests = [decided.get(rule.id) or result_of(rule, blank, 0.0) for rule in rules]
        self.write("collected", tests=[test.as_dict() for test in tests], decided=list(decided))

    def device_made(self, description: Mapping[str, Any]) -> None:
        """Write what the device is."""
        self.write("device", description=dict(description))

    def kernels_chosen(self, origin: str) -> None:
        """Write where they come from."""
        self.write("kernels", origin=origin)

    def started(self, rule: Rule) -> None:
        """Write the result that the test has if the process ends now, but for the reason."""
        entry = self.opt_outs.find(rule)
        expected = entry is not None and entry.kind is Outcome.EXPECTED_FAILURE
        outcome = Outcome.EXPECTED_FAILURE if expected else Outcome.FAILED
        reason = entry.reason if entry is not None and expected else ""
        self.write("started", result=result_of(rule, Verdict(outcome, reason), 0.0).as_dict())

    def ended(self, result: Result) -> None:
        """Write the result."""
        self.write("ended", result=result.as_dict())

    def hung(self) -> NoReturn:
        """End this process: another one, without the hanging thread, goes on with the next test."""
        os._exit(0)

    def reported(self, report: Report) -> None:
        """Write the report, in which nothing is said of the end."""
        self.write("report", text=report.to_json())


def main() -> int:
    """Do one job: see ``isolation.run_driver``."""
    job = json.load(sys.stdin)
    writer = EventWriter(os.dup(1))
    os.dup2(2, 1)
    settings = RunSettings.from_dict(job["settings"])
    try:
        registry = Registry.from_environment()
        kernels = library_chooser(registry, settings.target)
        subjects = subjects_of(registry, job["driver"], kernels, job["device"])
        subject = subjects[job["index"]]
        writer.write("subject", uri=str(subject.uri), count=len(subjects))
        writer.opt_outs = subject.opt_outs
        run_suite(subject, settings, writer, job["settled"])
    except ThalwegError as error:
        writer.write("error", kind=type(error).__name__, message=str(error))
    writer.write("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
