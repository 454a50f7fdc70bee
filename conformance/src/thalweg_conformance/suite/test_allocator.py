"""Allocators: sizes, parameters, exhaustion, imported host memory, statistics."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from thalweg.api import PermissionDenied, ResourceExhausted
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess, MemoryType

from thalweg_conformance.bench import STAGING, Bench
from thalweg_conformance.checks import equal, holds, raises, same_bytes
from thalweg_conformance.rules import Level, rule

AREA = "allocator"


@pytest.mark.parametrize("size", [1, 3, 64, 4097, 1 << 20])
@rule()
def test_allocates(bench: Bench, size: int) -> None:
    """HAL-ALC-1: a buffer has the size that was asked for, in bytes, and at least the type, usage and access.

    Reference: thalweg.hal.buffer.Allocator.allocate; IREE CTS buffer/allocator AllocateBuffer.
    """
    params = BufferParams()
    buffer = bench.allocator.allocate(size, params)
    asked = f"allocate({size})"
    equal(buffer.size, size, f"{asked}.size")
    for what in ("memory_type", "usage", "access"):
        came, should = getattr(buffer, what), getattr(params, what)
        holds(should in came, came, f"at least {should}", f"{asked}.{what}")


@rule()
def test_allocates_nothing(bench: Bench) -> None:
    """HAL-ALC-2: a buffer of 0 bytes is legal.

    Reference: thalweg.hal.buffer.Allocator.allocate; IREE CTS buffer/allocator AllocateEmptyBuffer.
    """
    equal(bench.allocator.allocate(0).size, 0, "allocate(0).size")


@rule()
def test_allocates_staging_memory(bench: Bench) -> None:
    """HAL-ALC-3: every device allocates host-visible, mappable buffers that it can copy from and to.

    Reference: thalweg.hal.types.MemoryType.HOST_VISIBLE, BufferUsage.MAPPING.
    """
    buffer = bench.allocator.allocate(256, STAGING)
    holds(
        MemoryType.HOST_VISIBLE in buffer.memory_type,
        buffer.memory_type,
        "host-visible",
        "allocate(256, STAGING)",
    )
    equal(len(buffer.map(MemoryAccess.READ)), 256, "bytes of the mapped buffer")


@rule()
def test_buffers_are_apart(bench: Bench) -> None:
    """HAL-ALC-4: what is written to one buffer changes no other.

    Reference: thalweg.hal.buffer.Allocator.allocate.
    """
    contents = [bench.bytes(size) for size in (1, 17, 64, 1000, 4096)]
    buffers = [bench.buffer(content) for content in contents]
    for buffer, content in zip(buffers, contents):
        same_bytes(bench.read(buffer), content, f"a buffer of {len(content)} bytes beside four others")


@rule()
def test_refuses_what_does_not_fit(bench: Bench) -> None:
    """HAL-ALC-5: more memory than there is raises ResourceExhausted, which says how much was asked for.

    Reference: thalweg.hal.buffer.Allocator.allocate.
    """
    size = 1 << 60
    with raises(ResourceExhausted, f"allocate({size})") as caught:
        bench.allocator.allocate(size)
    message = str(caught[0])
    holds(str(size) in message, message, f"a message that holds {size}", f"allocate({size})")
    equal(bench.allocator.allocate(64).size, 64, "allocate(64).size after a refused allocation")


@rule(Level.STANDARD, capability="host-addressable")
@pytest.mark.parametrize("alignment", [64, 4096])
def test_aligns(bench: Bench, alignment: int) -> None:
    """HAL-ALC-6: the first byte's address is a multiple of the alignment that was asked for.

    Reference: thalweg.hal.types.BufferParams.alignment.
    """
    for size in (1, 100, 5000):
        address = bench.allocator.allocate(size, BufferParams(alignment=alignment)).host_address
        equal(address % alignment, 0, f"host_address modulo the alignment {alignment} of {size} bytes")


@rule(Level.STANDARD, capability="import-host")
def test_imports_without_a_copy(bench: Bench) -> None:
    """HAL-ALC-7: imported host memory is the buffer's memory: each side sees what the other writes.

    Reference: thalweg.hal.buffer.Allocator.import_host; IREE CTS buffer/allocator ImportHostAllocation.
    """
    memory = np.frombuffer(bytearray(bench.bytes(256)), np.uint8)
    buffer = bench.allocator.import_host(memory)
    equal(buffer.size, 256, "import_host(256 bytes).size")
    same_bytes(bench.read(buffer), memory.tobytes(), "the imported bytes, read by the device")
    memory[:] = 9
    same_bytes(
        bench.read(buffer), bytes([9]) * 256, "bytes that the host wrote after the import, read by the device"
    )
    done = bench.semaphore()
    bench.device.queue_fill(BufferRef(buffer, 8, 8), b"\x05", signal=[(done, 1)])
    bench.reach(done, 1, "a fill of imported memory")
    same_bytes(
        memory.tobytes(),
        bytes([9] * 8 + [5] * 8 + [9] * 240),
        "bytes that the device filled, read by the host",
    )


@rule(Level.STANDARD, capability="import-host")
def test_imports_read_only_memory(bench: Bench) -> None:
    """HAL-ALC-8: read-only host memory becomes a buffer without WRITE access; filling it is refused.

    Reference: thalweg.hal.buffer.Allocator.import_host.
    """
    buffer = bench.allocator.import_host(b"constant" * 8)
    equal(buffer.access, MemoryAccess.READ, "access of a buffer over read-only memory")
    with raises(PermissionDenied, "queue_fill of a buffer over read-only memory"):
        bench.device.queue_fill(BufferRef(buffer), b"\0")
    same_bytes(bench.read(buffer), b"constant" * 8, "the read-only bytes, read by the device")


@rule(Level.STANDARD, capability="import-host")
def test_import_keeps_memory_alive(bench: Bench) -> None:
    """HAL-ALC-9: a buffer keeps the host memory alive that it was imported from.

    Reference: thalweg.hal.buffer.Allocator.import_host.
    """
    content = bench.bytes(1 << 16)
    buffer = bench.allocator.import_host(np.frombuffer(bytearray(content), np.uint8))
    gc.collect()
    others = [np.full(1 << 16, 7, np.uint8) for _ in range(8)]
    same_bytes(
        bench.read(buffer),
        content,
        f"imported memory after its owner let go ({len(others)} others allocated)",
    )


@rule(Level.STANDARD, capability="allocator-statistics")
def test_counts_live_buffers(bench: Bench) -> None:
    """HAL-ALC-10: statistics count live buffers and their bytes; a buffer nobody holds is freed.

    Reference: thalweg.hal.buffer.Allocator.statistics; DESIGN section 4, live-object counters.
    """
    gc.collect()
    before = bench.allocator.statistics()
    buffers = [bench.allocator.allocate(1000) for _ in range(5)]
    during = bench.allocator.statistics()
    equal(
        during["live_buffers"] - before["live_buffers"], len(buffers), "live_buffers more after 5 allocations"
    )
    came = during["bytes_allocated"] - before["bytes_allocated"]
    holds(came >= 5000, came, "5000 or more", "bytes_allocated more after 5 allocations of 1000")
    live = during["bytes_allocated"] - during["bytes_freed"]
    holds(
        during["bytes_peak"] >= live,
        during["bytes_peak"],
        f"{live} or more",
        "bytes_peak while those are live",
    )
    buffers.clear()
    gc.collect()
    after = bench.allocator.statistics()
    equal(after["live_buffers"], before["live_buffers"], "live_buffers after nobody holds the 5 buffers")
    live_before = before["bytes_allocated"] - before["bytes_freed"]
    equal(
        after["bytes_allocated"] - after["bytes_freed"],
        live_before,
        "live bytes after nobody holds the 5 buffers",
    )


@rule(Level.STANDARD, capability="allocator-statistics")
def test_submissions_leak_nothing(bench: Bench) -> None:
    """HAL-ALC-11: buffers that submissions used are freed when those have ended and nobody else holds them.

    Reference: thalweg.hal.buffer.Allocator.statistics; thalweg.hal.driver.Device.queue_execute.
    """
    _settle(bench)
    before = bench.allocator.statistics()["live_buffers"]
    for _ in range(3):
        buffer, done = (
            bench.allocator.allocate(256, BufferParams(usage=BufferUsage.DEFAULT)),
            bench.semaphore(),
        )
        bench.device.queue_fill(BufferRef(buffer), b"\x01", signal=[(done, 1)])
        bench.reach(done, 1, "a fill")
        del buffer
    _settle(bench)
    equal(
        bench.allocator.statistics()["live_buffers"],
        before,
        "live_buffers after three fills of dropped buffers",
    )


def _settle(bench: Bench) -> None:
    """Have one more submission end, so that the device lets go of those before it."""
    for _ in range(2):
        done = bench.semaphore()
        bench.device.queue_execute(None, signal=[(done, 1)])
        bench.reach(done, 1, "a barrier")
    gc.collect()
