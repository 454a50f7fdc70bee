"""Fences: sets of (semaphore, value), waited for and signaled together. Common code over any driver's
semaphores.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from thalweg.hal.semaphore import Semaphore, SemaphoreList


class Fence:
    """A point in time on several timelines: for each semaphore, the largest value that was inserted.

    Not thread-safe while points are inserted; afterwards safe from any thread. An empty fence is reached.
    """

    def __init__(self, points: SemaphoreList = ()):
        self._points: dict[Semaphore, int] = {}
        for semaphore, value in points:
            self.insert(semaphore, value)

    @classmethod
    def join(cls, fences: Iterable[Fence]) -> Fence:
        """Return a fence that is reached when all of ``fences`` are."""
        return cls([point for fence in fences for point in fence.points])

    @property
    def points(self) -> tuple[tuple[Semaphore, int], ...]:
        """The points, as queue operations take them."""
        return tuple(self._points.items())

    def insert(self, semaphore: Semaphore, value: int) -> None:
        """Add a point; of two on one semaphore the later one counts."""
        self._points[semaphore] = max(value, self._points.get(semaphore, 0))

    def extend(self, other: Fence) -> None:
        """Add the points of ``other``."""
        for semaphore, value in other.points:
            self.insert(semaphore, value)

    def query(self) -> bool:
        """Return whether every point is reached. :raises Aborted: a semaphore has failed."""
        values = [(semaphore.query(), value) for semaphore, value in self.points]
        return all(current >= value for current, value in values)

    def signal(self) -> None:
        """Signal every point. :raises InvalidArgument: a semaphore is there already."""
        for semaphore, value in self.points:
            semaphore.signal(value)

    def fail(self, cause: BaseException) -> None:
        """Fail every semaphore."""
        for semaphore, _ in self.points:
            semaphore.fail(cause)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until every point is reached.

        :param timeout: seconds for all of them together; ``None`` waits for ever, 0 polls.
        :raises DeadlineExceeded: the time ran out. :raises Aborted: a semaphore failed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for semaphore, value in self.points:
            semaphore.wait(value, None if deadline is None else max(0.0, deadline - time.monotonic()))
