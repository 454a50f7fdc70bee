"""Opt-outs: the tests that a plugin says it does not pass, for good or for now, each with a reason.

They ship inside the plugin, as the text of its ``conformance.toml``::

    [[not-applicable]]
    tests = "HAL-DSP-*"
    reason = "The device copies memory and runs nothing."

    [[expected-failure]]
    tests = "semaphore/ping_pong"
    reason = "Signals from the host reach the device late; being worked on."

A pattern matches a test's id (``HAL-SEM-4``) or its ``area/name``. What is not applicable does not run. What
is expected to fail runs, and must fail.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from thalweg.api import InvalidArgument

from thalweg_conformance.outcomes import Outcome, Verdict
from thalweg_conformance.rules import Rule

KINDS = {"not-applicable": Outcome.NOT_APPLICABLE, "expected-failure": Outcome.EXPECTED_FAILURE}


@dataclass(frozen=True)
class OptOut:
    """One entry: ``kind`` is ``NOT_APPLICABLE`` or ``EXPECTED_FAILURE``."""

    kind: Outcome
    pattern: str
    reason: str

    def matches(self, rule: Rule) -> bool:
        """Return whether the entry is about this test."""
        return fnmatchcase(rule.id, self.pattern) or fnmatchcase(rule.path, self.pattern)


@dataclass(frozen=True)
class OptOuts:
    """The entries of one plugin. ``owner`` is whose they are, for messages."""

    entries: tuple[OptOut, ...] = ()
    owner: str = "the plugin"

    @classmethod
    def parse(cls, text: str, owner: str) -> OptOuts:
        """Parse the text of a ``conformance.toml``.

        :raises InvalidArgument: it is not TOML, or an entry lacks its pattern or reason.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidArgument(f"conformance.toml of {owner} is not TOML: {error}") from None
        unknown = sorted(set(tables) - set(KINDS))
        if unknown:
            raise InvalidArgument(
                f"conformance.toml of {owner} has a table {unknown[0]!r}; it may have: {', '.join(KINDS)}"
            )
        entries = []
        for kind, items in tables.items():
            if not isinstance(items, list):
                raise InvalidArgument(
                    f"conformance.toml of {owner}: write [[{kind}]], a table for each entry"
                )
            entries.extend(_entry(kind, item, owner) for item in items)
        return cls(tuple(entries), owner)

    def check(self, rules: Iterable[Rule]) -> None:
        """Check the entries against all tests that there are.

        :raises InvalidArgument: an entry matches nothing, or two of different kinds match one test.
        """
        rules = list(rules)
        for entry in self.entries:
            if not any(entry.matches(rule) for rule in rules):
                raise InvalidArgument(
                    f"conformance.toml of {self.owner}: {entry.kind.value} {entry.pattern!r}"
                    " matches no test; remove it"
                )
        for rule in rules:
            kinds = {entry.kind for entry in self.entries if entry.matches(rule)}
            if len(kinds) > 1:
                raise InvalidArgument(
                    f"conformance.toml of {self.owner}: {rule.id} is both not-applicable and expected-failure"
                )

    def find(self, rule: Rule) -> OptOut | None:
        """Return the entry about ``rule``, if there is one."""
        return next((entry for entry in self.entries if entry.matches(rule)), None)


def apply_expected_failure(entry: OptOut, verdict: Verdict) -> Verdict:
    """Return the verdict of a test that is expected to fail: failing is expected, passing is a failure."""
    if verdict.outcome is Outcome.FAILED:
        return Verdict(Outcome.EXPECTED_FAILURE, f"{entry.reason} [{verdict.reason}]")
    if verdict.outcome in (Outcome.SUPPORTED, Outcome.REFUSED):
        return Verdict(
            Outcome.FAILED,
            f"expected to fail ({entry.reason}), but it came out {verdict.outcome.value};"
            f" remove the entry {entry.pattern!r} from conformance.toml",
        )
    return verdict


def _entry(kind: str, item: Any, owner: str) -> OptOut:
    well_formed = (
        isinstance(item, dict)
        and set(item) == {"tests", "reason"}
        and all(isinstance(value, str) and value.strip() for value in item.values())
    )
    if not well_formed:
        raise InvalidArgument(
            f"conformance.toml of {owner}: each [[{kind}]] has 'tests' (a pattern) and 'reason',"
            " and nothing else;"
            f" found {item!r}"
        )
    return OptOut(KINDS[kind], item["tests"], " ".join(item["reason"].split()))
