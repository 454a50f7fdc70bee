"""Queue transfers: fill, update and copy as operations of their own."""

from __future__ import annotations

import pytest
from thalweg.api import InvalidArgument, OutOfRange, PermissionDenied
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import raises, same_bytes
from thalweg_conformance.rules import Level, rule

AREA = "transfer"

PATTERNS = [b"\xab", b"\xab\xcd", b"\x01\x23\x45\x67"]
RANGES = [(0, 4), (4, 4), (8, 64), (12, 52), (128, 300), (4, 1020)]
COPIES = [(0, 0, 1), (1, 2, 3), (3, 0, 4), (5, 7, 63), (64, 0, 64), (0, 65, 65), (17, 31, 1000), (0, 0, 4096)]


def _fill(bench: Bench, target: BufferRef, pattern: bytes) -> None:
    done = bench.semaphore()
    bench.device.queue_fill(target, pattern, signal=[(done, 1)])
    bench.reach(done, 1, "queue_fill")


def _update(bench: Bench, source: bytes, target: BufferRef) -> None:
    done = bench.semaphore()
    bench.device.queue_update(source, target, signal=[(done, 1)])
    bench.reach(done, 1, "queue_update")


def _copy(bench: Bench, source: BufferRef, target: BufferRef) -> None:
    done = bench.semaphore()
    bench.device.queue_copy(source, target, signal=[(done, 1)])
    bench.reach(done, 1, "queue_copy")


