"""The plain Python engine: a queue, semaphores and a processor without a line of native code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from thalweg.api import Aborted, InvalidArgument
from thalweg.hal.binding_table import BoundRange
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.driver import PreparedCall
from thalweg.hal.host_processor import locate_in, run_commands
from thalweg.hal.host_queue import HostQueue
from thalweg.hal.host_semaphore import HostSemaphore
from thalweg.hal.semaphore import SemaphoreList

from thalweg_driver_local.engine import CompiledCommands, Engine


class PythonEngine(Engine):
    """Runs command lists with ``thalweg.hal.host_processor``."""

    processor = "python"
    threads = 1

    def __init__(self, identifier: str, background: bool):
        self._identifier = identifier
        self._queue = HostQueue(identifier, threaded=background)
        self._closed = False
        self._process = os.getpid()

    def create_semaphore(self, initial_value: int) -> HostSemaphore:
        """Create a semaphore."""
        return HostSemaphore(initial_value)

    def compile(self, compiled: CompiledCommands) -> None:
        """Do nothing: the records are the program."""

    def submit(
        self,
        compiled: CompiledCommands | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        """Submit; see ``Engine.submit``."""
        self._refuse_when_closed()
        if compiled is None:
            self._queue.submit(None, wait, signal)
            return
        commands = compiled.commands
        self._queue.submit(lambda: run_commands(commands, locate_in(table)), wait, signal)

    def prepare_call(
        self, compiled: CompiledCommands, static: Mapping[int, BoundRange], remaining: tuple[int, ...]
    ) -> PreparedCall:
        """Prepare a call; see ``Engine.prepare_call``."""
        return prepare_python_call(compiled, static, remaining, self._refuse_when_closed)

    def wait_idle(self) -> None:
        """Wait until every submission has ended."""
        self._refuse_when_forked()
        self._queue.wait_idle()

    def close(self) -> None:
        """Close the queue."""
        self._closed = True
        self._queue.close()

    def _refuse_when_closed(self) -> None:
        self._refuse_when_forked()
        if self._closed:
            raise Aborted(f"{self._identifier} is closed")

    def _refuse_when_forked(self) -> None:
        if os.getpid() != self._process:
            raise Aborted(f"{self._identifier} belongs to the process that this one was forked from")


def prepare_python_call(
    compiled: CompiledCommands,
    static: Mapping[int, BoundRange],
    remaining: tuple[int, ...],
    refuse_when_closed: Callable[[], None],
) -> PreparedCall:
    """Return a prepared call that runs ``compiled`` on the plain Python processor."""
    table = dict(static)
    locate_static = locate_in(table)

    def call(addresses: Sequence[int]) -> None:
        refuse_when_closed()
        if len(addresses) != len(remaining):
            raise InvalidArgument(f"a prepared call takes {len(remaining)} addresses; got {len(addresses)}")
        placed = dict(zip(remaining, addresses))

        def locate(ref: BufferRef) -> tuple[int, int]:
            if ref.buffer is not None or ref.slot in table:
                return locate_static(ref)
            return placed[ref.slot] + ref.offset, ref.length

        run_commands(compiled.commands, locate)

    return call
