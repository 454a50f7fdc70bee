"""The device under test with what a test needs to work on it: content, semaphores, and waiting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from thalweg.api import DeadlineExceeded
from thalweg.hal.buffer import Allocator, Buffer
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.driver import Device
from thalweg.hal.semaphore import Semaphore
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess, MemoryType

STAGING = BufferParams(
    memory_type=MemoryType.HOST_VISIBLE | MemoryType.HOST_COHERENT | MemoryType.DEVICE_VISIBLE,
    usage=BufferUsage.TRANSFER | BufferUsage.MAPPING,
)
"""What a buffer is allocated with that the host writes and reads, and the device copies from and to."""


class Bench:
    """One test's view of the device.

    :ivar limit: the most seconds that one wait may take.
    """

    def __init__(self, device: Device, seed: int, limit: float):
        self.device = device
        self.seed = seed
        self.limit = limit
        self.random = np.random.default_rng(seed)

    @property
    def allocator(self) -> Allocator:
        """The device's allocator."""
        return self.device.allocator

    def semaphore(self, value: int = 0) -> Semaphore:
        """Return a new semaphore at ``value``."""
        return self.device.create_semaphore(value)

    def bytes(self, size: int) -> bytes:
        """Return ``size`` random bytes, none of them zero, so that lost bytes show."""
        return self.random.integers(1, 256, size, np.uint8).tobytes()

    def floats(self, count: int) -> np.ndarray:
        """Return ``count`` random float32 between -4 and 4."""
        return self.random.uniform(-4, 4, count).astype(np.float32)

    def staging(self, content: bytes) -> Buffer:
        """Return a host-visible buffer that holds ``content``."""
        buffer = self.allocator.allocate(len(content), STAGING)
        if content:
            buffer.map(MemoryAccess.WRITE)[:] = content
        return buffer

    def buffer(self, content: bytes, usage: BufferUsage = BufferUsage.DEFAULT) -> Buffer:
        """Return a buffer of the device's own memory that holds ``content``."""
        buffer = self.allocator.allocate(len(content), BufferParams(usage=usage | BufferUsage.TRANSFER))
        if content:
            done = self.semaphore()
            self.device.queue_update(content, BufferRef(buffer), signal=[(done, 1)])
            self.reach(done, 1, "an upload of a test's input")
        return buffer

    def read(self, buffer: Buffer, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of ``buffer``, through a copy to a host-visible one."""
        length = buffer.size - offset if length is None else length
        if not length:
            return b""
        landing, done = self.allocator.allocate(length, STAGING), self.semaphore()
        self.device.queue_copy(BufferRef(buffer, offset, length), BufferRef(landing), signal=[(done, 1)])
        self.reach(done, 1, "a download of a test's result")
        return bytes(landing.map(MemoryAccess.READ))

    def run(self, commands: CommandBuffer, bindings: Sequence[BufferRef] = ()) -> None:
        """Submit ``commands``, finalized if need be, and wait for their end."""
        done = self.semaphore()
        commands = commands if commands.finalized else commands.finalize()
        self.device.queue_execute(commands, bindings, signal=[(done, 1)])
        self.reach(done, 1, "a submission")

    def reach(self, semaphore: Semaphore, value: int, asked: str) -> None:
        """Wait until ``semaphore`` is at ``value``; a device that never gets there fails the test."""
        try:
            semaphore.wait(value, self.limit)
        except DeadlineExceeded:
            raise AssertionError(
                f"{asked} should signal its semaphore to {value};"
                f" after {self.limit:g} s it is at {semaphore.query()}"
            ) from None
