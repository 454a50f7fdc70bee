"""Queue operations: waits, signals, failure, threads; on every local device."""

from __future__ import annotations

import gc
import itertools
import threading

import numpy as np
import pytest
from thalweg.api import Aborted, InvalidArgument, OutOfRange, PermissionDenied
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import EntryPoint


def test_a_barrier_signals(device):
    done = device.create_semaphore()
    device.queue_execute(None, signal=[(done, 4)])
    done.wait(4, 60)


def test_work_waits_for_a_signal_that_comes_later(device, words):
    target, array = words([0, 0])
    gate, done = device.create_semaphore(), device.create_semaphore()
    device.queue_fill(BufferRef(target), b"\x07", wait=[(gate, 3)], signal=[(done, 1)])
    gate.signal(2)
    assert not array.any() and done.query() == 0
    gate.signal(3)
    done.wait(1, 60)
    assert (array == 0x07070707).all()


def test_work_waits_for_all_its_semaphores(device, words):
    target, array = words([0])
    gates = [device.create_semaphore() for _ in range(3)]
    done = device.create_semaphore()
    device.queue_fill(BufferRef(target), b"\x01", wait=[(gate, 1) for gate in gates], signal=[(done, 1)])
    for gate in gates[:2]:
        gate.signal(1)
    assert done.query() == 0 and not array.any()
    gates[2].signal(9)
    done.wait(1, 60)
    assert array[0] == 0x01010101


def test_a_chain_submitted_backwards_runs_in_order(device, words):
    target, array = words(np.zeros(1, np.uint32))
    timeline = device.create_semaphore()
    length = 50
    for step in range(length, 0, -1):
        data = np.uint32(step).tobytes()
        device.queue_update(data, BufferRef(target), wait=[(timeline, step)], signal=[(timeline, step + 1)])
    timeline.signal(1)
    timeline.wait(length + 1, 60)
    assert array[0] == length


def test_a_long_chain_fails_without_deep_recursion(device):
    timeline = [device.create_semaphore() for _ in range(3001)]
    for before, after in itertools.pairwise(timeline):
        device.queue_execute(None, wait=[(before, 1)], signal=[(after, 1)])
    timeline[0].fail(RuntimeError("root"))
    with pytest.raises(Aborted, match="semaphore failed: root"):
        timeline[-1].wait(1, 60)


def test_failure_travels_down_the_graph_with_its_first_cause(device, words):
    target, array = words([0])
    gate, other = device.create_semaphore(), device.create_semaphore()
    middle, end = device.create_semaphore(), device.create_semaphore()
    device.queue_fill(BufferRef(target), b"\x01", wait=[(gate, 1), (other, 1)], signal=[(middle, 1)])
    device.queue_fill(BufferRef(target), b"\x02", wait=[(middle, 1)], signal=[(end, 1)])
    cause = ValueError("the root of it")
    gate.fail(cause)  # `other` is never signaled: the first failure is enough
    with pytest.raises(Aborted, match="the root of it") as caught:
        end.wait(1, 60)
    assert caught.value.__cause__ is cause
    assert not array.any()
    device.wait_idle()
    other.signal(1)


def test_waiting_for_a_failed_semaphore_fails_at_once(device):
    gate, done = device.create_semaphore(), device.create_semaphore()
    gate.fail(RuntimeError("before"))
    open_gate = device.create_semaphore()
    device.queue_execute(None, wait=[(gate, 1), (open_gate, 1)], signal=[(done, 1)])
    with pytest.raises(Aborted, match="before"):
        done.wait(1, 60)
    device.wait_idle()


def test_a_queue_that_signals_backwards_fails_the_semaphore(device):
    done = device.create_semaphore(5)
    device.queue_execute(None, signal=[(done, 3)])
    device.wait_idle()
    with pytest.raises(Aborted, match="signaled to 3"):
        done.query()


def test_kernel_failure_names_command_kernel_and_status(device, kernels, run):
    commands = CommandBuffer()
    commands.barrier()
    commands.dispatch(kernels, kernels.lookup_function("fail"), (4, 1, 1), (), (1, 2))
    with pytest.raises(
        Aborted, match=r"kernel 'fail' \(command 1\) returned status 1: an index is out of range"
    ):
        run(commands)


def test_what_comes_after_a_failed_kernel_does_not_run(kernels, words, run):
    target, array = words([0])
    commands = CommandBuffer()
    commands.dispatch(kernels, kernels.lookup_function("fail"), (3, 1, 1), (), (2, 0))
    commands.barrier()
    commands.fill(BufferRef(target), b"\x01")
    with pytest.raises(Aborted, match="a value is not allowed"):
        run(commands)
    assert not array.any()


