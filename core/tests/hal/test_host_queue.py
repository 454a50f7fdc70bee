"""The plain Python queue and its semaphores: what work may do to its own queue, closing, values no timeline
has.
"""

from __future__ import annotations

import os
import threading

import pytest
from thalweg.errors import Aborted, InvalidArgument
from thalweg.hal.host_queue import HostQueue
from thalweg.hal.host_semaphore import HostSemaphore

WAIT = 30


@pytest.fixture(params=[False, True], ids=["inline", "threaded"])
def queue(request: pytest.FixtureRequest):
    made = HostQueue("queue", threaded=request.param)
    yield made
    made.close()


@pytest.mark.parametrize("value", [-1, 1 << 63])
def test_refuses_values_no_timeline_has(queue, value):
    semaphore = HostSemaphore()
    for use in (
        lambda: semaphore.wait(value, 0),
        lambda: semaphore.signal(value),
        lambda: queue.submit(None, wait=[(semaphore, value)]),
        lambda: queue.submit(None, signal=[(semaphore, value)]),
    ):
        with pytest.raises(InvalidArgument, match="between 0 and"):
            use()


def test_work_that_waits_for_its_own_queue_fails(queue):
    done = HostSemaphore()
    queue.submit(lambda: queue.wait_idle(WAIT), signal=[(done, 1)])
    with pytest.raises(Aborted, match="cannot wait for its own device"):
        done.wait(1, WAIT)


def test_work_may_close_its_own_queue(queue):
    gate, never, stranded, ready, done = (HostSemaphore() for _ in range(5))
    ran = threading.Event()
    queue.submit(None, wait=[(never, 1)], signal=[(stranded, 1)])
    queue.submit(queue.close, wait=[(gate, 1)], signal=[(done, 1)])
    queue.submit(ran.set, wait=[(gate, 1)], signal=[(ready, 1)])
    gate.signal(1)
    done.wait(1, WAIT)
    for semaphore in (stranded, ready):
        with pytest.raises(Aborted, match="closed while this work was waiting"):
            semaphore.wait(1, WAIT)
    assert not ran.is_set()


def test_a_wait_that_is_reached_after_the_close_runs_nothing(queue):
    gate, ran = HostSemaphore(), threading.Event()
    queue.submit(ran.set, wait=[(gate, 1)])
    queue.close()
    gate.signal(1)
    queue.close()
    assert not ran.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_is_told_so():
    semaphore = HostSemaphore()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            semaphore.wait(1, WAIT)
        except Aborted as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as answer:
        assert b"forked from" in answer.read()
