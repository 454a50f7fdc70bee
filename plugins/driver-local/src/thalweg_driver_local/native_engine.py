"""The native engine: a native queue, a worker pool, and packed command lists that are replayed in one call.

A command buffer with a host kernel (a Python callable) runs on the plain Python processor, by a callback.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.api import Aborted, InvalidArgument, ResourceExhausted
from thalweg.hal.binding_table import BoundRange
from thalweg.hal.driver import PreparedCall
from thalweg.hal.host_executable import kernel_failure
from thalweg.hal.host_processor import locate_in, run_commands
from thalweg.hal.semaphore import SemaphoreList, check_value

from thalweg_driver_local import native
from thalweg_driver_local.engine import CompiledCommands, Engine
from thalweg_driver_local.native_semaphore import WAIT_SLICE, NativeSemaphore
from thalweg_driver_local.packed_commands import has_host_kernel, pack_commands
from thalweg_driver_local.python_engine import prepare_python_call

REAP_COUNT = 64


class NativeProgram:
    """A packed command list in native memory, and what it points to."""

    def __init__(self, library: native.NativeLibrary, pool: int, packed: bytes, keeps: object):
        self._functions = library.functions
        self._keeps = keeps
        self.handle = native.created(
            self._functions.tw_program_create(pool, packed, len(packed)), "a command list"
        )

    def __del__(self) -> None:
        """Give up the handle; submissions hold it on their own."""
        handle = getattr(self, "handle", None)
        if handle is not None:
            self._functions.tw_program_release(handle)


class NativeEngine(Engine):
    """Runs command lists with the C library.

    :param background: submissions run on the queue's own thread, and not on whoever makes them ready.
    """

    processor = "native"

    def __init__(self, library: native.NativeLibrary, identifier: str, threads: int, background: bool):
        self._library = library
        self._functions = library.functions
        self._identifier = identifier
        self.threads = threads
        self._numbers = itertools.count(1)
        self._in_flight: dict[int, tuple[object, ...]] = {}
        self._host_work: dict[int, Any] = {}
        self._host_callback: Any = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pool = native.created(self._functions.tw_pool_create(threads), f"{threads} threads")
        self._queue = native.created(self._functions.tw_queue_create(int(background)), "a queue")

    def __del__(self) -> None:
        """Free the native objects; ``close`` has ended their threads."""
        if getattr(self, "_queue", None) is not None:
            self._functions.tw_queue_release(self._queue)
        if getattr(self, "_pool", None) is not None:
            self._functions.tw_pool_release(self._pool)

    def create_semaphore(self, initial_value: int) -> NativeSemaphore:
        """Create a semaphore."""
        return NativeSemaphore(self._library, initial_value)

    def compile(self, compiled: CompiledCommands) -> None:
        """Pack the commands; ``None`` as the program says that the plain Python processor runs them."""
        if has_host_kernel(compiled.commands):
            self._expect_host_work()
            return
        packed = pack_commands(compiled.commands, slot_count=compiled.binding_capacity)
        compiled.program = NativeProgram(self._library, self._pool, packed, compiled.commands)

    def submit(
        self,
        compiled: CompiledCommands | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        """Submit; see ``Engine.submit``."""
        waits, signals = self._pairs(wait), self._pairs(signal)
        number = next(self._numbers)
        program, host_token, slots = None, 0, 0
        addresses = lengths = b""
        if compiled is not None and compiled.program is None:
            commands = compiled.commands
            self._host_work[number] = lambda: run_commands(commands, locate_in(table))
            host_token = number
        elif compiled is not None:
            program, slots = compiled.program.handle, compiled.binding_capacity
            bound = [table.get(slot) for slot in range(slots)]
            addresses = struct.pack(
                f"{slots}Q", *(b.buffer.host_address + b.offset if b else 0 for b in bound)
            )
            lengths = struct.pack(f"{slots}Q", *(b.length if b else 0 for b in bound))
        self._in_flight[number] = (compiled, table)
        result = self._functions.tw_queue_submit(
            self._queue,
            program,
            addresses,
            lengths,
            slots,
            host_token,
            waits,
            len(wait),
            signals,
            len(signal),
            number,
        )
        if result != native.OK:
            self._forget(number)
            raise self._refusal(result)
        self._reap()

    def prepare_call(
        self, compiled: CompiledCommands, static: Mapping[int, BoundRange], remaining: tuple[int, ...]
    ) -> PreparedCall:
        """Prepare a call; see ``Engine.prepare_call``."""
        if has_host_kernel(compiled.commands):
            return prepare_python_call(compiled, static, remaining, self._refuse_when_closed)
        places = {slot: place for place, slot in enumerate(remaining)}
        packed = pack_commands(compiled.commands, static, places, len(remaining))
        program = NativeProgram(self._library, self._pool, packed, (compiled, dict(static), self))
        return _bind_call(self, program, len(remaining), compiled)

    def wait_idle(self) -> None:
        """Wait until every submission has ended."""
        while True:
            result = self._functions.tw_queue_wait_idle(self._queue, int(WAIT_SLICE * 1e9))
            if result == native.INVALID:
                raise InvalidArgument(
                    f"{self._identifier}: host work cannot wait for its own device to be idle"
                )
            if result == native.CLOSED:
                raise self._refusal(result)
            if result == native.OK:
                self._reap()
                return

    def close(self) -> None:
        """Close the queue, then the pool."""
        self._closed.set()
        self._functions.tw_queue_close(self._queue)
        self._functions.tw_pool_close(self._pool)
        self._reap()

    def failure(self, result: int, compiled: CompiledCommands) -> Exception:
        """Return the error for a replay's result that is not 0."""
        if result >> 32:
            number, status = (result >> 32) - 1, ctypes.c_int32(result & 0xFFFFFFFF).value
            command = compiled.commands[number]
            return kernel_failure(command.executable.entries[command.function].name, number, status)  # type: ignore[union-attr]
        return self._refusal(result)

    def _pairs(self, pairs: SemaphoreList) -> ctypes.Array[native.Wait]:
        array = (native.Wait * len(pairs))()
        for place, (semaphore, value) in enumerate(pairs):
            if not isinstance(semaphore, NativeSemaphore):
                raise InvalidArgument(
                    f"{self._identifier} waits for and signals semaphores of local devices with the native"
                    f" processor; got a {type(semaphore).__name__}"
                )
            array[place] = native.Wait(semaphore.handle, check_value(value))
        return array

    def _expect_host_work(self) -> None:
        with self._lock:
            if self._host_callback is None:
                self._host_callback = native.HostWork(self._run_host_work)
                self._functions.tw_queue_set_host_work(self._queue, self._host_callback)

    def _run_host_work(self, token: int, text: Any, text_size: int) -> int:
        try:
            self._host_work[token]()
        except BaseException as error:  # whatever it is becomes the cause that the semaphores carry
            message = native.cause_text(error) + b"\0"
            ctypes.memmove(text, message, len(message))
            return self._library.keep(error)
        return 0

    def _reap(self) -> None:
        """Let go of what the submissions that have ended were using."""
        numbers = (ctypes.c_uint64 * REAP_COUNT)()
        while True:
            count = self._functions.tw_queue_reap(self._queue, numbers, REAP_COUNT)
            for number in numbers[:count]:
                self._forget(number)
            if count < REAP_COUNT:
                return

    def _forget(self, number: int) -> None:
        self._in_flight.pop(number, None)
        self._host_work.pop(number, None)

    def _refusal(self, result: int) -> Exception:
        if result == native.NO_MEMORY:
            return ResourceExhausted(f"{self._identifier}: no memory to run")
        if self._closed.is_set():
            return Aborted(f"{self._identifier} is closed")
        return Aborted(f"{self._identifier} belongs to the process that this one was forked from")

    def _refuse_when_closed(self) -> None:
        if self._closed.is_set():
            raise Aborted(f"{self._identifier} is closed")


def _bind_call(
    engine: NativeEngine, program: NativeProgram, count: int, compiled: CompiledCommands
) -> PreparedCall:
    """Return the prepared call: the cheapest way from Python into the replay, an argument block a call."""
    run = engine._functions.tw_program_call
    handle = program.handle
    pack = struct.Struct(f"{count}Q").pack

    def call(addresses: Sequence[int]) -> None:
        try:
            result = run(handle, pack(*addresses))
        except struct.error:
            raise InvalidArgument(f"a prepared call takes {count} addresses; got {addresses!r}") from None
        if result:
            raise engine.failure(result, compiled)

    call.program = program  # type: ignore[attr-defined]  # lives as long as the call
    return call
