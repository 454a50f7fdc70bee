"""Replaying command buffers: dispatches, transfers, bindings, prepared calls; on every local device."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from thalweg.api import Aborted, InvalidArgument, OutOfRange
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg_driver_local.packed_commands import TRANSFER_TILE


def record(capacity=0):
    return CommandBuffer(capacity)


@pytest.mark.parametrize("count", [(1, 1, 1), (7, 1, 1), (3, 5, 2), (1, 4, 3), (1, 1, 9), (64, 2, 1)])
def test_every_workgroup_runs_once_and_knows_where_it_is(kernels, words, run, count):
    total = count[0] * count[1] * count[2]
    target, array = words(np.full(8 * total + 8, 0xABCD, np.uint32))
    commands = record()
    describe = kernels.lookup_function("describe")
    commands.dispatch(kernels, describe, count, (BufferRef(target),), (5, 0xFFFFFFFF))
    run(commands)
    told = array[: 8 * total].reshape(count[2], count[1], count[0], 8)
    z, y, x = np.meshgrid(*(np.arange(n) for n in reversed(count)), indexing="ij")
    assert (told[..., :3] == np.stack([x, y, z], axis=-1)).all()
    assert (told[..., 3:6] == count).all()
    assert (told[..., 6] == 1 * 1000 + 2 * 10).all() and (told[..., 7] == 0xFFFFFFFF).all()
    assert (array[8 * total :] == 0xABCD).all()


def test_a_dispatch_over_many_workgroups_runs_each_once(kernels, words, run):
    target, array = words(np.zeros(30011, np.uint32))
    commands = record()
    increment = kernels.lookup_function("increment")
    commands.dispatch(kernels, increment, (30011, 1, 1), (BufferRef(target),))
    run(commands)
    assert (array == 1).all()


def test_a_dispatch_of_no_workgroups_does_nothing(kernels, words, run):
    target, array = words([3])
    commands = record()
    commands.dispatch(kernels, kernels.lookup_function("increment"), (0, 1, 1), (BufferRef(target),))
    commands.dispatch(kernels, kernels.lookup_function("increment"), (1, 0, 5), (BufferRef(target),))
    run(commands)
    assert array[0] == 3


def test_an_empty_command_buffer_signals(run):
    run(record())


def test_commands_before_a_barrier_end_before_those_after_it(kernels, words, run):
    target, array = words(np.zeros(40, np.uint32))
    commands = record()
    for _ in range(100):
        commands.dispatch(kernels, kernels.lookup_function("increment"), (40, 1, 1), (BufferRef(target),))
        commands.barrier()
    run(commands)
    assert (array == 100).all()


def test_barriers_in_a_row_and_at_the_ends_are_harmless(kernels, words, run):
    target, array = words([0])
    commands = record()
    commands.barrier()
    commands.barrier()
    commands.dispatch(kernels, kernels.lookup_function("increment"), (1, 1, 1), (BufferRef(target),))
    commands.barrier()
    commands.barrier()
    run(commands)
    assert array[0] == 1


def test_local_memory_is_aligned_and_large_enough(kernels, words, run):
    target, array = words(np.zeros(50, np.uint32))
    commands = record()
    function = kernels.lookup_function("use_local_memory")
    commands.dispatch(kernels, function, (50, 1, 1), (BufferRef(target),), (10000,))
    run(commands)
    base = 10000 * 9999 // 2
    assert array.tolist() == [base * (i + 1) & 0xFFFFFFFF for i in range(50)]


def test_constant_data_is_relocated(kernels, words, run):
    target, array = words(np.zeros(6, np.uint32))
    commands = record()
    commands.dispatch(kernels, kernels.lookup_function("read_table"), (6, 1, 1), (BufferRef(target),))
    run(commands)
    assert array.tolist() == [10, 20, 30, 40, 10, 20]


def test_offsets_of_the_table_and_of_the_reference_add(kernels, words, run):
    values, _ = words(np.arange(64, dtype=np.float32))
    target, array = words(np.zeros(64, np.float32))
    commands = record(2)
    function = kernels.lookup_function("add")
    refs = (BufferRef(slot=1, offset=8), BufferRef(values, 12), BufferRef(slot=0, offset=4, length=64))
    commands.dispatch(kernels, function, (1, 1, 1), refs, (16,))
    run(commands, (BufferRef(target, 16), BufferRef(values, 4)))
    expected = np.zeros(64, np.float32)
    expected[5:21] = (np.arange(16) + 3) + (np.arange(16) + 3)
    assert (array == expected).all()


def test_one_command_buffer_replays_over_many_tables(device, kernels, words):
    commands = record(3)
    refs = tuple(BufferRef(slot=slot) for slot in range(3))
    commands.dispatch(kernels, kernels.lookup_function("add"), (4, 1, 1), refs, (50,))
    commands.finalize()
    done = device.create_semaphore()
    results = []
    for step in range(20):
        a, _ = words(np.full(50, step, np.float32))
        b, _ = words(np.arange(50, dtype=np.float32))
        c, array = words(np.zeros(50, np.float32))
        device.queue_execute(
            commands,
            [BufferRef(a), BufferRef(b), BufferRef(c)],
            wait=[(done, step)],
            signal=[(done, step + 1)],
        )
        results.append(array)
    done.wait(20, 60)
    for step, array in enumerate(results):
        assert (array == step + np.arange(50)).all()


def test_threads_replay_one_command_buffer_at_once(device, kernels, words):
    commands = record(3)
    refs = tuple(BufferRef(slot=slot) for slot in range(3))
    commands.dispatch(kernels, kernels.lookup_function("add"), (30, 1, 1), refs, (480,))
    commands.finalize()
    wrong = []

    def submit(lane):
        a, _ = words(np.full(480, lane, np.float32))
        c, array = words(np.zeros(480, np.float32))
        done = device.create_semaphore()
        for step in range(1, 21):
            array[:] = -1
            table = [BufferRef(a), BufferRef(a), BufferRef(c)]
            device.queue_execute(commands, table, signal=[(done, step)])
            done.wait(step, 60)
            if not (array == 2 * lane).all():
                wrong.append((lane, step, array.copy()))

    threads = [threading.Thread(target=submit, args=(lane,)) for lane in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


# ---- transfers ---------------------------------------------------------------------------------------------

PATTERNS = (b"\x5a", b"\x01\x02", b"\x01\x02\x03\x04")


@pytest.mark.parametrize("pattern", PATTERNS, ids=["1 byte", "2 bytes", "4 bytes"])
def test_fills_at_odd_offsets_touch_their_bytes_only(words, run, pattern):
    for offset in (0, 1, 2, 3, 7, 64):
        for repeats in (0, 1, 2, 5, 33):
            target, array = words(np.full(256, 0xEE, np.uint8))
            length = repeats * len(pattern)
            commands = record()
            commands.fill(BufferRef(target, offset, length), pattern)
            run(commands)
            expected = np.full(256, 0xEE, np.uint8)
            expected[offset : offset + length] = np.frombuffer(pattern * repeats, np.uint8)
            assert (array == expected).all(), f"offset {offset}, {length} bytes"


@pytest.mark.parametrize("length", [0, 1, 3, 17, 255, 65536])
def test_updates_and_copies_at_odd_offsets_touch_their_bytes_only(words, run, length):
    data = np.random.default_rng(length).integers(0, 256, length + 16, np.uint8)
    source, _ = words(data)
    for offset in (0, 1, 5, 13):
        target, array = words(np.full(length + 32, 0xEE, np.uint8))
        other, other_array = words(np.full(length + 32, 0xEE, np.uint8))
        commands = record()
        commands.update(data[:length].tobytes(), BufferRef(target, offset, length))
        commands.copy(BufferRef(source, 3, length), BufferRef(other, offset, length))
        run(commands)
        expected = np.full(length + 32, 0xEE, np.uint8)
        expected[offset : offset + length] = data[:length]
        assert (array == expected).all()
        expected[offset : offset + length] = data[3 : length + 3]
        assert (other_array == expected).all()


@pytest.mark.parametrize("extra", [-1, 0, 1, TRANSFER_TILE + 5])
def test_transfers_larger_than_a_tile_are_whole(words, run, extra):
    length = 2 * TRANSFER_TILE + extra
    data = np.random.default_rng(0).integers(0, 256, length, np.uint8)
    source, _ = words(data)
    target, array = words(np.full(length + 2, 0xEE, np.uint8))
    filled, filled_array = words(np.full(4 * length + 2, 0xEE, np.uint8))
    commands = record(2)
    commands.copy(BufferRef(source), BufferRef(target, 1, length))
    commands.fill(BufferRef(slot=0, offset=1, length=4 * length), b"\x01\x02\x03\x04")
    commands.barrier()
    commands.fill(BufferRef(slot=1), b"\x07\x08")
    run(commands, (BufferRef(filled), BufferRef(filled, 1, 2 * length)))
    assert (array[1:-1] == data).all() and array[0] == array[-1] == 0xEE
    assert filled_array[0] == filled_array[-1] == 0xEE
    expected = np.tile(np.array([1, 2, 3, 4], np.uint8), length)
    expected[: 2 * length] = np.tile(np.array([7, 8], np.uint8), length)
    assert (filled_array[1:-1] == expected).all()


@pytest.mark.parametrize("seed", range(6))
def test_random_command_lists_mean_what_numpy_says(device, kernels, words, seed):
    """Random transfers and dispatches with a barrier after each, through direct and indirect references."""
    rng = np.random.default_rng(seed)
    size = 4096
    starts = [rng.integers(0, 256, size, np.uint8) for _ in range(3)]
    buffers, arrays = zip(*(words(start) for start in starts), strict=True)
    expected = [start.copy() for start in starts]
    commands = record(3)

    def ref(which, offset, length):
        if rng.random() < 0.5:
            return BufferRef(buffers[which], offset, length)
        return BufferRef(slot=which, offset=offset, length=length)

    for _ in range(60):
        kind = rng.integers(4)
        source, target = rng.permutation(3)[:2]
        length = 4 * int(rng.integers(0, 128))
        at, start = (int(value) for value in rng.integers(0, size - length, 2))
        if kind == 0:
            pattern = rng.integers(0, 256, 2 ** int(rng.integers(3)), np.uint8).tobytes()
            commands.fill(ref(target, at, length), pattern)
            expected[target][at : at + length] = np.frombuffer(pattern * (length // len(pattern)), np.uint8)
        elif kind == 1:
            data = rng.integers(0, 256, length, np.uint8)
            commands.update(data.tobytes(), ref(target, at, length))
            expected[target][at : at + length] = data
        elif kind == 2:
            commands.copy(ref(source, start, length), ref(target, at, length))
            expected[target][at : at + length] = expected[source][start : start + length]
        else:
            at -= at % 4
            function = kernels.lookup_function("increment")
            commands.dispatch(kernels, function, (length // 4, 1, 1), (ref(target, at, length),))
            expected[target][at : at + length].view(np.uint32)[:] += 1
        commands.barrier()
    done = device.create_semaphore()
    device.queue_execute(commands.finalize(), [BufferRef(b) for b in buffers], signal=[(done, 1)])
    done.wait(1, 60)
    for array, want in zip(arrays, expected, strict=True):
        assert (array == want).all(), f"seed {seed}"


# ---- failures ----------------------------------------------------------------------------------------------


def test_a_device_works_on_after_a_failed_kernel(kernels, words, run):
    target, array = words([0])
    for _ in range(3):
        bad = record()
        bad.dispatch(kernels, kernels.lookup_function("fail"), (9, 1, 1), (), (2, 4))
        with pytest.raises(Aborted, match="kernel 'fail'"):
            run(bad)
        good = record()
        good.dispatch(kernels, kernels.lookup_function("increment"), (1, 1, 1), (BufferRef(target),))
        run(good)
    assert array[0] == 3


@pytest.mark.parametrize(
    ("status", "meaning"), [(1, "index"), (7, "a status the kernel ABI does not define"), (-3, "status -3")]
)
def test_a_status_is_told_with_its_meaning(kernels, run, status, meaning):
    commands = record()
    constants = (status & 0xFFFFFFFF, 2)
    commands.dispatch(kernels, kernels.lookup_function("fail"), (5, 1, 1), (), constants)
    with pytest.raises(Aborted, match=meaning):
        run(commands)


def test_too_many_workgroups_for_one_list_are_refused(open_device, kernel_record):
    device = open_device("local-sync native")
    kernels = device.prepare_executable(kernel_record)
    commands = record()
    commands.dispatch(kernels, kernels.lookup_function("fail"), (1 << 20, 1 << 12, 1), (), (0, 0))
    with pytest.raises(
        OutOfRange, match="command 0: 4294967296 workgroups or pieces; at most 2147483647 fit"
    ):
        device.queue_execute(commands.finalize())
    device.close()


# ---- prepared calls ----------------------------------------------------------------------------------------


def prepared_addition(device, kernels, static):
    commands = record(3)
    refs = tuple(BufferRef(slot=slot) for slot in range(3))
    commands.dispatch(kernels, kernels.lookup_function("add"), (2, 1, 1), refs, (32,))
    return device.prepare_call(commands.finalize(), {1: static})


def test_a_prepared_call_takes_addresses(device, kernels, words):
    b, _ = words(np.arange(32, dtype=np.float32))
    call = prepared_addition(device, kernels, b)
    c, array = words(np.zeros(32, np.float32))
    for step in range(5):
        a, _ = words(np.full(32, step, np.float32))
        call((a.host_address, c.host_address))
        assert (array == step + np.arange(32)).all()


def test_a_prepared_call_counts_its_addresses(device, kernels, words):
    b, _ = words(np.arange(32, dtype=np.float32))
    call = prepared_addition(device, kernels, b)
    for addresses in ((), (b.host_address,), (b.host_address,) * 3):
        with pytest.raises(InvalidArgument, match="takes 2 addresses"):
            call(addresses)


def test_a_prepared_call_holds_what_it_uses(device, kernels, words):
    call = prepared_addition(device, kernels, words(np.arange(32, dtype=np.float32))[0])
    for _ in range(10):
        words(np.zeros(32, np.float32))  # would take the static buffer's place, were it free
    a, _ = words(np.ones(32, np.float32))
    c, array = words(np.zeros(32, np.float32))
    call((a.host_address, c.host_address))
    assert (array == 1 + np.arange(32)).all()


def test_prepared_calls_run_at_once_on_many_threads(device, kernels, words):
    b, _ = words(np.arange(32, dtype=np.float32))
    call = prepared_addition(device, kernels, b)
    wrong = []

    def use(lane):
        a, _ = words(np.full(32, lane, np.float32))
        c, array = words(np.zeros(32, np.float32))
        for _ in range(100):
            array[:] = -1
            call((a.host_address, c.host_address))
            if not (array == lane + np.arange(32)).all():
                wrong.append((lane, array.copy()))

    threads = [threading.Thread(target=use, args=(lane,)) for lane in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_a_prepared_call_tells_of_a_failed_kernel(device, kernels):
    commands = record()
    commands.dispatch(kernels, kernels.lookup_function("fail"), (5, 1, 1), (), (1, 3))
    call = device.prepare_call(commands.finalize(), {})
    for _ in range(2):
        with pytest.raises(Aborted, match=r"kernel 'fail' \(command 0\) returned status 1"):
            call(())


def test_a_prepared_call_of_host_kernels_works(device, host_kernels, words):
    target, array = words([5])
    commands = record(1)
    commands.dispatch(host_kernels, 0, (1, 1, 1), (BufferRef(slot=0, length=4),))
    device.prepare_call(commands.finalize(), {})((target.host_address,))
    assert array[0] == 6


def test_a_closed_device_refuses_prepared_calls(device, kernels, words):
    b, _ = words(np.arange(32, dtype=np.float32))
    call = prepared_addition(device, kernels, b)
    device.close()
    with pytest.raises(Aborted, match="closed"):
        call((b.host_address, b.host_address))


def test_a_transfer_of_open_length_cannot_be_prepared(device):
    commands = record(1)
    commands.fill(BufferRef(slot=0), b"\x01")
    with pytest.raises(InvalidArgument, match="has no length, which a prepared call needs"):
        device.prepare_call(commands.finalize(), {})
