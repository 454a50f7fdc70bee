"""Fences over local semaphores: all of several timelines; on every local device."""

from __future__ import annotations

import threading

import pytest
from thalweg.api import Aborted, DeadlineExceeded, InvalidArgument
from thalweg.hal.fence import Fence


def test_an_empty_fence_is_reached(device):
    fence = Fence()
    assert fence.query()
    fence.wait(0)


def test_a_fence_waits_for_all_its_timelines(device):
    first, second = device.create_semaphore(), device.create_semaphore()
    fence = Fence([(first, 2), (second, 1)])
    first.signal(2)
    assert not fence.query()
    with pytest.raises(DeadlineExceeded):
        fence.wait(0.01)
    with pytest.raises(DeadlineExceeded):
        fence.wait(0)
    second.signal(5)
    assert fence.query()
    fence.wait(0)


def test_of_two_points_on_one_timeline_the_later_counts(device):
    semaphore = device.create_semaphore()
    fence = Fence.join([Fence([(semaphore, 3)]), Fence([(semaphore, 1)])])
    assert fence.points == ((semaphore, 3),)
    semaphore.signal(1)
    assert not fence.query()


def test_a_fence_is_signaled_as_a_whole_by_other_threads(device):
    semaphores = [device.create_semaphore() for _ in range(4)]
    fence = Fence([(semaphore, 1) for semaphore in semaphores])
    threads = [threading.Thread(target=semaphore.signal, args=(1,)) for semaphore in semaphores]
    for thread in threads:
        thread.start()
    fence.wait(30)
    for thread in threads:
        thread.join(30)
    with pytest.raises(InvalidArgument, match="signaled to 1 but it is at 1"):
        fence.signal()


def test_one_failed_timeline_fails_the_wait(device):
    good, bad = device.create_semaphore(), device.create_semaphore()
    fence = Fence([(good, 1), (bad, 1)])
    good.signal(1)
    bad.fail(RuntimeError("spoiled"))
    for use in (fence.query, lambda: fence.wait(30)):
        with pytest.raises(Aborted, match="spoiled"):
            use()


def test_a_failed_fence_fails_each_timeline(device):
    semaphores = [device.create_semaphore() for _ in range(3)]
    Fence([(semaphore, 1) for semaphore in semaphores]).fail(RuntimeError("all of it"))
    for semaphore in semaphores:
        with pytest.raises(Aborted, match="all of it"):
            semaphore.query()


def test_fences_order_queue_operations(device):
    gates = [device.create_semaphore() for _ in range(3)]
    ends = [device.create_semaphore() for _ in range(2)]
    before, after = Fence([(gate, 2) for gate in gates]), Fence([(end, 1) for end in ends])
    device.queue_execute(None, wait=before.points, signal=after.points)
    for gate in gates:
        assert not after.query()
        gate.signal(2)
    after.wait(30)
