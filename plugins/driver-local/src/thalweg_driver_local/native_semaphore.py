"""Timeline semaphores in native memory."""

from __future__ import annotations

import ctypes
import time

from thalweg.api import Aborted, DeadlineExceeded, InvalidArgument
from thalweg.hal.semaphore import Semaphore, check_value

from thalweg_driver_local import native

WAIT_SLICE = 0.1
"""Seconds of one native wait: how long Ctrl-C may have to wait."""


class NativeSemaphore(Semaphore):
    """A timeline in native memory. Thread-safe; waiting releases the interpreter lock."""

    def __init__(self, library: native.NativeLibrary, initial_value: int):
        self._library = library
        self._functions = library.functions
        check_value(initial_value)
        self.handle = native.created(self._functions.tw_semaphore_create(initial_value), "a semaphore")

    def __del__(self) -> None:
        """Give up the handle; submissions hold it on their own."""
        handle = getattr(self, "handle", None)
        if handle is not None:
            self._functions.tw_semaphore_release(handle)

    def query(self) -> int:
        """Return the current value; see ``Semaphore.query``."""
        value = ctypes.c_uint64()
        self._check(self._functions.tw_semaphore_query(self.handle, ctypes.byref(value)))
        return value.value

    def signal(self, value: int) -> None:
        """Advance to ``value``; on local-sync, this thread runs what that makes ready."""
        check_value(value)
        result = self._functions.tw_semaphore_signal(self.handle, value)
        if result == native.INVALID:
            raise InvalidArgument(f"semaphore signaled to {value} but it is at {self.query()} already")
        self._check(result)

    def fail(self, cause: BaseException) -> None:
        """Fail for good; see ``Semaphore.fail``."""
        token = self._library.keep(cause)
        self._check(self._functions.tw_semaphore_fail(self.handle, token, native.cause_text(cause)))

    def wait(self, value: int, timeout: float | None = None) -> None:
        """Wait for ``value``; see ``Semaphore.wait``."""
        check_value(value)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_SLICE if deadline is None else deadline - time.monotonic()
            nanoseconds = int(max(0.0, min(left, WAIT_SLICE)) * 1e9)
            result = self._functions.tw_semaphore_wait(self.handle, value, nanoseconds)
            if result != native.TIMEOUT:
                self._check(result)
                return
            if left <= 0:
                raise DeadlineExceeded(
                    f"semaphore is at {self.query()} after {timeout} s of waiting for {value}"
                )

    def _check(self, result: int) -> None:
        if result == native.CLOSED:
            raise Aborted("this semaphore belongs to the process that this one was forked from")
        if result == native.FAILED:
            view = native.CauseView()
            self._functions.tw_semaphore_cause(self.handle, ctypes.byref(view))
            cause = self._library.exception(view)
            raise Aborted(f"semaphore failed: {cause}") from cause
