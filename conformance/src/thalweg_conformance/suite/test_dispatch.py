"""Dispatches: bindings, offsets, push constants, workgroups, order, failure."""

from __future__ import annotations

import struct
import threading

import numpy as np
from thalweg.api import Aborted, InvalidArgument, OutOfRange, PermissionDenied
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.executable import Executable
from thalweg.hal.types import BufferParams, BufferUsage

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import holds, raises, same_bytes, same_floats
from thalweg_conformance.kernels import ELEMENTS, KERNELS, KernelLibrary
from thalweg_conformance.rules import Level, rule

AREA = "dispatch"

SIZE = ELEMENTS * 4
"""Bytes of a binding."""

OFFSET = 512
"""A binding offset that every device's alignment divides."""


def _record(
    library: KernelLibrary,
    executable: Executable,
    commands: CommandBuffer,
    name: str,
    *bindings: BufferRef,
) -> None:
    count = library.workgroup_counts.get(name, (1, 1, 1))
    commands.dispatch(executable, library.require(name), count, bindings)


def _run(bench: Bench, library: KernelLibrary, name: str, *bindings: BufferRef) -> None:
    commands = CommandBuffer()
    _record(library, bench.device.prepare_executable(library.record), commands, name, *bindings)
    bench.run(commands)


def _output(bench: Bench, size: int = SIZE) -> Buffer:
    return bench.buffer(bytes([0x7F]) * size)


