"""Timelines: order, waiting, failure; on every local device."""

from __future__ import annotations

import threading

import pytest
from thalweg.api import Aborted, DeadlineExceeded, InvalidArgument


def test_starts_at_its_initial_value(device):
    assert device.create_semaphore(7).query() == 7


def test_advances_and_never_goes_back(device):
    semaphore = device.create_semaphore()
    semaphore.signal(5)
    assert semaphore.query() == 5
    for value in (5, 4):
        with pytest.raises(InvalidArgument, match=f"signaled to {value} but it is at 5"):
            semaphore.signal(value)


@pytest.mark.parametrize("value", [-1, 1 << 63])
def test_refuses_values_no_timeline_has(device, value):
    semaphore = device.create_semaphore()
    for use in (semaphore.signal, semaphore.wait, device.create_semaphore):
        with pytest.raises(InvalidArgument, match="between 0 and"):
            use(value)


def test_holds_large_values(device):
    semaphore = device.create_semaphore((1 << 63) - 2)
    semaphore.signal((1 << 63) - 1)
    assert semaphore.query() == (1 << 63) - 1


def test_wait_for_a_value_passed_returns_at_once(device):
    semaphore = device.create_semaphore(3)
    semaphore.wait(3, 0)
    semaphore.wait(1, 0)


def test_wait_runs_into_its_timeout(device):
    semaphore = device.create_semaphore()
    for timeout in (0, 0.01):
        with pytest.raises(DeadlineExceeded, match="at 0 after"):
            semaphore.wait(1, timeout)


def test_many_threads_wait_for_one_signal(device):
    semaphore = device.create_semaphore()
    reached = []
    threads = [
        threading.Thread(target=lambda v=v: (semaphore.wait(v, 60), reached.append(v))) for v in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    semaphore.signal(8)
    for thread in threads:
        thread.join(60)
    assert sorted(reached) == list(range(1, 9))


def test_two_threads_play_ping_pong(device):
    ball = device.create_semaphore()
    rounds = 200

    def answer():
        for turn in range(1, rounds, 2):
            ball.wait(turn, 60)
            ball.signal(turn + 1)

    other = threading.Thread(target=answer)
    other.start()
    for turn in range(0, rounds, 2):
        ball.wait(turn, 60)
        ball.signal(turn + 1)
    other.join(60)
    assert ball.query() == rounds


def test_failure_sticks_and_keeps_the_first_cause(device):
    semaphore = device.create_semaphore()
    first = RuntimeError("the first")
    semaphore.fail(first)
    semaphore.fail(RuntimeError("the second"))
    for use in (semaphore.query, lambda: semaphore.signal(1), lambda: semaphore.wait(1)):
        with pytest.raises(Aborted, match="semaphore failed: the first") as caught:
            use()
        assert caught.value.__cause__ is first


def test_failure_wakes_who_waits(device):
    semaphore = device.create_semaphore()
    seen = []

    def wait():
        try:
            semaphore.wait(1, 60)
        except Aborted as error:
            seen.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    semaphore.fail(RuntimeError("gone"))
    thread.join(60)
    assert seen == ["semaphore failed: gone"]


def test_a_cause_without_a_message_is_named_by_its_type(device):
    semaphore = device.create_semaphore()
    done = device.create_semaphore()
    device.queue_execute(None, wait=[(semaphore, 1)], signal=[(done, 1)])
    semaphore.fail(KeyboardInterrupt())
    with pytest.raises(Aborted) as caught:
        done.wait(1, 60)
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)
