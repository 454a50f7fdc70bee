"""The HAL's enums and small records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto

HostBytes = bytes | bytearray | memoryview
"""Bytes of the host, to be copied; a memoryview has the format ``B`` and is contiguous."""

WHOLE_BUFFER = -1
"""As a length: from the offset to the end of the buffer."""


class MemoryType(Flag):
    """Where a buffer lives. An allocation may have more bits than were asked for."""

    HOST_VISIBLE = auto()
    HOST_COHERENT = auto()
    HOST_CACHED = auto()
    DEVICE_VISIBLE = auto()
    DEVICE_LOCAL = auto()
    HOST_LOCAL = HOST_VISIBLE | HOST_COHERENT | HOST_CACHED


class BufferUsage(Flag):
    """What a buffer may be used for; using it otherwise raises ``PermissionDenied``."""

    TRANSFER_SOURCE = auto()
    TRANSFER_TARGET = auto()
    DISPATCH_READ = auto()
    DISPATCH_WRITE = auto()
    MAPPING = auto()
    TRANSFER = TRANSFER_SOURCE | TRANSFER_TARGET
    DISPATCH = DISPATCH_READ | DISPATCH_WRITE
    DEFAULT = TRANSFER | DISPATCH


class MemoryAccess(Flag):
    """What may be done to a buffer's bytes; doing otherwise raises ``PermissionDenied``."""

    READ = auto()
    WRITE = auto()
    ALL = READ | WRITE


@dataclass(frozen=True)
class BufferParams:
    """What an allocation asks for. ``alignment`` is in bytes."""

    memory_type: MemoryType = MemoryType.DEVICE_LOCAL | MemoryType.DEVICE_VISIBLE
    usage: BufferUsage = BufferUsage.DEFAULT
    access: MemoryAccess = MemoryAccess.ALL
    alignment: int = 64


@dataclass(frozen=True)
class DeviceInfo:
    """One device that a driver found. ``path`` is its stable name; empty for a driver's only device."""

    device_id: int
    path: str
    name: str

    def as_dict(self) -> dict[str, object]:
        """Return ``{'device_id': …, 'path': …, 'name': …}``, as IREE's Python API does."""
        return {"device_id": self.device_id, "path": self.path, "name": self.name}
