"""Loads the backend's executables into this process, through the system's loader."""

from __future__ import annotations

import ctypes
import tempfile
import weakref
from pathlib import Path

from thalweg.api import ModuleFormatError, NotSupported
from thalweg.hal.executable import ExecutableLoader, ExecutableRecord, LoadedLibrary, NativeKernel

from thalweg_target_example.executable import MACHINE, symbol, unpack


class SharedObjectLoader(ExecutableLoader):
    """Loads shared objects."""

    def machine_features(self) -> frozenset[str]:
        """Return what code may ask for: the machine that it was made for."""
        return frozenset({MACHINE})

    def load(self, record: ExecutableRecord) -> SharedObject:
        """Load ``record``; see ``ExecutableLoader.load``."""
        return SharedObject(record, unpack(record.data, record.name))


class SharedObject(LoadedLibrary):
    """A loaded shared object; unloaded by ``close``, or when it is collected."""

    def __init__(self, record: ExecutableRecord, data: bytes):
        with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
            path = Path(folder, "kernels.so")
            path.write_bytes(data)
            try:
                library = ctypes.CDLL(str(path))  # stays mapped when the file is gone
            except OSError as error:
                raise NotSupported(
                    record.format, f"executable {record.name!r} cannot be loaded: {error}"
                ) from None
        self._finalizer = weakref.finalize(self, _unload, library._handle)
        self.kernels = tuple(NativeKernel(_address(library, entry.name)) for entry in record.entries)

    def close(self) -> None:
        """Unload. Idempotent."""
        self._finalizer()


def _address(library: ctypes.CDLL, kernel: str) -> int:
    try:
        function = library[symbol(kernel)]
    except AttributeError:
        raise ModuleFormatError(f"the shared object has no kernel {kernel!r}") from None
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _unload(handle: int) -> None:
    close = ctypes.CDLL(None).dlclose  # ctypes itself has no call for it
    close.argtypes = [ctypes.c_void_p]
    close(handle)
