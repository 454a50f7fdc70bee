"""Submissions and semaphores: order, wait-before-signal, fan-out, and failure that travels."""

from __future__ import annotations

from itertools import pairwise

from thalweg.api import Aborted, DeadlineExceeded
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.types import MemoryAccess

from thalweg_conformance.bench import Bench
from thalweg_conformance.checks import equal, holds, raises, same_bytes
from thalweg_conformance.rules import Level, rule

AREA = "queue"


class _Cause(Exception):
    """A failure's cause that no driver makes."""


@rule()
def test_waits_before_it_starts(bench: Bench) -> None:
    """HAL-QUE-1: work starts when what it waits for has been reached, not when it is submitted.

    Reference: thalweg.hal.driver.Device; IREE CTS queue/semaphore_submission SubmitWithWait.
    """
    device, late = bench.device, bench.bytes(256)
    source, target, gate, done, changed = (
        bench.buffer(bytes(256)),
        bench.buffer(bytes(256)),
        *_semaphores(bench, 3),
    )
    device.queue_copy(BufferRef(source), BufferRef(target), wait=[(gate, 1)], signal=[(done, 1)])
    device.queue_update(late, BufferRef(source), signal=[(changed, 1)])
    bench.reach(changed, 1, "an update that waits for nothing, submitted after a copy that waits")
    equal(done.query(), 0, "the semaphore of a copy whose wait has not been reached")
    gate.signal(1)
    bench.reach(done, 1, "a copy whose wait was signaled")
    same_bytes(bench.read(target), late, "a copy that waited until its source was changed")


@rule()
def test_waits_for_all(bench: Bench) -> None:
    """HAL-QUE-2: work that waits for several semaphores starts when all have been reached.

    Reference: thalweg.hal.semaphore.SemaphoreList; IREE CTS SubmitWithMultipleSemaphores.
    """
    device, late = bench.device, bench.bytes(64)
    source, target, done = bench.buffer(bytes(64)), bench.buffer(bytes(64)), bench.semaphore()
    gates = _semaphores(bench, 3)
    wait = [(gate, 2) for gate in gates]
    device.queue_copy(BufferRef(source), BufferRef(target), wait=wait, signal=[(done, 1)])
    for gate in (gates[0], gates[2]):
        gate.signal(2)
    gates[1].signal(1)
    changed = bench.semaphore()
    device.queue_update(late, BufferRef(source), signal=[(changed, 1)])
    bench.reach(changed, 1, "an update that waits for nothing")
    equal(done.query(), 0, "the semaphore of a copy that has two of its three waits")
    gates[1].signal(2)
    bench.reach(done, 1, "a copy whose three waits were signaled")
    same_bytes(bench.read(target), late, "a copy that waited for the third semaphore")


@rule()
def test_signals_all(bench: Bench) -> None:
    """HAL-QUE-3: work that has ended signals each of its semaphores to its value.

    Reference: thalweg.hal.semaphore.SemaphoreList; IREE CTS SubmitAndSignal.
    """
    semaphores, buffer = _semaphores(bench, 3), bench.buffer(bytes(64))
    bench.device.queue_fill(
        BufferRef(buffer), b"\x01", signal=[(s, 10 + i) for i, s in enumerate(semaphores)]
    )
    for index, semaphore in enumerate(semaphores):
        bench.reach(semaphore, 10 + index, f"signal {index} of three")
        equal(semaphore.query(), 10 + index, f"query() of signal {index} of three")


@rule()
def test_signals_when_done(bench: Bench) -> None:
    """HAL-QUE-4: a semaphore is signaled after the work, and what the work wrote is visible to the host by
    then.

    Reference: thalweg.hal.driver.Device; thalweg.hal.types.MemoryType.HOST_COHERENT.
    """
    count, size = 200, 1 << 16
    target, commands, done = bench.staging(bytes(size)), CommandBuffer(), bench.semaphore()
    for index in range(count):
        commands.fill(BufferRef(target), bytes([index % 255 + 1]))
        commands.barrier()
    commands.fill(BufferRef(target, size - 4, 4), b"last")
    view = target.map(MemoryAccess.READ)
    bench.device.queue_execute(commands.finalize(), signal=[(done, 1)])
    bench.reach(done, 1, f"{count + 1} fills")
    same_bytes(bytes(view[-8:]), bytes([200] * 4) + b"last", "the last 8 bytes at the moment of the signal")


@rule()
def test_order_of_submission_is_free(bench: Bench) -> None:
    """HAL-QUE-5: waiting for what is submitted later is legal: semaphores order work, not the queue.

    Reference: DESIGN section 4, wait-before-signal; IREE CTS CrossQueueWaitBeforeSignal.
    """
    device, buffer, gate, time = bench.device, bench.buffer(bytes(64)), *_semaphores(bench, 2)
    for step in (3, 2, 1):
        wait = [(time, step - 1)] if step > 1 else [(gate, 1)]
        device.queue_fill(BufferRef(buffer), bytes([step]), wait=wait, signal=[(time, step)])
    equal(time.query(), 0, "query() while the first of three fills waits")
    gate.signal(1)
    bench.reach(time, 3, "three fills along a timeline, submitted last one first")
    same_bytes(bench.read(buffer), b"\x03" * 64, "the buffer that the third fill wrote last")


