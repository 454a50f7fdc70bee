"""A queue in plain Python over host semaphores: inline, or on one thread of its own.

A submission starts when all its waits are reached. Submissions that are ready run one after another, in the
order in which they became ready.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from thalweg.errors import Aborted, DeadlineExceeded, InvalidArgument
from thalweg.hal.host_semaphore import HostSemaphore
from thalweg.hal.semaphore import SemaphoreList, check_value

Work = Callable[[], None]


@dataclass(eq=False)
class Submission:
    """One piece of work with what it waits for and what it signals."""

    work: Work | None
    signal: tuple[tuple[HostSemaphore, int], ...]
    pending: int
    cause: BaseException | None = None
    queued: bool = field(default=False)


class HostQueue:
    """Runs submissions: on the thread that makes them ready, or (``threaded``) on a daemon thread.
    Thread-safe.
    """

    def __init__(self, name: str, threaded: bool):
        self._name = name
        self._changed = threading.Condition()
        self._ready: deque[Submission] = deque()
        self._unfinished: set[Submission] = set()
        self._runner: int | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    def submit(self, work: Work | None, wait: SemaphoreList = (), signal: SemaphoreList = ()) -> None:
        """Have ``work`` (``None``: nothing) run when every wait is reached, then signal.

        :raises InvalidArgument: a semaphore of another kind of device. :raises Aborted: the queue is closed.
        """
        waits, signals = self._own(wait), self._own(signal)
        submission = Submission(work, signals, pending=len(waits) + 1)
        with self._changed:
            if self._closed:
                raise Aborted(f"{self._name} is closed")
            self._unfinished.add(submission)
        for semaphore, value in waits:
            semaphore.add_timepoint(value, lambda cause: self._resolved(submission, cause))
        self._resolved(submission, None)

    def wait_idle(self, timeout: float | None = None) -> None:
        """Wait until every submission has ended.

        :raises DeadlineExceeded: the time ran out. :raises InvalidArgument: called by work of this queue.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if self._is_runner():
                raise InvalidArgument(f"{self._name}: host work cannot wait for its own device to be idle")
            while self._unfinished:
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    raise DeadlineExceeded(f"{self._name} has {len(self._unfinished)} submissions in flight")
                self._changed.wait(remaining)

    def close(self) -> None:
        """End what is ready and running, fail what still waits, and stop the thread. Idempotent.

        Called by work of this queue, it waits for nothing, and what is ready fails too.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while not self._is_runner() and (self._runner is not None or self._ready):
                self._changed.wait()
            closed = Aborted(f"{self._name} was closed while this work was waiting")
            for submission in self._ready:
                submission.cause = submission.cause or closed
            stranded = [submission for submission in self._unfinished if not submission.queued]
            for submission in stranded:
                submission.queued = True  # what its waits do now no longer matters
        for submission in stranded:
            self._end(submission, closed)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _own(self, pairs: SemaphoreList) -> tuple[tuple[HostSemaphore, int], ...]:
        own: list[tuple[HostSemaphore, int]] = []
        for semaphore, value in pairs:
            check_value(value)
            if not isinstance(semaphore, HostSemaphore):
                kind = type(semaphore).__name__
                raise InvalidArgument(
                    f"{self._name} waits for and signals semaphores that it made; got a {kind}"
                )
            own.append((semaphore, value))
        return tuple(own)

    def _resolved(self, submission: Submission, cause: BaseException | None) -> None:
        with self._changed:
            submission.pending -= 1
            submission.cause = submission.cause or cause
            if submission.queued or (submission.pending and submission.cause is None):
                return
            submission.queued = True
            self._ready.append(submission)
            self._changed.notify_all()
        if self._thread is None:
            self._drain()

    def _drain(self) -> None:
        """Run what is ready, unless another thread (or an outer frame of this one) is at it already."""
        while True:
            with self._changed:
                if self._runner is not None or not self._ready:
                    return
                self._runner = threading.get_ident()
                submission = self._ready.popleft()
            self._run(submission)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._ready:
                    if self._closed:
                        return
                    self._changed.wait()
                self._runner = threading.get_ident()
                submission = self._ready.popleft()
            self._run(submission)

    def _is_runner(self) -> bool:
        return self._runner == threading.get_ident()

    def _run(self, submission: Submission) -> None:
        cause = submission.cause
        if cause is None and submission.work is not None:
            try:
                submission.work()
            except BaseException as error:  # whatever it is becomes the cause that the semaphores carry
                cause = error
        self._end(submission, cause, running=True)

    def _end(self, submission: Submission, cause: BaseException | None, running: bool = False) -> None:
        for semaphore, value in submission.signal:
            if cause is None:
                try:
                    semaphore.signal(value)
                except (InvalidArgument, Aborted) as error:
                    semaphore.fail(error)
            else:
                semaphore.fail(cause)
        submission.work = None  # lets go of what the work used before anybody is told that it has ended
        with self._changed:
            self._unfinished.discard(submission)
            if running:
                self._runner = None
            self._changed.notify_all()
