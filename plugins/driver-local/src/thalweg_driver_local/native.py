"""The binding of the C library (``csrc/local.h``). Every call releases the interpreter lock."""

from __future__ import annotations

import ctypes
import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path

from thalweg.api import Aborted, PluginError, ResourceExhausted
from thalweg.hal.host_executable import kernel_failure

LIBRARY_VERSION = 2
LIBRARY_NAME = "libthalweg_local.so"
CAUSE_TEXT_BYTES = 512
KEPT_EXCEPTIONS = 256
"""How many exceptions are kept for chaining; of older failures the text remains."""

OK, CLOSED, NO_MEMORY, FAILED, INVALID, TIMEOUT = range(6)

HostWork = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.POINTER(ctypes.c_char), ctypes.c_uint64)


class Wait(ctypes.Structure):
    """``tw_wait``: a semaphore and a value."""

    _fields_ = [("semaphore", ctypes.c_void_p), ("value", ctypes.c_uint64)]


class CauseView(ctypes.Structure):
    """``tw_cause_view``."""

    _fields_ = [
        ("token", ctypes.c_uint64),
        ("command", ctypes.c_uint32),
        ("status", ctypes.c_int32),
        ("text", ctypes.c_char * CAUSE_TEXT_BYTES),
    ]


_HANDLE, _U32, _U64, _INT = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int
_BYTES, _NOTHING = ctypes.c_char_p, None

SIGNATURES = {
    "tw_library_version": (_U32, []),
    "tw_flush_instruction_cache": (_NOTHING, [_HANDLE, _U64]),
    "tw_semaphore_create": (_HANDLE, [_U64]),
    "tw_semaphore_release": (_NOTHING, [_HANDLE]),
    "tw_semaphore_query": (_INT, [_HANDLE, ctypes.POINTER(ctypes.c_uint64)]),
    "tw_semaphore_signal": (_INT, [_HANDLE, _U64]),
    "tw_semaphore_fail": (_INT, [_HANDLE, _U64, _BYTES]),
    "tw_semaphore_wait": (_INT, [_HANDLE, _U64, _U64]),
    "tw_semaphore_cause": (_INT, [_HANDLE, ctypes.POINTER(CauseView)]),
    "tw_pool_create": (_HANDLE, [_U32]),
    "tw_pool_close": (_NOTHING, [_HANDLE]),
    "tw_pool_release": (_NOTHING, [_HANDLE]),
    "tw_program_create": (_HANDLE, [_HANDLE, _BYTES, _U64]),
    "tw_program_release": (_NOTHING, [_HANDLE]),
    "tw_program_call": (_U64, [_HANDLE, _BYTES]),
    "tw_queue_create": (_HANDLE, [_INT]),
    "tw_queue_set_host_work": (_NOTHING, [_HANDLE, HostWork]),
    "tw_queue_submit": (
        _INT,
        [_HANDLE, _HANDLE, _BYTES, _BYTES, _U32, _U64, _HANDLE, _U32, _HANDLE, _U32, _U64],
    ),
    "tw_queue_reap": (_U32, [_HANDLE, _HANDLE, _U32]),
    "tw_queue_wait_idle": (_INT, [_HANDLE, _U64]),
    "tw_queue_close": (_NOTHING, [_HANDLE]),
    "tw_queue_release": (_NOTHING, [_HANDLE]),
}
"""Function → (result type, argument types)."""


class NativeLibrary:
    """The loaded library, and the exceptions that its failures refer to by token. Thread-safe.

    :raises PluginError: the file is not this version of the library.
    """

    def __init__(self, path: Path):
        try:
            loaded = ctypes.CDLL(str(path))
            for name, (result, arguments) in SIGNATURES.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise PluginError(f"{path.name} cannot be loaded: {error}; install the package anew") from None
        if loaded.tw_library_version() != LIBRARY_VERSION:
            raise PluginError(
                f"{path.name} has version {loaded.tw_library_version()}, not {LIBRARY_VERSION};"
                " install the package anew"
            )
        self.functions = loaded
        self._lock = threading.Lock()
        self._exceptions: OrderedDict[int, BaseException] = OrderedDict()
        self._last_token = 0

    def keep(self, cause: BaseException) -> int:
        """Keep ``cause`` for a while, and return its token."""
        with self._lock:
            self._last_token += 1
            self._exceptions[self._last_token] = cause
            if len(self._exceptions) > KEPT_EXCEPTIONS:
                self._exceptions.popitem(last=False)
            return self._last_token

    def exception(self, view: CauseView) -> BaseException:
        """Return what a cause means: the exception itself if it is still kept, else one with its text."""
        text = view.text.decode("utf-8", errors="replace")
        if view.status:
            return kernel_failure(text, view.command, view.status)
        with self._lock:
            return self._exceptions.get(view.token) or Aborted(text)


def cause_text(cause: BaseException) -> bytes:
    """Return what the native side keeps of an exception: its message without NUL, cut to fit."""
    text = str(cause) or type(cause).__name__
    return text.replace("\0", " ").encode("utf-8", errors="replace")[: CAUSE_TEXT_BYTES - 1]


def created(handle: int | None, what: str) -> int:
    """Return a handle that a native ``create`` gave. :raises ResourceExhausted: it gave none."""
    if not handle:
        raise ResourceExhausted(f"no memory or no threads for {what}")
    return handle


def library_path() -> Path:
    """Return where the build puts the library."""
    return Path(__file__).with_name(LIBRARY_NAME)


@cache
def load_library() -> NativeLibrary | None:
    """Return the library, or ``None`` where the package was built without it.

    :raises PluginError: it is there and cannot be used.
    """
    path = library_path()
    return NativeLibrary(path) if path.exists() else None
