"""Drivers that do harm to the process they are in; only processes of their own import this.

Each is the reference driver until it is asked to fill with one byte of 0xEE, or is closed.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import partial

from reference_driver import ReferenceDevice, ReferenceDriver, kernel_library
from thalweg.api import ConformanceProfileSpec, HalDriverSpec, hookimpl
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.driver import Driver
from thalweg.hal.semaphore import SemaphoreList


def crash() -> None:
    """Read address 0."""
    ctypes.string_at(0)


def leave() -> None:
    """End the process, as some vendors' libraries do on an error."""
    os._exit(7)


def hang() -> None:
    """Never return."""
    threading.Event().wait()


def hang_with_the_lock() -> None:
    """Never return, and let no other thread run."""
    ctypes.PyDLL(None).sleep(1_000_000)


def linger() -> None:
    """Leave a thread behind that the interpreter waits for."""
    threading.Thread(target=threading.Event().wait, daemon=False).start()


def nothing() -> None:
    """Do no harm."""


class HarmfulDevice(ReferenceDevice):
    """Calls ``on_fill`` for a fill with 0xEE, and ``on_close`` when it has been closed."""

    def __init__(self, on_fill: Callable[[], None], on_close: Callable[[], None], identifier: str) -> None:
        self.identifier = identifier
        super().__init__()
        self._on_fill, self._on_close = on_fill, on_close

    def queue_fill(
        self, target: BufferRef, pattern: bytes, *, wait: SemaphoreList = (), signal: SemaphoreList = ()
    ) -> None:
        """Fill, or do harm."""
        if pattern == b"\xee":
            self._on_fill()
        super().queue_fill(target, pattern, wait=wait, signal=signal)

    def close(self) -> None:
        """Close, and do harm."""
        super().close()
        self._on_close()


HARM: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
    "crashes": (crash, nothing),
    "leaves": (leave, nothing),
    "hangs": (hang, nothing),
    "hangs-with-the-lock": (hang_with_the_lock, nothing),
    "crashes-at-close": (nothing, crash),
    "hangs-at-close": (nothing, hang),
    "lingers": (nothing, linger),
    "crashes-always": (nothing, nothing),
    "crashes-at-start": (nothing, nothing),
}

OPT_OUT = """
[[expected-failure]]
tests = "HAL-XFR-3"
reason = "The vendor's library does not survive odd fills."
"""

THALWEG_ENTRY_POINTS = {
    "thalweg.hal_drivers": [*HARM, "crashes-as-expected"],
    "thalweg.conformance_profiles": [*HARM, "crashes-as-expected"],
}


@hookimpl
def thalweg_hal_driver(name: str) -> HalDriverSpec:
    """Describe one of them."""
    on_fill, on_close = HARM[name.replace("-as-expected", "")]

    def make_device() -> ReferenceDevice:
        if name == "crashes-always":
            crash()
        return HarmfulDevice(on_fill, on_close, f"{name}://")

    def create() -> Driver:
        if name == "crashes-at-start":
            crash()
        return ReferenceDriver(make_device)

    return HalDriverSpec(name=name, summary="does harm", create=create)


@hookimpl
def thalweg_conformance_profile(name: str) -> ConformanceProfileSpec:
    """Bring the reference driver's kernels."""
    return ConformanceProfileSpec(
        name=name,
        summary="does harm",
        driver=name,
        opt_outs=OPT_OUT if name == "crashes-as-expected" else "",
        extra={"kernels": partial(kernel_library)},
    )