@rule()
def test_runs_a_kernel(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-1: a dispatch runs its kernel over its bindings: inputs first, then the output.

    Reference: thalweg.hal.command_buffer.CommandBuffer.dispatch; IREE CTS command_buffer/dispatch
    DispatchAbs.
    """
    values, output = bench.floats(ELEMENTS), _output(bench)
    _run(bench, library, "absolute", BufferRef(bench.buffer(values.tobytes())), BufferRef(output))
    same_floats(bench.read(output), np.abs(values), "the kernel 'absolute'")


@rule()
def test_keeps_bindings_in_order(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-2: several inputs reach the kernel in their order, and none of them is changed.

    Reference: thalweg.hal.command_buffer.CommandBuffer.dispatch.
    """
    left, right, output = bench.floats(ELEMENTS), bench.floats(ELEMENTS) * 100, _output(bench)
    inputs = [bench.buffer(values.tobytes()) for values in (left, right)]
    _run(bench, library, "add", BufferRef(inputs[0]), BufferRef(inputs[1]), BufferRef(output))
    same_floats(bench.read(output), left + right, "the kernel 'add'")
    for index, (buffer, values) in enumerate(zip(inputs, (left, right))):
        same_bytes(bench.read(buffer), values.tobytes(), f"input {index} of 'add' after the dispatch")
    indices = bench.random.integers(0, ELEMENTS, ELEMENTS, np.int64)
    refs = BufferRef(inputs[0]), BufferRef(bench.buffer(indices.tobytes())), BufferRef(output)
    _run(bench, library, "gather", *refs)
    same_floats(bench.read(output), left[indices], "the kernel 'gather', whose inputs differ in kind")


@rule()
def test_runs_each_function(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-3: the function's number chooses the kernel of an executable with several.

    Reference: IREE CTS command_buffer/dispatch_multi_entrypoint NegateAndDouble.
    """
    values = bench.floats(ELEMENTS)
    source = bench.buffer(values.tobytes())
    for name in ("negate", "double", "absolute"):
        output, compute = _output(bench), KERNELS[name].compute
        assert compute is not None
        _run(bench, library, name, BufferRef(source), BufferRef(output))
        same_floats(bench.read(output), compute(values), f"the kernel {name!r}")


@rule()
def test_adds_binding_offsets(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-4: a binding starts at its offset; bytes of its buffer outside the range are neither read nor
    written.

    Reference: thalweg.hal.command_buffer.BufferRef.
    """
    values, before = bench.floats(ELEMENTS), bytearray(bench.bytes(SIZE + 2 * OFFSET))
    source = bench.buffer(bench.bytes(2 * OFFSET) + values.tobytes() + bench.bytes(100))
    output = bench.buffer(bytes(before))
    _run(bench, library, "negate", BufferRef(source, 2 * OFFSET, SIZE), BufferRef(output, OFFSET, SIZE))
    came = bench.read(output)
    same_floats(came[OFFSET : OFFSET + SIZE], -values, f"'negate' from offset {2 * OFFSET} to {OFFSET}")
    same_bytes(came[:OFFSET], bytes(before[:OFFSET]), "bytes before the output's range")
    same_bytes(came[OFFSET + SIZE :], bytes(before[OFFSET + SIZE :]), "bytes after the output's range")


@rule()
def test_chains_dispatches(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-5: a dispatch after a barrier reads what the ones before it wrote.

    Reference: IREE CTS command_buffer/dispatch_pipeline ChainedDispatches, UpdateThenDispatch.
    """
    values, executable = bench.floats(ELEMENTS), bench.device.prepare_executable(library.record)
    first, second, third, commands = _output(bench), _output(bench), _output(bench), CommandBuffer()
    commands.update(values.tobytes(), BufferRef(first))
    commands.barrier()
    _record(library, executable, commands, "double", BufferRef(first), BufferRef(second))
    commands.barrier()
    _record(library, executable, commands, "add", BufferRef(first), BufferRef(second), BufferRef(third))
    commands.barrier()
    commands.fill(BufferRef(first), b"\0")
    bench.run(commands)
    same_floats(
        bench.read(third), values + (values + values), "update, 'double', 'add', then a fill of the input"
    )


@rule()
def test_replays_with_other_bindings(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-6: one command buffer of dispatches runs on the buffers of each submission's table.

    Reference: IREE CTS command_buffer/dispatch_reuse ResubmitWithDifferentBindings.
    """
    commands, executable = CommandBuffer(binding_capacity=2), bench.device.prepare_executable(library.record)
    _record(library, executable, commands, "absolute", BufferRef(slot=0), BufferRef(slot=1))
    commands.finalize()
    for round in range(3):
        values, output = bench.floats(ELEMENTS), _output(bench)
        bench.run(commands, [BufferRef(bench.buffer(values.tobytes())), BufferRef(output)])
        same_floats(bench.read(output), np.abs(values), f"'absolute' with table {round}")


@rule()
def test_adds_offsets_of_slots(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-7: for an indirect binding of a dispatch, the table's offset and the binding's add up.

    Reference: thalweg.hal.command_buffer.BufferRef; IREE CTS dispatch_reuse MixedDirectAndIndirectBindings.
    """
    left, right = bench.floats(ELEMENTS), bench.floats(ELEMENTS)
    source = bench.buffer(bench.bytes(3 * OFFSET) + left.tobytes())
    direct, before = bench.buffer(right.tobytes()), bytearray(bench.bytes(2 * OFFSET + SIZE))
    output, commands = bench.buffer(bytes(before)), CommandBuffer(binding_capacity=2)
    executable = bench.device.prepare_executable(library.record)
    slots = BufferRef(None, OFFSET, SIZE, slot=0), BufferRef(None, OFFSET, SIZE, slot=1)
    _record(library, executable, commands, "add", slots[0], BufferRef(direct), slots[1])
    bench.run(commands, [BufferRef(source, 2 * OFFSET), BufferRef(output, OFFSET)])
    before[2 * OFFSET :] = (left + right).tobytes()
    same_bytes(
        bench.read(output), bytes(before), f"'add' at {OFFSET} of table ranges at {2 * OFFSET} and {OFFSET}"
    )


@rule()
def test_waits_before_it_runs(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-8: a dispatch that waits for a semaphore reads what was written before the signal.

    Reference: IREE CTS queue/queue_dispatch DeferredWaitBeforeSignalDispatch.
    """
    values, executable = bench.floats(ELEMENTS), bench.device.prepare_executable(library.record)
    source, output, commands = bench.buffer(bytes(SIZE)), _output(bench), CommandBuffer()
    gate, done = bench.semaphore(), bench.semaphore()
    _record(library, executable, commands, "negate", BufferRef(source), BufferRef(output))
    bench.device.queue_execute(commands.finalize(), wait=[(gate, 1)], signal=[(done, 1)])
    bench.device.queue_update(values.tobytes(), BufferRef(source), signal=[(gate, 1)])
    bench.reach(done, 1, "a dispatch behind an update")
    same_floats(bench.read(output), -values, "'negate' of what an update wrote before the signal")


@rule()
def test_refuses_other_interfaces(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-9: a dispatch of a function that is not there, or with other bindings or constants, raises at
    recording.

    Reference: thalweg.hal.command_buffer.CommandBuffer.dispatch.
    """
    executable, buffer = bench.device.prepare_executable(library.record), BufferRef(_output(bench))
    number = library.require("absolute")
    with raises(OutOfRange, "dispatch of a function past the last"):
        CommandBuffer().dispatch(executable, len(executable.entries), (1, 1, 1), (buffer, buffer))
    for bindings, constants in (((buffer,), ()), ((buffer,) * 3, ()), ((buffer,) * 2, (1,))):
        asked = f"dispatch of 'absolute' with {len(bindings)} bindings and {len(constants)} constants"
        with raises(InvalidArgument, asked):
            CommandBuffer().dispatch(executable, number, (1, 1, 1), bindings, constants)


@rule()
def test_refuses_usage_it_lacks(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-10: binding a buffer that was not allocated for dispatches raises PermissionDenied.

    Reference: thalweg.hal.types.BufferUsage.DISPATCH_READ; thalweg.hal.buffer.Buffer.require.
    """
    executable, good = bench.device.prepare_executable(library.record), BufferRef(_output(bench))
    bad = BufferRef(bench.allocator.allocate(SIZE, BufferParams(usage=BufferUsage.TRANSFER)))
    with raises(PermissionDenied, "dispatch that reads a buffer for TRANSFER only"):
        _record(library, executable, CommandBuffer(), "absolute", bad, good)


@rule(Level.STANDARD)
def test_runs_no_workgroups(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-11: a dispatch of no workgroups touches nothing and signals.

    Reference: IREE CTS queue/queue_dispatch NoopDispatchSignalsAndDoesNotTouchBuffers.
    """
    executable, output = bench.device.prepare_executable(library.record), _output(bench)
    number, source = library.require("absolute"), BufferRef(bench.buffer(bytes(SIZE)))
    for count in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        commands = CommandBuffer()
        commands.dispatch(executable, number, count, (source, BufferRef(output)))
        bench.run(commands)
    same_bytes(bench.read(output), bytes([0x7F]) * SIZE, "the output of dispatches of no workgroups")


@rule(Level.STANDARD)
def test_passes_push_constants(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-12: push constants reach the kernel in order, all 32 bits of each.

    Reference: thalweg.hal.command_buffer.DispatchRecord; IREE CTS dispatch_constants_bindings ScaleAndOffset.
    """
    number, executable = library.require("scale_and_offset"), bench.device.prepare_executable(library.record)
    values = bench.floats(ELEMENTS)
    source = BufferRef(bench.buffer(values.tobytes()))
    for scale, offset in ((2.0, 1.0), (-0.5, -3.25), (0.0, 7.0)):
        output, commands = _output(bench), CommandBuffer()
        words = struct.unpack("<II", struct.pack("<ff", scale, offset))
        count = library.workgroup_counts.get("scale_and_offset", (1, 1, 1))
        commands.dispatch(executable, number, count, (source, BufferRef(output)), words)
        bench.run(commands)
        should = values * np.float32(scale) + np.float32(offset)
        same_floats(bench.read(output), should, f"'scale_and_offset' with {scale} and {offset}")


@rule(Level.STANDARD)
def test_numbers_workgroups(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-13: every workgroup of the count runs once, with its own x, y and z.

    Reference: IREE CTS command_buffer/dispatch_multi_workgroup WriteWorkgroupIds.
    """
    number, executable = library.require("workgroup_ids"), bench.device.prepare_executable(library.record)
    for count in ((1, 1, 1), (7, 1, 1), (1, 5, 1), (2, 3, 4)):
        x, y, z = count
        output, commands = _output(bench, 16 * x * y * z), CommandBuffer()
        commands.dispatch(executable, number, count, (BufferRef(output),))
        bench.run(commands)
        should = np.array([(i, j, k, 1) for k in range(z) for j in range(y) for i in range(x)], np.uint32)
        same_bytes(bench.read(output), should.tobytes(), f"'workgroup_ids' of {count} workgroups")


@rule(Level.STANDARD)
def test_reports_kernel_failure(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-14: a kernel that meets a value its op forbids fails its submission, and what waits for that,
    with Aborted that names the kernel. Later work runs.

    Reference: thalweg/hal/include/thalweg_kernel.h, a kernel returns a status; thalweg.hal.driver.Device.
    """
    executable, data = bench.device.prepare_executable(library.record), bench.floats(ELEMENTS)
    source, output = bench.buffer(data.tobytes()), _output(bench)
    indices = bench.random.integers(0, ELEMENTS, ELEMENTS, np.int64)
    spoiled = indices.copy()
    spoiled[ELEMENTS // 2] = ELEMENTS
    commands, done, after = CommandBuffer(), bench.semaphore(), bench.semaphore()
    refs = BufferRef(source), BufferRef(bench.buffer(spoiled.tobytes())), BufferRef(output)
    _record(library, executable, commands, "gather", *refs)
    bench.device.queue_execute(commands.finalize(), signal=[(done, 1)])
    bench.device.queue_execute(None, wait=[(done, 1)], signal=[(after, 1)])
    for semaphore, work in ((done, "'gather' with an index outside"), (after, "what waits for it")):
        asked = f"wait for {work}"
        with raises(Aborted, asked) as caught:
            semaphore.wait(1, bench.limit)
        holds("gather" in str(caught[0]), str(caught[0]), "a message that names the kernel 'gather'", asked)
    _run(bench, library, "gather", refs[0], BufferRef(bench.buffer(indices.tobytes())), refs[2])
    same_floats(bench.read(output), data[indices], "'gather' with good indices, after it has failed")


@rule(Level.STANDARD)
def test_runs_from_many_threads(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-15: dispatches of one executable may be submitted from many threads at once.

    Reference: thalweg.hal.driver.Device, a device is thread-safe.
    """
    executable, commands = bench.device.prepare_executable(library.record), CommandBuffer(binding_capacity=2)
    _record(library, executable, commands, "double", BufferRef(slot=0), BufferRef(slot=1))
    commands.finalize()
    work = [(bench.floats(ELEMENTS), _output(bench), bench.semaphore()) for _ in range(4)]
    sources = [BufferRef(bench.buffer(values.tobytes())) for values, _, _ in work]

    def submit(index: int) -> None:
        _, output, end = work[index]
        for value in range(1, 11):
            table, order = [sources[index], BufferRef(output)], [(end, value - 1)]
            bench.device.queue_execute(commands, table, wait=order, signal=[(end, value)])

    threads = [threading.Thread(target=submit, args=(index,), daemon=True) for index in range(4)]
    for thread in threads:
        thread.start()
    for index, (values, output, end) in enumerate(work):
        bench.reach(end, 10, f"10 dispatches of thread {index}")
        same_floats(bench.read(output), values + values, f"'double' of thread {index}")


@rule(Level.STANDARD, capability="prepared-calls")
def test_calls_a_prepared_command_buffer(bench: Bench, library: KernelLibrary) -> None:
    """HAL-DSP-16: a prepared call runs its command buffer on the addresses given, and has ended when it
    returns.

    Reference: thalweg.hal.driver.Device.prepare_call.
    """
    executable, commands = (
        bench.device.prepare_executable(library.record),
        CommandBuffer(binding_capacity=3),
    )
    slots = [BufferRef(None, 0, SIZE, slot) for slot in range(3)]  # an address has no length of its own
    _record(library, executable, commands, "add", *slots)
    constant = bench.floats(ELEMENTS)
    call = bench.device.prepare_call(commands.finalize(), {1: bench.buffer(constant.tobytes())})
    for round in range(3):
        values, output = bench.floats(ELEMENTS), _output(bench)
        source = bench.buffer(values.tobytes())
        call([source.host_address, output.host_address])
        same_floats(bench.read(output), values + constant, f"prepared call {round} of 'add'")
