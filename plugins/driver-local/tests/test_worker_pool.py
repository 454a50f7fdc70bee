"""The worker pool: shares of uneven work, and idle workers that sleep."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.driver import PreparedCall
from thalweg_driver_local.driver import LocalDriver

TICK = os.sysconf("SC_CLK_TCK")
IDLE_SECONDS = 0.5


def workers_of(device_threads: int):
    """Return a local-task device with the native processor, and the ids of the threads it has started."""
    before = set(os.listdir("/proc/self/task"))
    params = {"threads": str(device_threads), "processor": "native"}
    device = LocalDriver("local-task").create_device("", params)
    return device, set(os.listdir("/proc/self/task")) - before


def cpu_ticks(threads: set[str]) -> int:
    """Return the processor time that threads have used, in clock ticks."""
    total = 0
    for thread in threads:
        fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def record_workers(device, kernel_record, work: list[int]) -> tuple[PreparedCall, np.ndarray]:
    """Return a prepared call that spins ``work[i]`` steps in workgroup i, and the array of who ran it."""
    kernels = device.prepare_executable(kernel_record)
    steps = device.allocator.import_host(np.asarray(work, np.uint32))
    ran_by = np.full(len(work), 0xFFFFFFFF, np.uint32)
    commands = CommandBuffer()
    refs = (BufferRef(steps), BufferRef(device.allocator.import_host(ran_by)))
    commands.dispatch(kernels, kernels.lookup_function("spin_uneven"), (len(work), 1, 1), refs)
    return device.prepare_call(commands.finalize(), {}), ran_by


@pytest.mark.parametrize("shape", ["rising", "falling", "one heavy", "heavy at the end"])
def test_uneven_work_is_shared_by_all_workers(kernel_record, shape):
    """Every worker takes a share of a long dispatch, whatever its shape, and every workgroup runs."""
    count, threads = 400, 2
    rising = [40 * i for i in range(count)]
    work = {
        "rising": rising,
        "falling": rising[::-1],
        "one heavy": [5_000_000] + [20000] * (count - 1),
        "heavy at the end": [100] * (count - 20) + [400_000] * 20,
    }[shape]
    device, _ = workers_of(threads)
    call, ran_by = record_workers(device, kernel_record, [20 * w for w in work])
    seen = set()
    for _ in range(200):  # on a busy machine a worker may come late once
        ran_by[:] = 0xFFFFFFFF
        call(())
        assert (ran_by < threads).all()
        seen |= set(ran_by.tolist())
        if len(seen) == threads:
            break
    assert seen == set(range(threads))
    device.close()


def test_shares_become_small_towards_the_end(kernel_record):
    """No thread takes more than an eighth of a dispatch at once, and the last workgroups go one by one.

    One workgroup waits until all others have run: the other worker has to take the rest of the dispatch.
    """
    count = 64
    device, _ = workers_of(2)
    kernels = device.prepare_executable(kernel_record)
    counter = np.zeros(1, np.uint32)
    commands = CommandBuffer()
    refs = (BufferRef(device.allocator.import_host(counter)),)
    share = count // 8
    function = kernels.lookup_function("wait_for_others")
    commands.dispatch(kernels, function, (count, 1, 1), refs, (count - share, 1 << 31))
    device.prepare_call(commands.finalize(), {})(())
    assert counter[0] == count
    device.close()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_idle_workers_sleep(kernel_record, threads):
    """After the last work, workers spin for microseconds only: they use next to no processor time."""
    device, ids = workers_of(threads)
    assert len(ids) == threads  # the queue's thread, and a worker less than the threads there are
    call, _ = record_workers(device, kernel_record, [10] * 100)
    done = device.create_semaphore()
    for step in range(1, 51):
        call(())
        device.queue_execute(None, signal=[(done, step)])
        done.wait(step, 30)
    before = cpu_ticks(ids)
    time.sleep(IDLE_SECONDS)  # the time in which nothing may happen
    used = cpu_ticks(ids) - before
    assert used <= 0.1 * IDLE_SECONDS * TICK, f"{used} of {IDLE_SECONDS * TICK} ticks while idle"
    device.close()


def test_threads_that_call_at_once_all_make_progress(kernel_record):
    """One call has the pool; the others run alone meanwhile. Nobody waits for anybody."""
    device, _ = workers_of(2)
    call, _ = record_workers(device, kernel_record, [50] * 50)
    calls = []

    def use():
        for _ in range(200):
            call(())
            calls.append(1)

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert len(calls) == 1000
    device.close()


@pytest.mark.parametrize("threads", [1, 3, 64])
def test_more_threads_than_processors_work(kernel_record, threads):
    device, ids = workers_of(threads)
    assert len(ids) == threads
    call, ran_by = record_workers(device, kernel_record, [5] * 1000)
    for _ in range(5):
        ran_by[:] = 0xFFFFFFFF
        call(())
        assert (ran_by < threads).all()
    device.close()
