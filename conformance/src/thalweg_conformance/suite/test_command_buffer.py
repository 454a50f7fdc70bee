"""Command buffers: recording, transfers in order, reuse, lifetimes."""

from __future__ import annotations

import gc
import threading

from thalweg.api import InvalidArgument, NotSupported, OutOfRange, PermissionDenied
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import UPDATE_LIMIT, BufferRef, CommandBuffer
from thalweg.hal.types import WHOLE_BUFFER, BufferParams, BufferUsage, MemoryAccess, MemoryType

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import equal, raises, same_bytes
from thalweg_conformance.rules import Level, rule

AREA = "command buffer"


@rule()
def test_runs_nothing(bench: Bench) -> None:
    """HAL-CMD-1: an empty command buffer, and no command buffer at all, wait, do nothing and signal.

    Reference: thalweg.hal.driver.Device.queue_execute; IREE CTS command_buffer/basic SubmitEmpty.
    """
    time = bench.semaphore()
    bench.device.queue_execute(CommandBuffer().finalize(), signal=[(time, 1)])
    bench.device.queue_execute(None, wait=[(time, 1)], signal=[(time, 2)])
    bench.reach(time, 2, "an empty command buffer, then a barrier")


@rule()
def test_refuses_an_open_command_buffer(bench: Bench) -> None:
    """HAL-CMD-2: submitting a command buffer that is not finalized raises InvalidArgument.

    Reference: thalweg.hal.driver.Device.queue_execute.
    """
    with raises(InvalidArgument, "queue_execute of a command buffer that is not finalized"):
        bench.device.queue_execute(CommandBuffer())


@rule()
def test_refuses_recording_after_finalize(bench: Bench) -> None:
    """HAL-CMD-3: recording into a finalized command buffer raises InvalidArgument.

    Reference: thalweg.hal.command_buffer.CommandBuffer.finalize.
    """
    commands = CommandBuffer().finalize()
    with raises(InvalidArgument, "fill() after finalize()"):
        commands.fill(BufferRef(bench.buffer(bytes(4))), b"\x01")


