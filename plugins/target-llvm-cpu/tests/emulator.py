"""Runs images of foreign processors under qemu's user mode, through the kernel C ABI.

``EMULATED`` names the processors, as ``--target-cpu`` values never are; each has exactly the instructions
that its code may use, where qemu can hide the others, so that a kernel that uses more is killed.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from emulated_host import RECEIVE, RUN, SEND, SYSTEM_CALL, call_number, host_program
from thalweg.codegen.target import TargetConfiguration
from thalweg.hal import kernel_abi
from thalweg.module.module import ExecutableRecord
from thalweg_driver_local.elf import EXECUTE, FORMAT_MACHINES, WRITE, parse_elf
from thalweg_target_llvm_cpu.options import LlvmCpuOptions
from thalweg_target_llvm_cpu.target import LlvmCpuBackend

REQUIRE = "THALWEG_REQUIRE"
"""Environment variable: what must be there, as ``qemu``; a test that lacks it then fails instead of
skipping.
"""

PAGE = 1 << 16
"""The largest page of the processors."""

SECONDS = 300
"""Processor time after which a guest is killed: a kernel that never ends fails its test."""

NOTHING, READ_ONLY, READ_WRITE, READ_EXECUTE = 0, 1, 3, 5
PRIVATE_ANONYMOUS = 0x22


@dataclass(frozen=True)
class Processor:
    """What code is compiled for, and the emulator that runs it: the first of ``models`` that it takes (qemu's
    names of RISC-V extensions changed with its version 8).
    """

    options: LlvmCpuOptions
    emulator: str
    models: tuple[str, ...]
    exact_loads: bool = True
    """Whether the emulator touches only the bytes that the instruction does; if not, there is memory before
    and behind operands.
    """


def _linux(architecture: str, cpu: str, features: str, *models: str, exact_loads: bool = True) -> Processor:
    options = LlvmCpuOptions(f"{architecture}-unknown-linux-gnu", cpu, features)
    return Processor(options, f"qemu-{architecture}", models, exact_loads)


def _riscv(features: str, bits: str, vector: str) -> Processor:
    """``bits``, for Zba, Zbb, Zbs and Zfh, and ``vector`` are values of qemu's properties."""
    plain = f"rv64,zba={bits},zbb={bits},zbc=false,zbs={bits}"
    models = (f"{plain},{zfh}={bits},v={vector}" for zfh in ("zfh", "Zfh"))
    return _linux("riscv64", "generic", features, *models)


EMULATED = {
    "aarch64": _linux("aarch64", "generic", "", "cortex-a57"),
    "aarch64 neoverse-n1": _linux("aarch64", "neoverse-n1", "", "neoverse-n1"),
    "aarch64 +i8mm,+bf16": _linux("aarch64", "generic", "+fullfp16,+dotprod,+i8mm,+bf16,+fp16fml", "max"),
    "riscv64": _riscv("", "false", "false"),
    "riscv64 +v of 128 bits": _riscv("+v", "false", "true,vlen=128"),
    "riscv64 +v of 256 bits": _riscv("+v", "false", "true,vlen=256"),
    "riscv64 +zb*,+zfh": _riscv("+zba,+zbb,+zbs,+zfh", "true", "false"),
    "emulated x86-64-v2": _linux("x86_64", "x86-64-v2", "", "Nehalem", exact_loads=False),
    "emulated x86-64-v3": _linux("x86_64", "x86-64-v3", "", "Haswell", exact_loads=False),
}
"""Name → processor. Not here: AVX-512 and Zvfh, which qemu 7.2 does not emulate. (Its ``vmaskmov`` reads the
masked lanes too, its ``cvtdq2pd`` 16 bytes for 8.)
"""

DEFECTS = {
    "decode_save_opc: Assertion": "qemu before 8.0 aborts on vfncvt.rtz.x.f.w (qemu issue 1441)",
}
"""What the emulator says when it aborts → its known defect; such a test is an expected failure."""


@cache
def configuration(cpu: str) -> tuple[LlvmCpuBackend, TargetConfiguration]:
    """Return the backend and configuration of an emulated processor; skip where there is no emulator."""
    processor = EMULATED[cpu]
    if shutil.which(processor.emulator) is None:
        lacks(f"{processor.emulator} is not installed (Debian: apt-get install qemu-user)", "qemu")
    target = LlvmCpuBackend(processor.options)
    return target, target.configuration()


