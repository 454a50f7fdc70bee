"""What a run asks for, and what it tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from thalweg_conformance.report import Report, Result
from thalweg_conformance.rules import Level, Rule

DEFAULT_TIME_LIMIT = 30.0
"""Seconds for one test."""


@dataclass(frozen=True)
class RunSettings:
    """What to run, and how.

    :ivar pattern: a pytest ``-k`` expression over ids, areas and names.
    :ivar target: the target backend that makes the kernels; empty: the plugin's own or shipped ones.
    :ivar seed: of the tests' random data.
    :ivar time_limit: seconds for one test.
    """

    level: Level = Level.CORE
    pattern: str = ""
    target: str = ""
    seed: int = 0
    time_limit: float = DEFAULT_TIME_LIMIT

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"level": self.level.label}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunSettings:
        """Return the settings that ``as_dict`` gave."""
        return cls(**{**data, "level": Level.named(data["level"])})


class Watcher:
    """Told what happens while the suite runs; each method may be overridden, and does nothing here."""

    def collected(self, rules: Sequence[Rule], decided: Mapping[str, Result]) -> None:
        """All tests there are, in their order; ``decided`` (by id) are those that do not run."""

    def device_made(self, description: Mapping[str, Any]) -> None:
        """The device under test is there."""

    def kernels_chosen(self, origin: str) -> None:
        """The executables that the device is tested with come from ``origin``."""

    def started(self, rule: Rule) -> None:
        """A test starts."""

    def ended(self, result: Result) -> None:
        """A test has ended."""

    def hung(self) -> None:
        """The test that ended last ran into the time limit, and its thread is still there."""

    def reported(self, report: Report) -> None:
        """Every test has ended; what is left is to close the device."""