@pytest.mark.parametrize("pattern", PATTERNS, ids=["1-byte", "2-byte", "4-byte"])
@rule()
def test_fills_a_buffer(bench: Bench, pattern: bytes) -> None:
    """HAL-XFR-1: a fill repeats its pattern of 1, 2 or 4 bytes over the whole buffer.

    Reference: thalweg.hal.driver.Device.queue_fill; IREE CTS queue/queue_transfer FillEntireBuffer.
    """
    buffer = bench.buffer(bytes(1024))
    _fill(bench, BufferRef(buffer), pattern)
    same_bytes(
        bench.read(buffer), pattern * (1024 // len(pattern)), f"queue_fill of 1024 bytes with {pattern!r}"
    )


@pytest.mark.parametrize("pattern", PATTERNS, ids=["1-byte", "2-byte", "4-byte"])
@rule()
def test_fills_a_range(bench: Bench, pattern: bytes) -> None:
    """HAL-XFR-2: a fill of a range changes that range and nothing beside it.

    Reference: thalweg.hal.driver.Device.queue_fill; IREE CTS queue/queue_transfer FillSubrange.
    """
    for offset, length in RANGES:
        content = bytearray(bench.bytes(1024))
        buffer = bench.buffer(bytes(content))
        _fill(bench, BufferRef(buffer, offset, length), pattern)
        content[offset : offset + length] = pattern * (length // len(pattern))
        same_bytes(
            bench.read(buffer),
            bytes(content),
            f"queue_fill of [{offset}, {offset + length}) with {pattern!r}",
        )


@rule()
def test_fills_odd_ranges(bench: Bench) -> None:
    """HAL-XFR-3: a 1-byte fill takes any offset and length.

    Reference: thalweg.hal.driver.Device.queue_fill; IREE CTS FillSizeAlignmentAndPatternClasses.
    """
    for offset, length in ((0, 1), (1, 1), (1, 2), (3, 7), (5, 63), (63, 66)):
        content = bytearray(bench.bytes(256))
        buffer = bench.buffer(bytes(content))
        _fill(bench, BufferRef(buffer, offset, length), b"\xee")
        content[offset : offset + length] = b"\xee" * length
        same_bytes(
            bench.read(buffer), bytes(content), f"queue_fill of [{offset}, {offset + length}) with 1 byte"
        )


@rule()
def test_refuses_bad_patterns(bench: Bench) -> None:
    """HAL-XFR-4: a pattern of another size, or one that does not divide the length, raises InvalidArgument.

    Reference: thalweg.hal.command_buffer.CommandBuffer.fill.
    """
    buffer = bench.buffer(bytes(64))
    for pattern, length in ((b"", 64), (b"123", 63), (b"12345678", 64), (b"1234", 62), (b"12", 63)):
        with raises(InvalidArgument, f"queue_fill of {length} bytes with a pattern of {len(pattern)}"):
            bench.device.queue_fill(BufferRef(buffer, 0, length), pattern)


@pytest.mark.parametrize(("offset", "length"), [(0, 256), (0, 1), (3, 5), (100, 156), (255, 1)])
@rule()
def test_updates_a_range(bench: Bench, offset: int, length: int) -> None:
    """HAL-XFR-5: an update writes its bytes at its offset and changes nothing beside them.

    Reference: thalweg.hal.driver.Device.queue_update; IREE CTS queue/queue_transfer UpdateSubrange.
    """
    content, data = bytearray(bench.bytes(256)), bench.bytes(length)
    buffer = bench.buffer(bytes(content))
    _update(bench, data, BufferRef(buffer, offset, length))
    content[offset : offset + length] = data
    same_bytes(bench.read(buffer), bytes(content), f"queue_update of [{offset}, {offset + length})")


@rule()
def test_update_captures_its_source(bench: Bench) -> None:
    """HAL-XFR-6: an update writes the bytes that its source held at the call, whatever becomes of them
    before it runs.

    Reference: thalweg.hal.driver.Device.queue_update; IREE CTS UpdateCapturesSourceBeforeWaitResolves.
    """
    content = bench.bytes(128)
    source, buffer = bytearray(content), bench.buffer(bytes(128))
    gate, done = bench.semaphore(), bench.semaphore()
    bench.device.queue_update(source, BufferRef(buffer), wait=[(gate, 1)], signal=[(done, 1)])
    source[:] = bytes(128)
    gate.signal(1)
    bench.reach(done, 1, "queue_update behind a semaphore")
    same_bytes(bench.read(buffer), content, "queue_update whose source was overwritten after the call")


@rule()
def test_updates_more_than_a_command_holds(bench: Bench) -> None:
    """HAL-XFR-7: an update on the queue may have any size.

    Reference: thalweg.hal.driver.Device.queue_update; IREE CTS UpdateLargerThanCommandBufferLimit.
    """
    content = bench.bytes(200_001)
    buffer = bench.buffer(bytes(200_001))
    _update(bench, content, BufferRef(buffer))
    same_bytes(bench.read(buffer), content, "queue_update of 200001 bytes")


@rule()
def test_refuses_an_update_of_another_length(bench: Bench) -> None:
    """HAL-XFR-8: an update whose source and target differ in length raises InvalidArgument.

    Reference: thalweg.hal.command_buffer.CommandBuffer.update.
    """
    buffer = bench.buffer(bytes(64))
    for size in (0, 31, 33):
        with raises(InvalidArgument, f"queue_update of {size} bytes into a range of 32"):
            bench.device.queue_update(bytes(size), BufferRef(buffer, 0, 32))


@rule()
def test_copies_a_buffer(bench: Bench) -> None:
    """HAL-XFR-9: a copy of a whole buffer copies all of its bytes, the last one too.

    Reference: thalweg.hal.driver.Device.queue_copy; IREE CTS queue/queue_transfer CopyEntireBuffer.
    """
    for size in (1, 2, 5, 64, 1023, 65536):
        content = bench.bytes(size)
        source, target = bench.staging(content), bench.staging(bytes(size))
        _copy(bench, BufferRef(source), BufferRef(target))
        same_bytes(bytes(target.map(MemoryAccess.READ)), content, f"queue_copy of {size} bytes")


@pytest.mark.parametrize(("source_offset", "target_offset", "length"), COPIES)
@rule()
def test_copies_a_range(bench: Bench, source_offset: int, target_offset: int, length: int) -> None:
    """HAL-XFR-10: a copy takes any offsets and length, and changes nothing beside its target.

    Reference: thalweg.hal.driver.Device.queue_copy; IREE CTS CopySizeAndAlignmentClasses.
    """
    content, before = bench.bytes(4200), bytearray(bench.bytes(4200))
    source, target = bench.buffer(content), bench.buffer(bytes(before))
    _copy(bench, BufferRef(source, source_offset, length), BufferRef(target, target_offset, length))
    before[target_offset : target_offset + length] = content[source_offset : source_offset + length]
    asked = f"queue_copy of {length} bytes from offset {source_offset} to {target_offset}"
    same_bytes(bench.read(target), bytes(before), asked)


@rule(Level.STANDARD)
def test_copies_within_a_buffer(bench: Bench) -> None:
    """HAL-XFR-11: a copy within one buffer works for ranges that are apart, and raises InvalidArgument for
    others.

    Reference: thalweg.hal.command_buffer.CommandBuffer.copy.
    """
    content = bench.bytes(256)
    buffer = bench.buffer(content)
    _copy(bench, BufferRef(buffer, 0, 128), BufferRef(buffer, 128, 128))
    same_bytes(bench.read(buffer), content[:128] * 2, "queue_copy of the first half over the second")
    for offset in (0, 1, 127):
        with raises(InvalidArgument, f"queue_copy of 128 bytes from 0 to {offset} of one buffer"):
            bench.device.queue_copy(BufferRef(buffer, 0, 128), BufferRef(buffer, offset, 128))


@rule()
def test_refuses_a_copy_of_two_lengths(bench: Bench) -> None:
    """HAL-XFR-12: a copy whose ranges differ in length raises InvalidArgument.

    Reference: thalweg.hal.command_buffer.CommandBuffer.copy.
    """
    source, target = bench.buffer(bytes(64)), bench.buffer(bytes(64))
    with raises(InvalidArgument, "queue_copy of 32 bytes into a range of 16"):
        bench.device.queue_copy(BufferRef(source, 0, 32), BufferRef(target, 0, 16))


@rule()
def test_refuses_ranges_outside(bench: Bench) -> None:
    """HAL-XFR-13: a range outside its buffer raises OutOfRange at the call.

    Reference: thalweg.hal.buffer.Buffer.resolve_range.
    """
    device, buffer, other = bench.device, bench.buffer(bytes(64)), bench.buffer(bytes(256))
    for offset, length in ((0, 68), (64, 4), (-4, 4), (128, 4)):
        ref, where = BufferRef(buffer, offset, length), f"[{offset}, {offset + length}) of 64 bytes"
        with raises(OutOfRange, f"queue_fill of {where}"):
            device.queue_fill(ref, b"\x01")
        with raises(OutOfRange, f"queue_update of {where}"):
            device.queue_update(bytes(length), ref)
        with raises(OutOfRange, f"queue_copy from {where}"):
            device.queue_copy(ref, BufferRef(other, 0, length))
        with raises(OutOfRange, f"queue_copy to {where}"):
            device.queue_copy(BufferRef(other, 0, length), ref)


@rule()
def test_refuses_usage_it_lacks(bench: Bench) -> None:
    """HAL-XFR-14: a buffer used in a transfer that its usage does not allow raises PermissionDenied.

    Reference: thalweg.hal.types.BufferUsage; thalweg.hal.buffer.Buffer.require.
    """
    device = bench.device
    only_source = bench.allocator.allocate(64, BufferParams(usage=BufferUsage.TRANSFER_SOURCE))
    only_target = bench.allocator.allocate(64, BufferParams(usage=BufferUsage.TRANSFER_TARGET))
    with raises(PermissionDenied, "queue_fill of a buffer for TRANSFER_SOURCE only"):
        device.queue_fill(BufferRef(only_source), b"\x01")
    with raises(PermissionDenied, "queue_update of a buffer for TRANSFER_SOURCE only"):
        device.queue_update(bytes(64), BufferRef(only_source))
    with raises(PermissionDenied, "queue_copy from a buffer for TRANSFER_TARGET only"):
        device.queue_copy(BufferRef(only_target), BufferRef(only_target))


@rule()
def test_refuses_access_it_lacks(bench: Bench) -> None:
    """HAL-XFR-15: writing to a buffer that was allocated for READ raises PermissionDenied.

    Reference: thalweg.hal.types.MemoryAccess; thalweg.hal.buffer.Buffer.require.
    """
    buffer = bench.allocator.allocate(64, BufferParams(access=MemoryAccess.READ))
    with raises(PermissionDenied, "queue_fill of a buffer allocated for READ"):
        bench.device.queue_fill(BufferRef(buffer), b"\x01")


@rule(Level.STANDARD)
def test_transfers_nothing(bench: Bench) -> None:
    """HAL-XFR-16: a transfer of 0 bytes changes nothing and signals.

    Reference: thalweg.hal.driver.Device.queue_fill, queue_update, queue_copy.
    """
    content = bench.bytes(64)
    buffer, other = bench.buffer(content), bench.buffer(bytes(64))
    _fill(bench, BufferRef(buffer, 32, 0), b"\x01\x02\x03\x04")
    _update(bench, b"", BufferRef(buffer, 64, 0))
    _copy(bench, BufferRef(other, 0, 0), BufferRef(buffer, 0, 0))
    same_bytes(bench.read(buffer), content, "a buffer after transfers of 0 bytes")


@rule()
def test_chains_transfers(bench: Bench) -> None:
    """HAL-XFR-17: transfers chained by semaphores see what the one before wrote.

    Reference: IREE CTS queue/queue_transfer ChainedFillCopyFill.
    """
    first, second, time = bench.buffer(bytes(256)), bench.buffer(bytes(256)), bench.semaphore()
    device = bench.device
    device.queue_fill(BufferRef(first), b"\x11", signal=[(time, 1)])
    device.queue_copy(BufferRef(first), BufferRef(second), wait=[(time, 1)], signal=[(time, 2)])
    device.queue_fill(BufferRef(first), b"\x22", wait=[(time, 2)], signal=[(time, 3)])
    device.queue_copy(
        BufferRef(first, 0, 128), BufferRef(second, 0, 128), wait=[(time, 3)], signal=[(time, 4)]
    )
    bench.reach(time, 4, "a chain of four transfers")
    same_bytes(bench.read(second), b"\x22" * 128 + b"\x11" * 128, "fill, copy, fill, copy of the first half")


@rule(Level.STANDARD)
def test_runs_a_burst(bench: Bench) -> None:
    """HAL-XFR-18: a hundred copies submitted at once run in the order that their semaphores give.

    Reference: IREE CTS queue/queue_transfer BurstCopySubmit.
    """
    contents = [bench.bytes(64) for _ in range(100)]
    sources, target, time = [bench.staging(c) for c in contents], bench.buffer(bytes(64)), bench.semaphore()
    for index, source in enumerate(sources):
        bench.device.queue_copy(
            BufferRef(source), BufferRef(target), wait=[(time, index)], signal=[(time, index + 1)]
        )
    bench.reach(time, len(sources), "a burst of 100 copies")
    same_bytes(bench.read(target), contents[-1], "the target of 100 copies, which the last one wrote")


@rule(Level.FULL)
def test_random_transfers(bench: Bench) -> None:
    """HAL-XFR-19: any sequence of transfers leaves what the same sequence leaves in plain host memory.

    Reference: thalweg.hal.driver.Device.queue_fill, queue_update, queue_copy.
    """
    size, random = 2048, bench.random
    models = [bytearray(bench.bytes(size)) for _ in range(3)]
    buffers, time = [bench.buffer(bytes(model)) for model in models], bench.semaphore()
    for step in range(300):
        length = int(random.integers(0, size // 2)) // 4 * 4
        offset, other = (int(random.integers(0, size - length + 1)) for _ in range(2))
        target, source = (int(i) for i in random.permutation(3)[:2])
        ref, order = (
            BufferRef(buffers[target], offset, length),
            {"wait": [(time, step)], "signal": [(time, step + 1)]},
        )
        kind = int(random.integers(3))
        if kind == 0:
            pattern = bench.bytes(int(random.choice([1, 2, 4])))
            data = pattern * (length // len(pattern))
            bench.device.queue_fill(ref, pattern, **order)
        elif kind == 1:
            data = bench.bytes(length)
            bench.device.queue_update(data, ref, **order)
        else:
            data = bytes(models[source][other : other + length])
            bench.device.queue_copy(BufferRef(buffers[source], other, length), ref, **order)
        models[target][offset : offset + length] = data
    bench.reach(time, 300, "300 random transfers")
    for index, (buffer, model) in enumerate(zip(buffers, models)):
        same_bytes(
            bench.read(buffer), bytes(model), f"buffer {index} after 300 random transfers, seed {bench.seed}"
        )
