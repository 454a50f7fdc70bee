"""Semaphores by themselves: values, waiting, failure, and all that across threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from thalweg.api import Aborted, DeadlineExceeded, InvalidArgument
from thalweg.hal.semaphore import Semaphore

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import equal, holds, raises
from thalweg_conformance.rules import Level, rule

AREA = "semaphore"


class _Cause(Exception):
    """A failure's cause that no driver makes."""


@pytest.mark.parametrize("value", [0, 1, 123, (1 << 62) + 1])
@rule()
def test_starts_at_its_value(bench: Bench, value: int) -> None:
    """HAL-SEM-1: a semaphore starts at its initial value, 64 bits wide.

    Reference: thalweg.hal.driver.Device.create_semaphore; IREE CTS core/semaphore NoOp.
    """
    equal(bench.semaphore(value).query(), value, f"create_semaphore({value}).query()")


@rule()
def test_advances(bench: Bench) -> None:
    """HAL-SEM-2: signaling advances the timeline, by any amount.

    Reference: thalweg.hal.semaphore.Semaphore.signal; IREE CTS core/semaphore NormalSignaling.
    """
    semaphore = bench.semaphore(2)
    for value in (3, 40, 1 << 40):
        semaphore.signal(value)
        equal(semaphore.query(), value, f"query() after signal({value})")


@rule()
def test_never_goes_back(bench: Bench) -> None:
    """HAL-SEM-3: signaling a value that is not greater than the current one raises InvalidArgument.

    Reference: thalweg.hal.semaphore.Semaphore.signal.
    """
    semaphore = bench.semaphore(7)
    for value in (7, 6, 0):
        with raises(InvalidArgument, f"signal({value}) of a semaphore at 7"):
            semaphore.signal(value)
    equal(semaphore.query(), 7, "query() after refused signals")


@rule()
def test_wait_for_the_past_returns(bench: Bench) -> None:
    """HAL-SEM-4: waiting for a value that has been reached returns at once.

    Reference: thalweg.hal.semaphore.Semaphore.wait; IREE CTS core/semaphore WaitAlreadySignaled.
    """
    semaphore = bench.semaphore(5)
    for value in (0, 4, 5):
        semaphore.wait(value, 0)
    semaphore.wait(5)


@rule()
def test_wait_runs_out(bench: Bench) -> None:
    """HAL-SEM-5: a wait with a timeout raises DeadlineExceeded when that has passed, not before; 0 polls.

    Reference: thalweg.hal.semaphore.Semaphore.wait; IREE CTS core/semaphore_thread WaitForFiniteTime.
    """
    semaphore = bench.semaphore()
    for timeout in (0, 0.05):
        started = time.monotonic()
        with raises(DeadlineExceeded, f"wait(1, {timeout}) of a semaphore at 0"):
            semaphore.wait(1, timeout)
        took = time.monotonic() - started
        holds(took >= timeout * 0.9, took, f"{timeout} s or more", f"seconds that wait(1, {timeout}) took")


@rule()
def test_failure_sticks(bench: Bench) -> None:
    """HAL-SEM-6: after a failure, query, wait and signal raise Aborted, with the cause and its message.

    Reference: thalweg.hal.semaphore.Semaphore.fail; IREE CTS core/semaphore FailThenWait.
    """
    semaphore, cause = bench.semaphore(3), _Cause("the river ran dry")
    semaphore.fail(cause)
    calls: dict[str, Callable[[], object]] = {
        "query()": semaphore.query,
        "wait(1)": lambda: semaphore.wait(1, 0),
        "wait(9)": lambda: semaphore.wait(9, bench.limit),
        "signal(9)": lambda: semaphore.signal(9),
    }
    for asked, call in calls.items():
        with raises(Aborted, f"{asked} of a failed semaphore") as caught:
            call()
        _check_cause(caught[0], cause, f"{asked} of a failed semaphore")


@rule()
def test_keeps_the_first_cause(bench: Bench) -> None:
    """HAL-SEM-7: a second failure is ignored; the first cause stays.

    Reference: thalweg.hal.semaphore.Semaphore.fail; IREE CTS core/semaphore DoubleFailurePreservesFirst.
    """
    semaphore, first = bench.semaphore(), _Cause("the first cause")
    semaphore.fail(first)
    semaphore.fail(_Cause("the second cause"))
    with raises(Aborted, "query() of a semaphore that failed twice") as caught:
        semaphore.query()
    _check_cause(caught[0], first, "query() of a semaphore that failed twice")