@rule()
def test_waits_across_semaphores_before_signal(bench: Bench) -> None:
    """HAL-QUE-6: a chain over several semaphores, submitted back to front, runs front to back.

    Reference: DESIGN section 4, wait-before-signal; IREE CTS IntermediateSemaphoreBetweenDeviceBatches.
    """
    device, content = bench.device, bench.bytes(64)
    buffers, times = [bench.buffer(bytes(64)) for _ in range(4)], _semaphores(bench, 4)
    for index in (2, 1, 0):
        device.queue_copy(
            BufferRef(buffers[index]),
            BufferRef(buffers[index + 1]),
            wait=[(times[index], 1)],
            signal=[(times[index + 1], 1)],
        )
    device.queue_update(content, BufferRef(buffers[0]), signal=[(times[0], 1)])
    bench.reach(times[3], 1, "a chain of three copies, submitted back to front")
    same_bytes(bench.read(buffers[3]), content, "the end of a chain of three copies")


@rule()
def test_fans_out(bench: Bench) -> None:
    """HAL-QUE-7: one jump of a timeline starts all the work that waits for the values it passes.

    Reference: IREE CTS MultiQueueFanOutDifferentValuesBeforeSignal.
    """
    gate, done = bench.semaphore(), _semaphores(bench, 4)
    buffers = [bench.buffer(bytes(16)) for _ in done]
    for index, (buffer, end) in enumerate(zip(buffers, done)):
        pattern = bytes([index + 1])
        bench.device.queue_fill(BufferRef(buffer), pattern, wait=[(gate, index + 1)], signal=[(end, 1)])
    gate.signal(3)
    for index in range(3):
        bench.reach(done[index], 1, f"work that waits for {index + 1} of a timeline at 3")
        same_bytes(
            bench.read(buffers[index]), bytes([index + 1] * 16), f"the fill that waited for {index + 1}"
        )
    with raises(DeadlineExceeded, "waiting for work that waits for 4 of a timeline at 3"):
        done[3].wait(1, 0)
    gate.signal(9)
    bench.reach(done[3], 1, "work that waits for 4 of a timeline at 9")


@rule()
def test_failure_travels(bench: Bench) -> None:
    """HAL-QUE-8: work whose wait fails does not run, and fails its own semaphores with the first cause, and
    so on.

    Reference: thalweg.hal.driver.Device; IREE CTS queue/semaphore_submission PropagateFailSignal.
    """
    content, cause = bench.bytes(64), _Cause("the spring failed")
    buffer, chain = bench.buffer(content), _semaphores(bench, 4)
    for before, after in pairwise(chain):
        bench.device.queue_fill(BufferRef(buffer), b"\x01", wait=[(before, 1)], signal=[(after, 1)])
    chain[0].fail(cause)
    for index, semaphore in enumerate(chain[1:], 1):
        asked = f"wait for link {index} of a chain whose start failed"
        with raises(Aborted, asked) as caught:
            semaphore.wait(1, bench.limit)
        holds(str(cause) in str(caught[0]), str(caught[0]), f"a message that holds {str(cause)!r}", asked)
    same_bytes(bench.read(buffer), content, "the buffer that the failed chain should not have filled")


@rule()
def test_failed_wait_fails_later_work(bench: Bench) -> None:
    """HAL-QUE-9: work submitted with a wait that has failed already fails its semaphores.

    Reference: thalweg.hal.driver.Device.
    """
    failed, done = _semaphores(bench, 2)
    failed.fail(_Cause("failed long ago"))
    asked = "wait for work whose wait failed before it was submitted"
    bench.device.queue_execute(None, wait=[(failed, 1)], signal=[(done, 1)])
    with raises(Aborted, asked) as caught:
        done.wait(1, bench.limit)
    holds("failed long ago" in str(caught[0]), str(caught[0]), "a message with the first cause", asked)


@rule(Level.STANDARD)
def test_one_failed_wait_is_enough(bench: Bench) -> None:
    """HAL-QUE-10: work that waits for several semaphores fails as soon as one of them does.

    Reference: thalweg.hal.driver.Device; IREE CTS core/semaphore_thread DeviceMultiWaitThenFail.
    """
    open_gate, failing, done = _semaphores(bench, 3)
    bench.device.queue_execute(None, wait=[(open_gate, 1), (failing, 1)], signal=[(done, 1)])
    failing.fail(_Cause("one of two"))
    with raises(Aborted, "wait for work with one failed wait and one that is never reached"):
        done.wait(1, bench.limit)


@rule(Level.STANDARD)
def test_failure_stays_in_its_graph(bench: Bench) -> None:
    """HAL-QUE-11: work that does not depend on a failed semaphore runs as before.

    Reference: DESIGN section 4, failure travels down the graph.
    """
    failed, lost, done = _semaphores(bench, 3)
    failed.fail(_Cause("elsewhere"))
    bench.device.queue_execute(None, wait=[(failed, 1)], signal=[(lost, 1)])
    buffer = bench.buffer(bytes(64))
    bench.device.queue_fill(BufferRef(buffer), b"\x09", signal=[(done, 1)])
    bench.reach(done, 1, "a fill beside failed work")
    same_bytes(bench.read(buffer), b"\x09" * 64, "a fill beside failed work")


def _semaphores(bench: Bench, count: int) -> list:
    return [bench.semaphore() for _ in range(count)]
