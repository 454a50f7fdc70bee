"""Mapping: the host's view of a buffer's bytes."""

from __future__ import annotations

import ctypes

from thalweg.api import NotSupported, OutOfRange, PermissionDenied
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess

from thalweg_conformance.bench import STAGING, Bench
from thalweg_conformance.checks import equal, holds, raises, same_bytes
from thalweg_conformance.rules import Level, rule

AREA = "mapping"


@rule()
def test_keeps_what_is_written(bench: Bench) -> None:
    """HAL-MAP-1: bytes written through a mapping are there in the next one.

    Reference: thalweg.hal.buffer.Buffer.map; IREE CTS buffer/mapping WriteDataWholeBuffer.
    """
    content = bench.bytes(1000)
    buffer = bench.allocator.allocate(1000, STAGING)
    view = buffer.map(MemoryAccess.WRITE)
    equal((view.format, len(view)), ("B", 1000), "format and length of map(WRITE) of 1000 bytes")
    view[:] = content
    same_bytes(bytes(buffer.map(MemoryAccess.READ)), content, "1000 bytes written through map(WRITE)")


@rule()
def test_maps_a_range(bench: Bench) -> None:
    """HAL-MAP-2: a mapping of a range holds its bytes and changes no others.

    Reference: thalweg.hal.buffer.Buffer.map; IREE CTS buffer/mapping WriteDataSubspan.
    """
    content = bytearray(bench.bytes(256))
    buffer = bench.staging(bytes(content))
    same_bytes(bytes(buffer.map(MemoryAccess.READ, 100, 28)), bytes(content[100:128]), "map(READ, 100, 28)")
    same_bytes(bytes(buffer.map(MemoryAccess.READ, 200)), bytes(content[200:]), "map(READ, 200), to the end")
    buffer.map(MemoryAccess.ALL, 3, 5)[:] = b"12345"
    content[3:8] = b"12345"
    same_bytes(bytes(buffer.map(MemoryAccess.READ)), bytes(content), "the buffer after 5 bytes written at 3")
    equal(len(buffer.map(MemoryAccess.READ, 256, 0)), 0, "length of an empty mapping at the end")


@rule()
def test_read_mapping_is_read_only(bench: Bench) -> None:
    """HAL-MAP-3: a mapping for READ cannot be written through.

    Reference: thalweg.hal.buffer.Buffer.map.
    """
    view = bench.staging(b"12345678").map(MemoryAccess.READ)
    equal(view.readonly, True, "readonly of map(READ)")


@rule()
def test_refuses_a_range_outside(bench: Bench) -> None:
    """HAL-MAP-4: a range outside the buffer raises OutOfRange.

    Reference: thalweg.hal.buffer.Buffer.map, Buffer.resolve_range.
    """
    buffer = bench.staging(bytes(64))
    for offset, length in ((0, 65), (64, 1), (65, 0), (-1, 4), (60, 5)):
        with raises(OutOfRange, f"map(READ, {offset}, {length}) of 64 bytes"):
            buffer.map(MemoryAccess.READ, offset, length)


@rule()
def test_refuses_access_it_lacks(bench: Bench) -> None:
    """HAL-MAP-5: mapping for an access that the buffer was not allocated with raises PermissionDenied.

    Reference: thalweg.hal.buffer.Buffer.map; thalweg.hal.types.MemoryAccess.
    """
    params = BufferParams(STAGING.memory_type, STAGING.usage, MemoryAccess.READ)
    buffer = bench.allocator.allocate(64, params)
    with raises(PermissionDenied, "map(WRITE) of a buffer allocated for READ"):
        buffer.map(MemoryAccess.WRITE)


@rule()
def test_refuses_mapping_without_the_usage(bench: Bench) -> None:
    """HAL-MAP-6: mapping a buffer that was not allocated for it raises PermissionDenied, or NotSupported if
    its memory is not host-visible.

    Reference: thalweg.hal.buffer.Buffer.map; thalweg.hal.types.BufferUsage.MAPPING.
    """
    buffer = bench.allocator.allocate(64, BufferParams(usage=BufferUsage.TRANSFER))
    asked = "map(READ) of a buffer allocated without MAPPING"
    with raises((PermissionDenied, NotSupported), asked):
        buffer.map(MemoryAccess.READ)


@rule()
def test_device_sees_mapped_writes(bench: Bench) -> None:
    """HAL-MAP-7: work submitted after a mapped write sees it; the host sees the device's write after waiting.

    Reference: thalweg.hal.types.MemoryType.HOST_COHERENT; IREE CTS buffer/mapping MapRangeWrite.
    """
    first, second = bench.bytes(512), bench.bytes(512)
    source, target = bench.staging(first), bench.allocator.allocate(512, STAGING)
    view, landed = source.map(MemoryAccess.WRITE), target.map(MemoryAccess.READ)
    for round, content in enumerate((first, second), 1):
        view[:] = content
        done = bench.semaphore()
        bench.device.queue_copy(BufferRef(source), BufferRef(target), signal=[(done, 1)])
        bench.reach(done, 1, "a copy between host-visible buffers")
        same_bytes(bytes(landed), content, f"mapped bytes that the device copied, round {round}")


@rule(Level.STANDARD, capability="host-addressable")
def test_host_address_is_the_mapped_memory(bench: Bench) -> None:
    """HAL-MAP-8: the host address of a buffer is where its mapped bytes are.

    Reference: thalweg.hal.buffer.Buffer.host_address.
    """
    content = bench.bytes(128)
    buffer = bench.staging(content)
    address = buffer.host_address
    holds(isinstance(address, int) and address > 0, address, "an address", "host_address")
    same_bytes(ctypes.string_at(address, 128), content, "128 bytes at host_address")
