"""A timeline semaphore in plain Python, for devices without one of their own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from thalweg.errors import Aborted, DeadlineExceeded, InvalidArgument
from thalweg.hal.semaphore import Semaphore, check_value

Timepoint = Callable[[BaseException | None], None]
"""Called once: with ``None`` when the value is reached, with the cause when the semaphore fails first."""


class HostSemaphore(Semaphore):
    """A timeline over a lock and a condition. Thread-safe.

    It belongs to the process that made it: in a forked child, whose copies of the signalling threads do not
    exist, every operation raises ``Aborted``.
    """

    def __init__(self, initial_value: int = 0):
        self._value = check_value(initial_value)
        self._process = os.getpid()
        self._cause: BaseException | None = None
        self._condition = threading.Condition()
        self._timepoints: list[tuple[int, Timepoint]] = []

    def query(self) -> int:
        """Return the current value; see ``Semaphore.query``."""
        self._raise_if_forked()
        with self._condition:
            self._raise_if_failed()
            return self._value

    def signal(self, value: int) -> None:
        """Advance to ``value``; runs the timepoints that it reaches, on this thread."""
        check_value(value)
        self._raise_if_forked()
        with self._condition:
            self._raise_if_failed()
            if value <= self._value:
                raise InvalidArgument(f"semaphore signaled to {value} but it is at {self._value} already")
            self._value = value
            reached = [call for target, call in self._timepoints if target <= value]
            self._timepoints = [point for point in self._timepoints if point[0] > value]
            self._condition.notify_all()
        for call in reached:
            call(None)

    def fail(self, cause: BaseException) -> None:
        """Fail for good; see ``Semaphore.fail``."""
        self._raise_if_forked()
        with self._condition:
            if self._cause is not None:
                return
            self._cause = cause
            waiting, self._timepoints = self._timepoints, []
            self._condition.notify_all()
        for _, call in waiting:
            call(cause)

    def wait(self, value: int, timeout: float | None = None) -> None:
        """Wait for ``value``; see ``Semaphore.wait``."""
        check_value(value)
        self._raise_if_forked()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while True:
                self._raise_if_failed()
                if self._value >= value:
                    return
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    raise DeadlineExceeded(
                        f"semaphore is at {self._value} after {timeout} s of waiting for {value}"
                    )
                self._condition.wait(remaining)

    def add_timepoint(self, value: int, call: Timepoint) -> None:
        """Have ``call`` called when ``value`` is reached or the semaphore fails: now, if that is so
        already.
        """
        with self._condition:
            if self._cause is None and self._value < value:
                self._timepoints.append((value, call))
                return
        call(self._cause)

    def _raise_if_forked(self) -> None:
        if os.getpid() != self._process:  # before the lock, which a thread of the parent may hold for ever
            raise Aborted("this semaphore belongs to the process that this one was forked from")

    def _raise_if_failed(self) -> None:
        if self._cause is not None:
            raise Aborted(f"semaphore failed: {self._cause}") from self._cause
