"""Faults of the queue and of semaphores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from thalweg.api import DeadlineExceeded
from thalweg.hal.binding_table import BoundRange
from thalweg.hal.command_buffer import (
    CommandBuffer,
)
from thalweg.hal.host_semaphore import HostSemaphore
from thalweg.hal.semaphore import SemaphoreList

from .reference_driver import ReferenceDevice

# The queue


class IgnoresWaits(ReferenceDevice):
    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        super().submit(command_buffer, table, (), signal)


class WaitsForTheFirst(ReferenceDevice):
    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        super().submit(command_buffer, table, wait[:1], signal)


class SignalsTheFirst(ReferenceDevice):
    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        super().submit(command_buffer, table, wait, signal[:1])


class SignalsEarly(ReferenceDevice):
    """A submission signals as soon as it may start; its work runs when the next one comes."""

    def __init__(self) -> None:
        super().__init__()
        self._put_off: list[Callable[[], None]] = []

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        def work() -> None:
            put_off, self._put_off = self._put_off, []
            for call in put_off:
                call()
            if commands is not None:
                self._put_off.append(partial(self.execute, commands, table))

        commands = command_buffer
        self.queue.submit(work, wait, signal)


class RunsInOrderOfSubmission(ReferenceDevice):
    """A submission waits for the one before it, as on a queue that knows no timeline."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[HostSemaphore, int] | None = None

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        before = [self._last] if self._last is not None else []
        self._last = (HostSemaphore(), 1)
        super().submit(command_buffer, table, [*wait, *before], [*signal, self._last])


class LosesFailures(ReferenceDevice):
    """Work whose wait has failed is dropped, and signals as if it had run."""

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        inner = HostSemaphore()
        super().submit(command_buffer, table, wait, [(inner, 1)])

        def pass_on(cause: BaseException | None) -> None:
            for semaphore, value in signal:
                semaphore.signal(value)

        inner.add_timepoint(1, pass_on)


class CloseAbandonsWork(ReferenceDevice):
    """Work that follows the 25th value of a timeline never starts, and close gives it up."""

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        forgotten = [(HostSemaphore(), 1)] if [value for _, value in wait] == [25] else []
        super().submit(command_buffer, table, [*wait, *forgotten], signal)


class IdlesEarly(ReferenceDevice):
    """wait_idle looks once, and the queue is slow."""

    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        self._slow.wait(0.02)
        super().execute(command_buffer, table)

    def __init__(self) -> None:
        super().__init__()
        self._slow = threading.Event()

    def wait_idle(self) -> None:
        return


# Semaphores


class OwnSemaphores(ReferenceDevice):
    semaphore_class: type[HostSemaphore] = HostSemaphore

    def create_semaphore(self, initial_value: int = 0) -> HostSemaphore:
        return self.semaphore_class(initial_value)


class NarrowSemaphore(HostSemaphore):
    """A timeline of 32 bits."""

    def query(self) -> int:
        return super().query() & 0xFFFFFFFF


class RewindingSemaphore(HostSemaphore):
    """A signal to a smaller value is taken."""

    def signal(self, value: int) -> None:
        with self._condition:
            self._value = min(self._value, value - 1)
        super().signal(value)


class LastCauseSemaphore(HostSemaphore):
    """A second failure replaces the first."""

    def fail(self, cause: BaseException) -> None:
        super().fail(cause)
        self._cause = cause


class ForgivingSemaphore(HostSemaphore):
    """A failed semaphore can be signaled again."""

    def signal(self, value: int) -> None:
        self._cause = None
        super().signal(value)


class ReturningSemaphore(HostSemaphore):
    """A wait that runs out returns."""

    def wait(self, value: int, timeout: float | None = None) -> None:
        try:
            super().wait(value, timeout)
        except DeadlineExceeded:
            return


class DeafSemaphore(HostSemaphore):
    """A failure wakes nobody who waits in this process."""

    def fail(self, cause: BaseException) -> None:
        if self._cause is None:
            self._cause = cause
            waiting, self._timepoints = self._timepoints, []
            for _, call in waiting:
                call(cause)

    def wait(self, value: int, timeout: float | None = None) -> None:
        with self._condition:
            if self._cause is None and not self._condition.wait_for(lambda: self._value >= value, timeout):
                raise DeadlineExceeded(f"semaphore is at {self._value}")
        super().wait(value, 0)