def test_a_failing_host_kernel_is_the_cause(device, host_kernels, run):
    commands = CommandBuffer()
    commands.dispatch(host_kernels, 1, (1, 1, 1))
    with pytest.raises(Aborted, match=r"kernel 'explode' \(command 0\) failed: boom") as caught:
        run(commands)
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value.__cause__.__cause__, ValueError)


def test_bindings_are_captured_at_the_call(device, words):
    first, one = words([0])
    second, two = words([0])
    commands = CommandBuffer(1)
    commands.fill(BufferRef(slot=0), b"\x01")
    commands.finalize()
    gate, done = device.create_semaphore(), device.create_semaphore()
    table = [BufferRef(first)]
    device.queue_execute(commands, table, wait=[(gate, 1)], signal=[(done, 1)])
    table[0] = BufferRef(second)
    gate.signal(1)
    done.wait(1, 60)
    assert one[0] == 0x01010101 and two[0] == 0


def test_buffers_live_until_the_work_ends(device, words):
    gate, done = device.create_semaphore(), device.create_semaphore()
    target, array = words([0] * 100)
    source = device.allocator.allocate(400, BufferParams(usage=BufferUsage.DEFAULT | BufferUsage.MAPPING))
    source.map(MemoryAccess.WRITE)[:] = b"\x05" * 400
    device.queue_copy(BufferRef(source), BufferRef(target), wait=[(gate, 1)], signal=[(done, 1)])
    del source
    assert device.allocator.statistics()["live_buffers"] == 2
    gate.signal(1)
    done.wait(1, 60)
    assert (array == 0x05050505).all()
    device.wait_idle()
    assert device.allocator.statistics()["live_buffers"] == 1


