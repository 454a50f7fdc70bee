"""What a test of the suite says about itself: its rule's id, sentence, reference, level and capability.

The id, sentence and reference stand in the docstring::

    @rule(Level.CORE)
    def test_keeps_the_first_cause(bench):
        \"\"\"HAL-SEM-7: a second failure of a semaphore is ignored; the first cause stays.

        Reference: thalweg.hal.semaphore.Semaphore.fail.
        \"\"\"
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

_HEADING = re.compile(r"(?P<id>[A-Z]+-[A-Z]+-\d+): (?P<sentence>[^\n]+(?:\n[^\n]+)*)")
_REFERENCE = re.compile(r"Reference: (?P<reference>[^\n]+(?:\n[^\n]+)*)")


class Level(IntEnum):
    """How much a run asks for; each level holds the ones before it."""

    CORE = 1
    """What every driver needs before a program can run on it."""
    STANDARD = 2
    """What users of a driver rely on: threads, lifetimes, optional capabilities, odd sizes."""
    FULL = 3
    """Random sequences and loads."""

    @classmethod
    def named(cls, name: str) -> Level:
        """Return the level called ``core``, ``standard`` or ``full``."""
        return cls[name.upper()]

    @property
    def label(self) -> str:
        """The level's name on the command line and in reports."""
        return self.name.lower()


@dataclass(frozen=True)
class Rule:
    """One rule of the HAL, as one test checks it."""

    id: str
    name: str
    area: str
    sentence: str
    reference: str
    level: Level
    capability: str

    @property
    def path(self) -> str:
        """``area/name``: what an opt-out's pattern may match, beside the id."""
        return f"{self.area}/{self.name}"


def rule(level: Level = Level.CORE, capability: str = "") -> Callable[[Test], Test]:
    """Mark a test function with its level and the capability that it asks for (empty: none)."""

    def mark(test: Test) -> Test:
        test.thalweg_rule = (level, capability)  # type: ignore[attr-defined]
        return test

    return mark


def rule_of(test: Callable[..., Any], parameters: str = "") -> Rule:
    """Read the rule of a test function.

    :param parameters: what tells this instance of a parametrized test from the others.
    :raises ValueError: the docstring does not state the rule, or ``rule`` is missing.
    """
    where = f"{test.__module__}.{test.__name__}"
    text = inspect.getdoc(test) or ""
    heading, reference = _HEADING.match(text), _REFERENCE.search(text)
    if heading is None or reference is None or not hasattr(test, "thalweg_rule"):
        raise ValueError(
            f"{where}: say '@rule(…)', and 'HAL-AREA-N: sentence.' and 'Reference: …' in its docstring"
        )
    level, capability = test.thalweg_rule
    suffix = f":{parameters}" if parameters else ""
    return Rule(
        id=heading["id"] + suffix,
        name=test.__name__.removeprefix("test_") + suffix,
        area=inspect.getmodule(test).AREA,  # type: ignore[union-attr]
        sentence=" ".join(heading["sentence"].split()),
        reference=" ".join(reference["reference"].split()),
        level=level,
        capability=capability,
    )