@cache
def _command(cpu: str) -> tuple[str, ...]:
    """Return the command that starts the host program; skip where the emulator lacks the processor."""
    processor = EMULATED[cpu]
    said = ""
    for model in processor.models:
        command = (processor.emulator, "-cpu", model, str(_program_file(cpu)))
        # Without requests the program ends at once.
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        if ended.returncode == 0:
            return command
        said = ended.stderr.decode(errors="replace").strip().splitlines()[-1]
    return lacks(f"{processor.emulator} does not emulate {cpu} (it needs qemu 7.2 or later): {said}", "qemu")


def lacks(reason: str, requirement: str) -> NoReturn:
    """Skip the test; fail it where ``THALWEG_REQUIRE`` says that ``requirement`` must be there."""
    if requirement in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(f"{reason}; {REQUIRE} asks for {requirement}", pytrace=False)
    pytest.skip(reason)


class GuestFailed(AssertionError):
    """The guest ended: a kernel did what its processor does not allow."""


class Guest:
    """A process of an emulated processor: its memory, and kernels called in it."""

    def __init__(self, cpu: str):
        _, config = configuration(cpu)
        self.cpu = cpu
        self._config = config
        self._architecture = config.executable_format.split("-")[2]
        self._command = _command(cpu)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.prlimit(self._process.pid, resource.RLIMIT_CORE, (0, 0))
        self._finalizer = weakref.finalize(self, _end, self._process)

    def close(self) -> None:
        """End the process. Idempotent."""
        self._finalizer()

    def _ask(self, operation: int, *words: int, data: bytes = b"", size: int = 0) -> tuple[bytes, int]:
        """Return the ``size`` bytes and the word that come back."""
        assert self._process.stdin is not None and self._process.stdout is not None
        padded = [operation, *words] + [0] * (7 - len(words))
        request = struct.pack("<8Q", *(word & (1 << 64) - 1 for word in padded))
        with suppress(BrokenPipeError):  # what it died of is told below
            self._process.stdin.write(request + data)
            self._process.stdin.flush()
        reply = self._process.stdout.read(size + 8)
        if len(reply) != size + 8:
            message = self._end_of_guest()
            for said, defect in DEFECTS.items():
                if said in message:
                    pytest.xfail(defect)
            raise GuestFailed(message)
        return reply[:size], struct.unpack("<q", reply[size:])[0]

    def _end_of_guest(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"{' '.join(self._command[:3])} ended {how}: {'; '.join(said[-2:])}"

    def _call(self, name: str, *words: int) -> int:
        _, value = self._ask(SYSTEM_CALL, call_number(self._architecture, name), *words)
        assert value >= 0 or value < -4095, f"{name}{words} in the guest: {os.strerror(-value)}"
        return value

    def map(self, size: int) -> int:
        """Return the address of new memory, of whole pages and zero, with a page on both sides that cannot
        be touched (with ``exact_loads``).
        """
        size = _pages(size)
        address = self._call("mmap", 0, size + 2 * PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) + PAGE
        if EMULATED[self.cpu].exact_loads:
            self.protect(address - PAGE, PAGE, NOTHING)
            self.protect(address + size, PAGE, NOTHING)
        return address

    def unmap(self, address: int, size: int) -> None:
        """Give back what ``map`` gave."""
        self._call("munmap", address - PAGE, _pages(size) + 2 * PAGE)

    def protect(self, address: int, size: int, protection: int) -> None:
        """Set what may be done with pages."""
        self._call("mprotect", address, size, protection)

    def write(self, address: int, data: bytes) -> None:
        """Write memory."""
        self._ask(RECEIVE, address, len(data), data=data)

    def read(self, address: int, size: int) -> bytes:
        """Read memory."""
        return self._ask(SEND, address, size, size=size)[0]

    def load(self, record: ExecutableRecord) -> list[int]:
        """Map an image as ``ElfLoader`` does; returns the addresses of its entries.

        The processor's instruction cache is not flushed: the emulator sees what is written.
        """
        image = parse_elf(record.data, FORMAT_MACHINES[record.format])
        base = self.map(image.span)
        memory = bytearray(_pages(image.span))
        for segment in image.segments:
            piece = record.data[segment.offset : segment.offset + segment.file_size]
            memory[segment.address : segment.address + len(piece)] = piece
        for place, addend in image.relocations:
            struct.pack_into("<Q", memory, place, base + addend)
        self.write(base, bytes(memory))
        self.protect(base, len(memory), NOTHING)
        for segment in image.segments:
            start, end = segment.address // 4096 * 4096, -(-(segment.address + segment.size) // 4096) * 4096
            kind = READ_EXECUTE if segment.flags & EXECUTE else READ_WRITE
            self.protect(base + start, end - start, kind if segment.flags & (EXECUTE | WRITE) else READ_ONLY)
        return [base + image.functions[entry.name] for entry in record.entries]

    def call(
        self,
        kernel: int,
        bindings: Sequence[int],
        constants: Sequence[int],
        counts: Sequence[int],
        local_memory: int,
    ) -> int:
        """Run all workgroups; returns the first status that is not 0, or 0."""
        x, y, z = counts
        local = self.map(local_memory + PAGE)
        if local_memory:
            self.write(local, b"\xff" * local_memory)
        # Behind the local memory: the dispatch, the workgroup, the binding table, the push constants.
        tail = local + -(-local_memory // 64) * 64
        workgroup = tail + kernel_abi.DISPATCH_SIZE
        table = workgroup + kernel_abi.WORKGROUP_SIZE
        pushed = table + 8 * len(bindings)
        record = struct.pack("<QQIIIIII", table, pushed, x, y, z, len(bindings), len(constants), 0)
        record += struct.pack("<IIIIQQ", 0, 0, 0, 0, local, local_memory)
        record += struct.pack(f"<{len(bindings)}Q{len(constants)}I", *bindings, *constants)
        self.write(tail, record)
        _, status = self._ask(RUN, kernel, tail, workgroup, x, y, z)
        self.unmap(local, local_memory + PAGE)
        return status


class EmulatedKernel:
    """One kernel of an image, in a guest of its own."""

    def __init__(self, cpu: str, record: ExecutableRecord):
        self._guest = Guest(cpu)
        (self._address,) = self._guest.load(record)

    def run(
        self,
        arrays: Sequence[np.ndarray],
        guarded: np.ndarray,
        constants: Sequence[int],
        counts: Sequence[int],
        local_memory: int,
    ) -> int:
        """Run all workgroups; see ``kernel_harness.NativeKernelRunner.run``.

        Operands cannot be written, and the page behind each cannot be touched (with ``exact_loads``).
        """
        guest, placed = self._guest, []
        for array in arrays[:-1]:
            placed.append(self._place(array.tobytes(), array.ctypes.data % 64, array.itemsize))
        base = self._place(guarded.tobytes(), guarded.ctypes.data % 64, 1, READ_WRITE)
        output = base[0] + arrays[-1].ctypes.data - guarded.ctypes.data
        status = guest.call(
            self._address, [*(address for address, _, _ in placed), output], constants, counts, local_memory
        )
        guarded[:] = np.frombuffer(guest.read(base[0], guarded.nbytes), np.uint8)
        for _, start, size in (*placed, base):
            guest.unmap(start, size)
        return status

    def _place(
        self, data: bytes, remainder: int, alignment: int, protection: int = READ_ONLY
    ) -> tuple[int, int, int]:
        """Copy ``data`` to the end of new pages; returns its address, and the pages' and their size.

        An address that was a multiple of 64 stays one, others become multiples of the element size alone.
        """
        alignment = 64 if remainder == 0 else alignment
        size = _pages(len(data) + 64)
        start = self._guest.map(size)
        address = (start + size - len(data)) // alignment * alignment
        if data:
            self._guest.write(address, data)
        self._guest.protect(start, size, protection)
        return address, start, size


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _end(process: subprocess.Popen) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.kill()
    process.wait()


@cache
def _program_file(cpu: str) -> Path:
    _, config = configuration(cpu)
    path = _folder() / cpu.replace(" ", "-").replace("*", "")
    path.write_bytes(host_program(config))
    path.chmod(0o755)
    return path


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="thalweg-guests-")
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""Removed when the tests end."""