def test_many_threads_submit(device, words):
    count, each = 4, 50
    target, array = words([0] * count)
    done = [device.create_semaphore() for _ in range(count)]

    def submit(lane):
        for step in range(each):
            device.queue_update(
                np.uint32(step + 1).tobytes(),
                BufferRef(target, 4 * lane, 4),
                wait=[(done[lane], step)],
                signal=[(done[lane], step + 1)],
            )

    threads = [threading.Thread(target=submit, args=(lane,)) for lane in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for semaphore in done:
        semaphore.wait(each, 60)
    assert (array == each).all()


def test_an_update_larger_than_a_command_may_carry(device, words):
    data = np.arange(50000, dtype=np.uint32)
    target, array = words(np.zeros(50000, np.uint32))
    done = device.create_semaphore()
    device.queue_update(data.tobytes(), BufferRef(target), signal=[(done, 1)])
    done.wait(1, 60)
    assert (array == data).all()


def test_copy_takes_an_open_length_from_the_other_side(device, words):
    source, _ = words([1, 2, 3, 4])
    target, array = words([0, 0, 0, 0])
    device.queue_copy(BufferRef(source, 0, 8), BufferRef(target, 8))
    device.wait_idle()
    assert array.tolist() == [0, 0, 1, 2]


def test_close_ends_what_is_ready_and_fails_what_waits(device, words):
    target, array = words([0])
    gate, done, stranded = (device.create_semaphore() for _ in range(3))
    device.queue_fill(BufferRef(target), b"\x01", signal=[(done, 1)])
    device.queue_fill(BufferRef(target), b"\x02", wait=[(gate, 1)], signal=[(stranded, 1)])
    device.close()
    device.close()
    assert done.query() == 1 and array[0] == 0x01010101
    with pytest.raises(Aborted, match="closed while this work was waiting"):
        stranded.query()
    gate.signal(1)
    with pytest.raises(Aborted, match="closed"):
        device.queue_execute(None)


def test_semaphores_of_another_kind_are_refused(device):
    class Foreign:
        pass

    for lists in ({"wait": [(Foreign(), 1)]}, {"signal": [(Foreign(), 1)]}):
        with pytest.raises(InvalidArgument, match="got a Foreign"):
            device.queue_execute(None, **lists)


def _slot_fill(length=-1):
    commands = CommandBuffer(2)
    commands.fill(BufferRef(slot=1, offset=4, length=length), b"\x01\x02")
    return commands.finalize()


def test_a_binding_table_without_a_used_slot_is_refused(device):
    for table in ((), (BufferRef(), BufferRef())):
        with pytest.raises(InvalidArgument, match="slot 1; the binding table has no buffer there"):
            device.queue_execute(_slot_fill(), table)


def test_a_binding_that_is_too_small_is_refused(device):
    buffer = device.allocator.allocate(8)
    with pytest.raises(OutOfRange, match="has 8 bytes; commands use 12"):
        device.queue_execute(_slot_fill(8), [BufferRef(), BufferRef(buffer)])
    with pytest.raises(InvalidArgument, match="a fill of 3 bytes with a pattern of 2 bytes"):
        device.queue_execute(_slot_fill(), [BufferRef(), BufferRef(buffer, 0, 7)])


def test_a_binding_used_against_its_usage_or_access_is_refused(device):
    source_only = device.allocator.allocate(16, BufferParams(usage=BufferUsage.TRANSFER_SOURCE))
    with pytest.raises(PermissionDenied, match="TRANSFER_TARGET"):
        device.queue_execute(_slot_fill(), [BufferRef(), BufferRef(source_only)])
    read_only = device.allocator.allocate(16, BufferParams(access=MemoryAccess.READ))
    with pytest.raises(PermissionDenied, match="WRITE"):
        device.queue_execute(_slot_fill(), [BufferRef(), BufferRef(read_only)])


def test_a_command_buffer_that_is_not_finalized_is_refused(device):
    with pytest.raises(InvalidArgument, match="not finalized"):
        device.queue_execute(CommandBuffer())


def test_buffers_and_executables_of_another_device_are_refused(device):
    class OtherBuffer(Buffer):
        size, usage, access = 16, BufferUsage.DEFAULT, MemoryAccess.ALL

        def map(self, access, offset=0, length=-1):
            raise AssertionError

    commands = CommandBuffer()
    commands.fill(BufferRef(OtherBuffer()), b"\x01")
    with pytest.raises(InvalidArgument, match="got a OtherBuffer"):
        device.queue_execute(commands.finalize())
    with pytest.raises(InvalidArgument, match="got a OtherBuffer"):
        device.queue_execute(_slot_fill(), [BufferRef(), BufferRef(OtherBuffer())])


def test_what_has_ended_lets_go_of_its_buffers(device):
    semaphore = device.create_semaphore()
    for step in range(200):
        buffer = device.allocator.allocate(64)
        device.queue_fill(
            BufferRef(buffer), b"\x01", wait=[(semaphore, step)], signal=[(semaphore, step + 1)]
        )
    del buffer
    device.wait_idle()
    assert device.allocator.statistics()["live_buffers"] == 0


def test_work_in_flight_holds_its_buffers(device):
    gate, done = device.create_semaphore(), device.create_semaphore()
    source, target = device.allocator.allocate(64), device.allocator.allocate(64)
    device.queue_copy(BufferRef(source), BufferRef(target), wait=[(gate, 1)], signal=[(done, 1)])
    del source, target
    gc.collect()
    assert device.allocator.statistics()["live_buffers"] == 2
    gate.signal(1)
    done.wait(1, 60)


def device_that_calls_itself(open_device, configuration, method):
    """Return a device, and a command buffer whose one host kernel calls ``method`` of the device."""
    made = []
    device = open_device(configuration, call_back=lambda *_: getattr(made[0], method)())
    made.append(device)
    entries = (EntryPoint("call_back", 0),)
    commands = CommandBuffer()
    commands.dispatch(
        device.prepare_executable(ExecutableRecord("host", "python", b"", entries)), 0, (1, 1, 1)
    )
    return device, commands.finalize()


def test_a_host_kernel_may_close_its_device(open_device, configuration):
    """What still waits, and what is ready behind it, fails; nothing waits for itself."""
    device, commands = device_that_calls_itself(open_device, configuration, "close")
    gate, never = device.create_semaphore(), device.create_semaphore()
    closed, behind, stranded = (device.create_semaphore() for _ in range(3))
    device.queue_execute(None, wait=[(never, 1)], signal=[(stranded, 1)])
    device.queue_execute(commands, wait=[(gate, 1)], signal=[(closed, 1)])
    device.queue_execute(None, wait=[(gate, 1)], signal=[(behind, 1)])
    gate.signal(1)
    closed.wait(1, 60)
    for semaphore in (behind, stranded):
        with pytest.raises(Aborted, match="closed while this work was waiting"):
            semaphore.wait(1, 60)


def test_a_host_kernel_that_waits_for_its_own_device_fails(open_device, configuration):
    device, commands = device_that_calls_itself(open_device, configuration, "wait_idle")
    done = device.create_semaphore()
    device.queue_execute(commands, signal=[(done, 1)])
    with pytest.raises(Aborted, match="host work cannot wait for its own device to be idle"):
        done.wait(1, 60)
    device.close()
