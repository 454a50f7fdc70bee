"""Queue transfers as one-shot command buffers: the default of ``Device.queue_fill``, ``queue_update``,
``queue_copy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.errors import InvalidArgument
from thalweg.hal.command_buffer import UPDATE_LIMIT, BufferRef, CommandBuffer
from thalweg.hal.semaphore import SemaphoreList
from thalweg.hal.types import WHOLE_BUFFER, HostBytes

if TYPE_CHECKING:
    from thalweg.hal.driver import Device


def fill(
    device: Device, target: BufferRef, pattern: bytes, wait: SemaphoreList, signal: SemaphoreList
) -> None:
    """Submit one fill."""
    commands = CommandBuffer()
    commands.fill(target, pattern)
    device.queue_execute(commands.finalize(), wait=wait, signal=signal)


def update(
    device: Device, source: HostBytes, target: BufferRef, wait: SemaphoreList, signal: SemaphoreList
) -> None:
    """Submit one update of any size: pieces of at most ``UPDATE_LIMIT`` bytes, captured now.

    :raises InvalidArgument: ``source`` and ``target`` differ in length.
    """
    data = bytes(source)
    if target.buffer is None:
        raise InvalidArgument("queue_update takes a buffer; a slot has a meaning only in a command buffer")
    offset, length = target.buffer.resolve_range(target.offset, target.length)
    if length != len(data):
        raise InvalidArgument(f"an update of {len(data)} bytes into a range of {length} bytes")
    commands = CommandBuffer()
    for start in range(0, len(data), UPDATE_LIMIT):
        piece = data[start : start + UPDATE_LIMIT]
        commands.update(piece, BufferRef(target.buffer, offset + start, len(piece)))
    device.queue_execute(commands.finalize(), wait=wait, signal=signal)


def copy(
    device: Device, source: BufferRef, target: BufferRef, wait: SemaphoreList, signal: SemaphoreList
) -> None:
    """Submit one copy. A length left open on one side is taken from the other.

    :raises InvalidArgument: the ranges differ in length or overlap.
    """
    if source.length == WHOLE_BUFFER and target.length != WHOLE_BUFFER:
        source = BufferRef(source.buffer, source.offset, target.length, source.slot)
    elif target.length == WHOLE_BUFFER and source.length != WHOLE_BUFFER:
        target = BufferRef(target.buffer, target.offset, source.length, target.slot)
    commands = CommandBuffer()
    commands.copy(source, target)
    device.queue_execute(commands.finalize(), wait=wait, signal=signal)
