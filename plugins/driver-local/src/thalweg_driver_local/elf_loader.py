"""Maps ELF images into this process, and never makes a page writable and executable at once."""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
import weakref

from thalweg.api import ModuleFormatError, NotSupported, ResourceExhausted
from thalweg.hal.executable import (
    CodeSymbol,
    ExecutableLoader,
    ExecutableRecord,
    LoadedLibrary,
    NativeKernel,
)

from thalweg_driver_local.cpu_features import machine_features
from thalweg_driver_local.elf import EXECUTE, FORMAT_MACHINES, WRITE, ElfImage, parse_elf
from thalweg_driver_local.native import load_library

MACHINE_FORMATS = {
    "x86_64": "thalweg-elf-x86_64-1",
    "AMD64": "thalweg-elf-x86_64-1",
    "aarch64": "thalweg-elf-aarch64-1",
    "arm64": "thalweg-elf-aarch64-1",
    "riscv64": "thalweg-elf-riscv64-1",
}
"""``platform.machine()`` → the format that runs there."""

MAP_FAILED = ctypes.c_void_p(-1).value


class ElfLoader(ExecutableLoader):
    """Loads the ``thalweg-elf`` format of this machine."""

    def can_run(self, format: str) -> bool:
        """Return whether ``format`` is this machine's."""
        return sys.platform != "win32" and MACHINE_FORMATS.get(platform.machine()) == format

    def machine_features(self) -> frozenset[str]:
        """Return this processor's features in LLVM's spelling."""
        return machine_features()

    def load(self, record: ExecutableRecord) -> MappedImage:
        """Load ``record``; see ``ExecutableLoader.load``."""
        if not self.can_run(record.format):
            raise NotSupported(
                record.format,
                f"executable {record.name!r} has the format {record.format!r}; this machine"
                f" ({platform.machine()}) runs {MACHINE_FORMATS.get(platform.machine(), 'none of these')}",
            )
        try:
            image = parse_elf(record.data, FORMAT_MACHINES[record.format])
            _check_pages(image)
            offsets = [_function(image, entry.name) for entry in record.entries]
        except ModuleFormatError as error:
            raise ModuleFormatError(f"executable {record.name!r}: {error}") from None
        return MappedImage(image, record.data, offsets)


class MappedImage(LoadedLibrary):
    """An image in memory; unmapped by ``close``, or when it is collected."""

    def __init__(self, image: ElfImage, data: bytes, offsets: list[int]):
        size = -(-image.span // mmap.PAGESIZE) * mmap.PAGESIZE
        self.base = _map(size)
        self._finalizer = weakref.finalize(self, _unmap, self.base, size)
        for segment in image.segments:
            piece = data[segment.offset : segment.offset + segment.file_size]
            ctypes.memmove(self.base + segment.address, piece, len(piece))
        for place, addend in image.relocations:
            ctypes.c_uint64.from_address(self.base + place).value = self.base + addend
        _protect(self.base, size, 0)
        for segment in image.segments:
            start, end = _page_range(segment.address, segment.size)
            _protect(self.base + start, end - start, _protection(segment.flags))
            if segment.flags & EXECUTE:
                _flush_instruction_cache(self.base + start, end - start)
        self.kernels = tuple(NativeKernel(self.base + offset) for offset in offsets)
        self.symbols = tuple(
            CodeSymbol(self.base + address, min(image.sizes[name], image.span - address), name)
            for name, address in image.functions.items()
        )

    def close(self) -> None:
        """Unmap the image. Idempotent."""
        self._finalizer()


def _function(image: ElfImage, name: str) -> int:
    offset = image.functions.get(name)
    if offset is None:
        raise ModuleFormatError(f"its ELF image has no function {name!r}")
    if not any(s.holds(offset, 1) and s.flags & EXECUTE for s in image.segments):
        raise ModuleFormatError(f"function {name!r} of its ELF image is not in an executable segment")
    return offset


def _check_pages(image: ElfImage) -> None:
    for before, after in zip(image.segments, image.segments[1:]):
        if _page_range(before.address, before.size)[1] > _page_range(after.address, after.size)[0]:
            raise ModuleFormatError(
                f"segments of its ELF image share a page of this machine ({mmap.PAGESIZE} bytes)"
                f" at {after.address:#x}"
            )


def _page_range(address: int, size: int) -> tuple[int, int]:
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    return start, -(-(address + size) // mmap.PAGESIZE) * mmap.PAGESIZE


def _protection(flags: int) -> int:
    if flags & EXECUTE:
        return mmap.PROT_READ | mmap.PROT_EXEC
    return mmap.PROT_READ | (mmap.PROT_WRITE if flags & WRITE else 0)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_longlong,
    ]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _map(size: int) -> int:
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    address = _libc().mmap(None, size, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if address == MAP_FAILED:
        raise ResourceExhausted(f"no memory for an executable of {size} bytes")
    return address


def _protect(address: int, size: int, protection: int) -> None:
    if _libc().mprotect(address, size, protection):
        raise ResourceExhausted(
            f"cannot protect {size} bytes of an executable (errno {ctypes.get_errno()}):"
            " does this machine forbid new executable memory?"
        )


def _flush_instruction_cache(address: int, size: int) -> None:
    """Make new code visible to instruction fetches; without the C library, the system's own flush must do."""
    library = load_library()
    if library is not None:
        library.functions.tw_flush_instruction_cache(address, size)


def _unmap(address: int, size: int) -> None:
    _libc().munmap(address, size)
