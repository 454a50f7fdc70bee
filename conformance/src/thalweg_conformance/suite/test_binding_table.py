"""Indirect bindings: command buffers whose buffers come with each submission."""

from __future__ import annotations

from thalweg.api import InvalidArgument, OutOfRange, PermissionDenied
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.types import BufferParams, BufferUsage

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import raises, same_bytes
from thalweg_conformance.rules import Level, rule

AREA = "binding table"


def _copying(length: int = -1, source_offset: int = 0, target_offset: int = 0) -> CommandBuffer:
    commands = CommandBuffer(binding_capacity=2)
    commands.copy(
        BufferRef(None, source_offset, length, slot=0), BufferRef(None, target_offset, length, slot=1)
    )
    return commands.finalize()


@rule()
def test_resolves_slots(bench: Bench) -> None:
    """HAL-BND-1: a reference to a slot means the buffer that the submission's binding table has there.

    Reference: thalweg.hal.command_buffer.BufferRef; IREE CTS dispatch_reuse ResubmitWithDifferentBindings.
    """
    commands = _copying()
    for round in range(3):
        content = bench.bytes(96)
        source, target = bench.buffer(content), bench.buffer(bytes(96))
        bench.run(commands, [BufferRef(source), BufferRef(target)])
        same_bytes(bench.read(target), content, f"a copy from slot 0 to slot 1, table {round}")


@rule()
def test_adds_offsets(bench: Bench) -> None:
    """HAL-BND-2: the table's offset and the reference's add up.

    Reference: thalweg.hal.command_buffer.BufferRef.
    """
    content, before = bench.bytes(256), bytearray(bench.bytes(256))
    source, target = bench.buffer(content), bench.buffer(bytes(before))
    table = [BufferRef(source, 64, 100), BufferRef(target, 32, 120)]
    bench.run(_copying(40, source_offset=8, target_offset=16), table)
    before[48:88] = content[72:112]
    asked = "a copy of 40 bytes from 8 in a table range at 64 to 16 in a table range at 32"
    same_bytes(bench.read(target), bytes(before), asked)


@rule()
def test_open_length_ends_with_the_table_range(bench: Bench) -> None:
    """HAL-BND-3: a reference of open length ends where the table's range ends, not where its buffer does.

    Reference: thalweg.hal.types.WHOLE_BUFFER; thalweg.hal.command_buffer.BufferRef.
    """
    before = bytearray(bench.bytes(128))
    target, commands = bench.buffer(bytes(before)), CommandBuffer(binding_capacity=1)
    commands.fill(BufferRef(None, 4, slot=0), b"\x55")
    bench.run(commands, [BufferRef(target, 32, 64)])
    before[36:96] = b"\x55" * 60
    same_bytes(bench.read(target), bytes(before), "a fill from 4 to the end of the table's range [32, 96)")


@rule()
def test_mixes_direct_and_indirect(bench: Bench) -> None:
    """HAL-BND-4: a command may have direct and indirect references at once.

    Reference: IREE CTS command_buffer/dispatch_reuse MixedDirectAndIndirectBindings.
    """
    content = bench.bytes(64)
    source, commands = bench.buffer(content), CommandBuffer(binding_capacity=3)
    commands.copy(BufferRef(source), BufferRef(slot=2))
    commands.finalize()
    for round in range(2):
        target = bench.buffer(bytes(64))
        bench.run(commands, [BufferRef(), BufferRef(), BufferRef(target)])
        same_bytes(bench.read(target), content, f"a copy from a direct buffer to slot 2, table {round}")


@rule(Level.STANDARD)
def test_captures_the_table(bench: Bench) -> None:
    """HAL-BND-5: the binding table is captured at the call; changing the list afterwards changes nothing.

    Reference: thalweg.hal.driver.Device.queue_execute; IREE CTS DeferredExecuteRetainsDispatchBindingTable.
    """
    content = bench.bytes(64)
    target, other = bench.buffer(bytes(64)), bench.buffer(bytes(64))
    table, gate, done = (
        [BufferRef(bench.buffer(content)), BufferRef(target)],
        bench.semaphore(),
        bench.semaphore(),
    )
    bench.device.queue_execute(_copying(), table, wait=[(gate, 1)], signal=[(done, 1)])
    table[:] = [BufferRef(other), BufferRef(other)]
    gate.signal(1)
    bench.reach(done, 1, "a submission whose table was changed after the call")
    same_bytes(bench.read(target), content, "the target that the table had at the call")


@rule()
def test_refuses_a_missing_binding(bench: Bench) -> None:
    """HAL-BND-6: a used slot without a buffer in the table raises InvalidArgument at the call.

    Reference: thalweg.hal.binding_table.BindingTableCheck.
    """
    buffer = bench.buffer(bytes(64))
    for table in ([], [BufferRef(buffer)], [BufferRef(buffer), BufferRef()]):
        with raises(InvalidArgument, f"queue_execute with {len(table)} bindings and no buffer in slot 1"):
            bench.device.queue_execute(_copying(), table)


@rule()
def test_refuses_a_binding_too_small(bench: Bench) -> None:
    """HAL-BND-7: a table range that is smaller than what commands use of it raises OutOfRange at the call.

    Reference: thalweg.hal.binding_table.BindingTableCheck.
    """
    large, small = bench.buffer(bytes(64)), bench.buffer(bytes(64))
    with raises(OutOfRange, "queue_execute of a copy of 32 bytes at 8 with a table range of 39"):
        bench.device.queue_execute(_copying(32, target_offset=8), [BufferRef(large), BufferRef(small, 0, 39)])
    with raises(OutOfRange, "queue_execute with a table range outside its buffer"):
        bench.device.queue_execute(_copying(32), [BufferRef(large), BufferRef(small, 48, 32)])


@rule(Level.STANDARD)
def test_refuses_a_binding_of_another_usage(bench: Bench) -> None:
    """HAL-BND-8: a table's buffer that does not allow its use raises PermissionDenied at the call.

    Reference: thalweg.hal.binding_table.BindingTableCheck; thalweg.hal.types.BufferUsage.
    """
    buffer = bench.buffer(bytes(64))
    only_source = bench.allocator.allocate(64, BufferParams(usage=BufferUsage.TRANSFER_SOURCE))
    with raises(PermissionDenied, "queue_execute of a copy to a buffer for TRANSFER_SOURCE only"):
        bench.device.queue_execute(_copying(), [BufferRef(buffer), BufferRef(only_source)])


@rule()
def test_refuses_a_slot_outside(bench: Bench) -> None:
    """HAL-BND-9: recording a slot outside the command buffer's capacity raises OutOfRange.

    Reference: thalweg.hal.command_buffer.CommandBuffer.
    """
    for slot in (1, -1):
        with raises(OutOfRange, f"fill() of slot {slot} of a command buffer with 1 slot"):
            CommandBuffer(binding_capacity=1).fill(BufferRef(slot=slot), b"\x01")
