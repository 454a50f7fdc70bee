"""What a run found, as data; ``report.json`` is this, and the other forms are made from it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.api import InvalidArgument

from thalweg_conformance.outcomes import Outcome, Verdict
from thalweg_conformance.rules import Rule

REPORT_VERSION = 1


@dataclass(frozen=True)
class Result:
    """What came of one test."""

    id: str
    name: str
    area: str
    capability: str
    level: str
    rule: str
    reference: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: an entry of ``tests`` in ``report.json``."""
        return dataclasses.asdict(self) | {"outcome": self.outcome.value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Return the result that ``as_dict`` gave."""
        return cls(**{**data, "outcome": Outcome(data["outcome"])})


def result_of(rule: Rule, verdict: Verdict, seconds: float) -> Result:
    """Return what came of one rule's test."""
    return Result(
        id=rule.id,
        name=rule.name,
        area=rule.area,
        capability=rule.capability,
        level=rule.level.label,
        rule=rule.sentence,
        reference=rule.reference,
        outcome=verdict.outcome,
        reason=verdict.reason,
        seconds=seconds,
    )


@dataclass(frozen=True)
class Report:
    """One run of the suite against one device.

    ``plugin``: driver, distribution, version. ``device``: URI, name, capabilities and ``runs_on``
    (``hardware``, ``software device``, ``interpreter``, or ``not stated``). ``machine``: system, processor,
    Python.
    """

    suite_version: str
    thalweg_version: str
    api_version: tuple[int, int]
    level: str
    seed: int
    plugin: Mapping[str, str]
    device: Mapping[str, Any]
    machine: Mapping[str, Any]
    kernels: str
    target: str
    results: tuple[Result, ...]
    seconds: float = 0.0
    version: int = field(default=REPORT_VERSION)

    def count(self, outcome: Outcome) -> int:
        """Return how many tests came out so."""
        return sum(result.outcome is outcome for result in self.results)

    @property
    def totals(self) -> dict[str, int]:
        """Outcome → count, for those that occur."""
        return {outcome.value: self.count(outcome) for outcome in Outcome if self.count(outcome)}

    @property
    def exit_status(self) -> int:
        """0: nothing failed or was blocked. 1: a test failed. 3: none failed, but some could not run."""
        if self.count(Outcome.FAILED):
            return 1
        passed = self.count(Outcome.SUPPORTED)
        return 3 if self.count(Outcome.BLOCKED) or not passed else 0

    def result(self, id: str) -> Result:
        """Return the result of the test with this id."""
        for result in self.results:
            if result.id == id:
                return result
        raise InvalidArgument(f"the report has no test {id!r}")

    def to_json(self) -> str:
        """Return the text of ``report.json``."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "results"}
        tests = [result.as_dict() for result in self.results]
        return (
            json.dumps({**fields, "totals": self.totals, "tests": tests}, indent=1, ensure_ascii=False) + "\n"
        )

    @classmethod
    def from_json(cls, text: str, origin: str) -> Report:
        """Read the text of a ``report.json``.

        :raises InvalidArgument: it is not one, or of another version.
        """
        try:
            data = json.loads(text)
            if data["version"] != REPORT_VERSION:
                raise InvalidArgument(
                    f"{origin} is a report of version {data['version']}; this suite reads {REPORT_VERSION}"
                )
            results = tuple(Result.from_dict(test) for test in data.pop("tests"))
            del data["totals"]
            return cls(**data | {"results": results, "api_version": tuple(data["api_version"])})
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InvalidArgument):
                raise
            raise InvalidArgument(f"{origin} is not a report of this suite: {error}") from None

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read ``path``: a ``report.json``, or the folder that holds one."""
        file = path / "report.json" if path.is_dir() else path
        try:
            return cls.from_json(file.read_text("utf-8"), str(file))
        except OSError as error:
            raise InvalidArgument(f"cannot read report {file}: {error.strerror}") from None


def worst_exit_status(reports: Iterable[Report]) -> int:
    """Return the exit status of several reports: a failure outweighs what could not run."""
    found = {report.exit_status for report in reports}
    return 1 if 1 in found else max(found, default=0)