@rule()
def test_fills_ranges(bench: Bench) -> None:
    """HAL-CMD-4: recorded fills of 1, 2 and 4 bytes change their ranges and nothing beside them.

    Reference: thalweg.hal.command_buffer.CommandBuffer.fill; IREE CTS command_buffer/fill_buffer.
    """
    content = bytearray(bench.bytes(256))
    buffer, commands = bench.buffer(bytes(content)), CommandBuffer()
    for offset, length, pattern in (
        (0, 1, b"\x01"),
        (2, 6, b"\x02\x03"),
        (16, 100, b"\x04\x05\x06\x07"),
        (131, 3, b"\x08"),
    ):
        commands.fill(BufferRef(buffer, offset, length), pattern)
        content[offset : offset + length] = pattern * (length // len(pattern))
    bench.run(commands)
    same_bytes(bench.read(buffer), bytes(content), "four recorded fills of ranges that are apart")


@rule()
def test_updates_ranges(bench: Bench) -> None:
    """HAL-CMD-5: a recorded update writes the bytes that its source held at recording, up to 64 KiB.

    Reference: thalweg.hal.command_buffer.CommandBuffer.update; IREE CTS command_buffer/update_buffer.
    """
    content, source = bytearray(bench.bytes(UPDATE_LIMIT + 100)), bytearray(bench.bytes(UPDATE_LIMIT))
    buffer, commands = bench.buffer(bytes(content)), CommandBuffer()
    commands.update(source, BufferRef(buffer, 50, UPDATE_LIMIT))
    content[50 : 50 + UPDATE_LIMIT] = source
    source[:] = bytes(UPDATE_LIMIT)
    bench.run(commands)
    same_bytes(
        bench.read(buffer), bytes(content), "a recorded update whose source was overwritten after recording"
    )
    with raises(InvalidArgument, f"update() of {UPDATE_LIMIT + 1} bytes"):
        CommandBuffer().update(bytes(UPDATE_LIMIT + 1), BufferRef(buffer, 0, UPDATE_LIMIT + 1))


@rule()
def test_copies_ranges(bench: Bench) -> None:
    """HAL-CMD-6: recorded copies take any offsets and lengths and change nothing beside their targets.

    Reference: thalweg.hal.command_buffer.CommandBuffer.copy; IREE CTS command_buffer/copy_buffer.
    """
    data, content = bench.bytes(512), bytearray(bench.bytes(512))
    source, target, commands = bench.buffer(data), bench.buffer(bytes(content)), CommandBuffer()
    for start, offset, length in ((0, 3, 1), (7, 5, 60), (100, 100, 101), (511, 400, 1), (256, 448, 64)):
        commands.copy(BufferRef(source, start, length), BufferRef(target, offset, length))
        content[offset : offset + length] = data[start : start + length]
    bench.run(commands)
    same_bytes(bench.read(target), bytes(content), "five recorded copies")


@rule()
def test_barriers_order_commands(bench: Bench) -> None:
    """HAL-CMD-7: what was recorded before a barrier ends before what comes after it starts.

    Reference: thalweg.hal.command_buffer.BarrierRecord.
    """
    first, second, third = (bench.buffer(bytes(4096)) for _ in range(3))
    commands = CommandBuffer()
    for target, pattern in ((second, b"\x11"), (third, b"\x22")):
        commands.fill(BufferRef(first), pattern)
        commands.barrier()
        commands.copy(BufferRef(first), BufferRef(target))
        commands.barrier()
    commands.update(b"\x33" * 16, BufferRef(first, 0, 16))
    bench.run(commands)
    same_bytes(bench.read(first), b"\x33" * 16 + b"\x22" * 4080, "the buffer filled twice, then updated")
    same_bytes(bench.read(second), b"\x11" * 4096, "the copy between the two fills")
    same_bytes(bench.read(third), b"\x22" * 4096, "the copy after the second fill")


@rule()
def test_replays(bench: Bench) -> None:
    """HAL-CMD-8: a command buffer may be submitted any number of times, and works on what its buffers hold
    then.

    Reference: thalweg.hal.command_buffer, record once, replay many times.
    """
    source, target = bench.buffer(bytes(100)), bench.buffer(bytes(100))
    commands = CommandBuffer()
    commands.copy(BufferRef(source), BufferRef(target))
    commands.finalize()
    for round in range(5):
        content, done = bench.bytes(100), bench.semaphore()
        bench.device.queue_update(content, BufferRef(source), signal=[(done, 1)])
        bench.reach(done, 1, "queue_update of the source")
        bench.run(commands)
        same_bytes(bench.read(target), content, f"the copy that replay {round} made")


@rule()
def test_refuses_usage_at_recording(bench: Bench) -> None:
    """HAL-CMD-9: recording a use that a buffer does not allow, or a range outside it, raises.

    Reference: thalweg.hal.buffer.Buffer.require, resolve_range.
    """
    buffer = bench.allocator.allocate(64, BufferParams(usage=BufferUsage.TRANSFER_SOURCE))
    with raises(PermissionDenied, "fill() of a buffer for TRANSFER_SOURCE only"):
        CommandBuffer().fill(BufferRef(buffer), b"\x01")
    with raises(OutOfRange, "copy() from [60, 68) of 64 bytes"):
        CommandBuffer().copy(BufferRef(buffer, 60, 8), BufferRef(bench.buffer(bytes(8))))


@rule(Level.STANDARD)
def test_keeps_its_buffers(bench: Bench) -> None:
    """HAL-CMD-10: a command buffer, and a submission of it, keep alive what they use.

    Reference: thalweg.hal.driver.Device.queue_execute; IREE CTS queue DispatchWithBorrowedResourceLifetimes.
    """
    content, target = bench.bytes(512), bench.buffer(bytes(512))
    gate, done = bench.semaphore(), bench.semaphore()
    _submit_and_forget(bench, content, BufferRef(target), [(gate, 1)], [(done, 1)])
    gc.collect()
    others = [bench.buffer(bytes([index] * 512)) for index in range(8)]
    gate.signal(1)
    bench.reach(done, 1, f"a submission that nobody else remembers, with {len(others)} buffers made since")
    same_bytes(bench.read(target), content, "a copy from a buffer that only the submission holds")


def _submit_and_forget(bench: Bench, content: bytes, target: BufferRef, wait: list, signal: list) -> None:
    commands = CommandBuffer()
    commands.copy(BufferRef(bench.buffer(content)), target)
    bench.device.queue_execute(commands.finalize(), wait=wait, signal=signal)


@rule(Level.STANDARD)
def test_is_submitted_from_many_threads(bench: Bench) -> None:
    """HAL-CMD-11: one finalized command buffer may be submitted from any thread, on many at once.

    Reference: thalweg.hal.command_buffer.CommandBuffer; thalweg.hal.driver.Device, a device is thread-safe.
    """
    contents = [bench.bytes(256) for _ in range(4)]
    commands = CommandBuffer(binding_capacity=2)
    commands.copy(BufferRef(slot=0), BufferRef(slot=1))
    commands.finalize()
    pairs = [(bench.buffer(content), bench.buffer(bytes(256))) for content in contents]
    ends = [bench.semaphore() for _ in pairs]

    def submit(index: int) -> None:
        source, target = pairs[index]
        for value in range(1, 26):
            bench.device.queue_execute(
                commands,
                [BufferRef(source), BufferRef(target)],
                wait=[(ends[index], value - 1)],
                signal=[(ends[index], value)],
            )

    threads = [threading.Thread(target=submit, args=(index,), daemon=True) for index in range(4)]
    for thread in threads:
        thread.start()
    for index, (thread, end) in enumerate(zip(threads, ends)):
        thread.join(bench.limit)
        equal(thread.is_alive(), False, f"thread {index} is still submitting")
        bench.reach(end, 25, f"25 submissions of thread {index}")
        same_bytes(bench.read(pairs[index][1]), contents[index], f"the copy of thread {index}")


@rule(Level.STANDARD)
def test_runs_long_lists(bench: Bench) -> None:
    """HAL-CMD-12: a command buffer of thousands of commands runs them all.

    Reference: IREE CTS command_buffer/stress LargeFillCommandBuffer.
    """
    count = 4000
    buffer, commands = bench.buffer(bytes(count)), CommandBuffer()
    for index in range(count):
        commands.fill(BufferRef(buffer, index, 1), bytes([index % 251 + 1]))
    bench.run(commands)
    same_bytes(
        bench.read(buffer), bytes(index % 251 + 1 for index in range(count)), f"{count} fills of one byte"
    )


class _ForeignBuffer(Buffer):
    """A buffer that no device made."""

    size = 64
    memory_type = MemoryType.DEVICE_LOCAL
    usage = BufferUsage.DEFAULT
    access = MemoryAccess.ALL

    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        raise NotSupported("mapping")


@rule(Level.STANDARD)
def test_refuses_buffers_of_others(bench: Bench) -> None:
    """HAL-CMD-13: a buffer that is of no use to the device raises InvalidArgument at the call, whether the
    command buffer has it or the binding table.

    Reference: thalweg.hal.driver.Device.queue_execute.
    """
    direct, indirect = CommandBuffer(), CommandBuffer(binding_capacity=1)
    direct.fill(BufferRef(_ForeignBuffer()), b"\x01")
    indirect.fill(BufferRef(slot=0), b"\x01")
    with raises(InvalidArgument, "queue_execute of a fill of a buffer that no device made"):
        bench.device.queue_execute(direct.finalize())
    with raises(InvalidArgument, "queue_execute with a table that has a buffer that no device made"):
        bench.device.queue_execute(indirect.finalize(), [BufferRef(_ForeignBuffer())])
