"""What may come of one test, and the table that says which.

=========  =====================  ====================================================
declared   the test               outcome
=========  =====================  ====================================================
yes        passes                 supported
yes        fails                  **failed**
no         raises NotSupported    refused, correct
no         anything else          **failed**: declare it, or refuse it properly
=========  =====================  ====================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thalweg.api import NotSupported


class Outcome(Enum):
    """What came of one test; the value is its name in reports."""

    SUPPORTED = "supported"
    REFUSED = "refused"
    EXPECTED_FAILURE = "expected-failure"
    NOT_APPLICABLE = "not-applicable"
    FAILED = "failed"
    BLOCKED = "blocked"
    """It could not run: the device could not be made, or nothing holds the kernels that it needs."""
    NOT_RUN = "not-run"
    """It was not selected (level, ``-k``), the session ended before it, or no kernel can express it."""


@dataclass(frozen=True)
class Verdict:
    """An outcome and why, in one line."""

    outcome: Outcome
    reason: str = ""


class NotRun(Exception):
    """Raised by a fixture: this test cannot say anything here; the text says why."""


class Blocked(Exception):
    """Raised by a fixture: something that the test needs is broken or absent; the text says what."""


class Hung(Exception):
    """A test that ran into the time limit."""


def classify(capability: str, declared: bool, error: BaseException | None) -> Verdict:
    """Return what a test's end means.

    :param capability: what the test asks for; empty for what every driver must do.
    :param declared: whether the device declares it.
    :param error: what the test raised; ``None`` if it passed.
    """
    if isinstance(error, NotRun):
        return Verdict(Outcome.NOT_RUN, one_line(error))
    if isinstance(error, Blocked):
        return Verdict(Outcome.BLOCKED, one_line(error))
    if not capability or declared:
        return _judge_declared(capability, error)
    return _judge_undeclared(capability, error)


def _judge_declared(capability: str, error: BaseException | None) -> Verdict:
    if error is None:
        return Verdict(Outcome.SUPPORTED)
    if isinstance(error, NotSupported):
        what = f"capability {capability!r} is declared" if capability else "every driver must do this"
        return Verdict(Outcome.FAILED, f"{what}, but it was refused: {one_line(error)}")
    return Verdict(Outcome.FAILED, one_line(error))


def _judge_undeclared(capability: str, error: BaseException | None) -> Verdict:
    advice = f"declare capability {capability!r}, or raise NotSupported({capability!r})"
    if isinstance(error, NotSupported):
        if error.capability == capability:
            return Verdict(Outcome.REFUSED, one_line(error))
        return Verdict(Outcome.FAILED, f"{advice}; it was refused, but as NotSupported({error.capability!r})")
    if error is None:
        return Verdict(Outcome.FAILED, f"{advice}; it is not declared, yet it works")
    return Verdict(Outcome.FAILED, f"{advice}; it is not declared, and failed otherwise: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """Return what ``error`` says in one line; the type's name too, unless it is the suite's own."""
    text = " ".join(str(error).split())
    if isinstance(error, AssertionError | NotRun | Blocked | Hung):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
