"""Moves bytes between the host and a device's buffers, and waits for it."""

from __future__ import annotations

import numpy as np

from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.driver import Device
from thalweg.hal.types import WHOLE_BUFFER, BufferParams, BufferUsage, MemoryAccess, MemoryType

RESULT = BufferParams(usage=BufferUsage.DEFAULT | BufferUsage.MAPPING)
"""Buffers of inputs and results: mapped where the device's memory is the host's."""

DEVICE_ONLY = BufferParams(usage=BufferUsage.DEFAULT)

STAGING = BufferParams(
    memory_type=MemoryType.HOST_LOCAL | MemoryType.DEVICE_VISIBLE,
    usage=BufferUsage.TRANSFER | BufferUsage.MAPPING,
)


def is_host_addressable(device: Device) -> bool:
    """Return whether the device computes in the host's memory."""
    return "host-addressable" in device.capabilities


def result_params(device: Device) -> BufferParams:
    """Return how to allocate a buffer that the host will read or write."""
    return RESULT if is_host_addressable(device) else DEVICE_ONLY


def upload(device: Device, data: np.ndarray) -> Buffer:
    """Return a new buffer of ``device`` that holds ``data`` (uint8)."""
    buffer = device.allocator.allocate(data.nbytes, result_params(device))
    write(device, buffer, data)
    return buffer


def write(device: Device, buffer: Buffer, data: np.ndarray, offset: int = 0) -> None:
    """Copy ``data`` (uint8) into ``buffer``, from byte ``offset`` on."""
    if not data.nbytes:
        return
    if _mappable(buffer):
        np.frombuffer(buffer.map(MemoryAccess.WRITE, offset, data.nbytes), np.uint8)[:] = data
        return
    staging = device.allocator.allocate(data.nbytes, STAGING)
    np.frombuffer(staging.map(MemoryAccess.WRITE), np.uint8)[:] = data
    _copy(device, BufferRef(staging, 0, data.nbytes), BufferRef(buffer, offset, data.nbytes))


def read(device: Device, buffer: Buffer, offset: int = 0, length: int = WHOLE_BUFFER) -> np.ndarray:
    """Return a copy of a range of a buffer's bytes (uint8)."""
    offset, length = buffer.resolve_range(offset, length)
    if not length:
        return np.empty(0, np.uint8)
    if not _mappable(buffer):
        staging = device.allocator.allocate(length, STAGING)
        _copy(device, BufferRef(buffer, offset, length), BufferRef(staging, 0, length))
        buffer, offset = staging, 0
    return np.frombuffer(buffer.map(MemoryAccess.READ, offset, length), np.uint8).copy()


def _mappable(buffer: Buffer) -> bool:
    return MemoryType.HOST_VISIBLE in buffer.memory_type and BufferUsage.MAPPING in buffer.usage


def _copy(device: Device, source: BufferRef, target: BufferRef) -> None:
    done = device.create_semaphore(0)
    device.queue_copy(source, target, signal=[(done, 1)])
    done.wait(1)
