"""The executable format: a line with its name, the SHA-256 of what follows, and a shared object."""

from __future__ import annotations

import hashlib
import platform
import sys

from thalweg.api import ModuleFormatError

from thalweg_target_example.plugin import FORMAT

MACHINE = f"{sys.platform}-{platform.machine()}".lower()
"""What a shared object made here runs on. Stored with the module; a device elsewhere passes over it."""

_HEADER = f"{FORMAT}\n".encode()


def pack(shared_object: bytes) -> bytes:
    """Return an executable."""
    return _HEADER + hashlib.sha256(shared_object).digest() + shared_object


def unpack(data: bytes, name: str) -> bytes:
    """Return the shared object of executable ``name``.

    :raises ModuleFormatError: the data is damaged; the system's loader would not notice.
    """
    start = len(_HEADER)
    digest, shared_object = data[start : start + 32], data[start + 32 :]
    if not data.startswith(_HEADER):
        raise ModuleFormatError(f"executable {name!r} does not start as {FORMAT} does")
    if hashlib.sha256(shared_object).digest() != digest:
        raise ModuleFormatError(f"executable {name!r} is damaged: its digest does not match")
    return shared_object


def symbol(kernel: str) -> str:
    """Return the C name of a kernel; kernels may have names that C has not."""
    letters = (c if c == "_" or (c.isascii() and c.isalnum()) else f"_{ord(c):x}_" for c in kernel)
    return "kernel_" + "".join(letters)