@rule(Level.STANDARD)
def test_refuses_values_outside(bench: Bench) -> None:
    """HAL-SEM-8: a negative initial value, or one past the largest, raises InvalidArgument.

    Reference: thalweg.hal.semaphore.MAXIMUM_VALUE.
    """
    for value in (-1, 1 << 64):
        with raises(InvalidArgument, f"create_semaphore({value})"):
            bench.semaphore(value)


@rule()
def test_wakes_a_waiting_thread(bench: Bench) -> None:
    """HAL-SEM-9: a thread that waits is woken when another signals the value, or one beyond it.

    Reference: IREE CTS core/semaphore_thread WaitLaterSignaledBeyond.
    """
    for value in (2, 9):
        semaphore = bench.semaphore(1)
        waiter = _Waiter(semaphore, 2, bench.limit)
        semaphore.signal(value)
        equal(waiter.end(), None, f"wait(2) on another thread, signaled to {value}: what it raised")


@rule()
def test_wakes_all_waiting_threads(bench: Bench) -> None:
    """HAL-SEM-10: all threads that wait for one value, or for different ones, are woken by a signal past
    them.

    Reference: IREE CTS core/semaphore_thread WaitOnTheSameValueMultipleTimes.
    """
    semaphore = bench.semaphore()
    waiters = [_Waiter(semaphore, value, bench.limit) for value in (1, 1, 2, 3)]
    semaphore.signal(3)
    for waiter in waiters:
        equal(waiter.end(), None, f"wait({waiter.value}) on another thread, signaled to 3: what it raised")


@rule()
def test_failure_wakes_waiting_threads(bench: Bench) -> None:
    """HAL-SEM-11: a failure wakes the threads that wait; they raise Aborted with the cause.

    Reference: IREE CTS core/semaphore_thread WaitThenFail.
    """
    semaphore, cause = bench.semaphore(), _Cause("failed while they waited")
    waiters = [_Waiter(semaphore, value, bench.limit) for value in (1, 5)]
    semaphore.fail(cause)
    for waiter in waiters:
        asked = f"wait({waiter.value}) on another thread, failed meanwhile"
        error = waiter.end()
        holds(isinstance(error, Aborted), error, "Aborted", asked)
        _check_cause(error, cause, asked)


@rule()
def test_plays_ping_pong(bench: Bench) -> None:
    """HAL-SEM-12: two threads that wait for and signal each other's semaphores take turns.

    Reference: IREE CTS core/semaphore_thread PingPong.
    """
    ping, pong, rounds, limit = bench.semaphore(), bench.semaphore(), 50, bench.limit
    heard: list[int] = []

    def answer() -> None:
        for value in range(1, rounds + 1):
            ping.wait(value, limit)
            heard.append(value)
            pong.signal(value)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    for value in range(1, rounds + 1):
        ping.signal(value)
        bench.reach(pong, value, f"the answer to ping {value}")
        equal(len(heard), value, f"pings heard after pong {value}")
    thread.join(limit)


def _check_cause(error: BaseException | None, cause: _Cause, asked: str) -> None:
    holds(str(cause) in str(error), str(error), f"a message that holds {str(cause)!r}", asked)
    assert error is not None
    holds(error.__cause__ is cause, error.__cause__, f"{cause!r} itself", f"{asked}: __cause__")


class _Waiter:
    """A thread that waits for ``value``; that it sleeps by the time the test goes on is not required."""

    def __init__(self, semaphore: Semaphore, value: int, limit: float):
        self.value = value
        self._limit = limit
        self._raised: BaseException | None = None
        started = threading.Event()

        def wait() -> None:
            started.set()
            try:
                semaphore.wait(value, limit)
            except BaseException as error:  # the test's own thread looks at it
                self._raised = error

        self._thread = threading.Thread(target=wait, daemon=True)
        self._thread.start()
        started.wait(limit)

    def end(self) -> BaseException | None:
        """Return what the wait raised, once it has ended."""
        self._thread.join(self._limit * 1.5)
        holds(not self._thread.is_alive(), "still waiting", "woken", f"wait({self.value}) on another thread")
        return self._raised
