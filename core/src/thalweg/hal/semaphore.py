"""Timeline semaphores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from thalweg.errors import InvalidArgument

SemaphoreList = Sequence[tuple["Semaphore", int]]
"""(semaphore, value) pairs, all of which count."""

MAXIMUM_VALUE = (1 << 63) - 1
"""The largest value of a timeline."""


def check_value(value: int) -> int:
    """Return ``value`` if a timeline can have it.

    :raises InvalidArgument: it is negative or larger than ``MAXIMUM_VALUE``.
    """
    if not 0 <= value <= MAXIMUM_VALUE:
        raise InvalidArgument(f"a semaphore's value is between 0 and {MAXIMUM_VALUE}; got {value}")
    return value


class Semaphore(ABC):
    """A monotonic 64-bit timeline. Waiting for a value before anybody signals it is legal.

    Failure sticks: the first cause is kept, and ``query``, ``wait`` and ``signal`` raise ``Aborted`` from it
    after.
    """

    @abstractmethod
    def query(self) -> int:
        """Return the current value.

        :raises Aborted: the semaphore has failed; the message has the first cause.
        """

    @abstractmethod
    def signal(self, value: int) -> None:
        """Advance the timeline to ``value``.

        :raises InvalidArgument: ``value`` is not greater than the current one.
        """

    @abstractmethod
    def fail(self, cause: BaseException) -> None:
        """Fail the semaphore for good; a second failure is ignored."""

    @abstractmethod
    def wait(self, value: int, timeout: float | None = None) -> None:
        """Wait until the timeline has reached ``value``. Releases the interpreter lock.

        :param timeout: seconds; ``None`` waits for ever, 0 polls.
        :raises DeadlineExceeded: the time ran out.
        :raises Aborted: the semaphore has failed or fails meanwhile.
        """
