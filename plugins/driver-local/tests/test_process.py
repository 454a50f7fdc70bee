"""Forks, Ctrl-C, the end of the interpreter, and what runs without the interpreter lock."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest
from thalweg.api import Aborted
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg_driver_local import native
from thalweg_driver_local.driver import LocalDriver

PREAMBLE = """
import os, signal, sys, threading, time
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess
from thalweg_driver_local.driver import LocalDriver
from thalweg_driver_local.loading import LoaderSet
name, processor = sys.argv[1:3]
device = LocalDriver(name, LoaderSet([])).create_device("", {"processor": processor})
buffer = device.allocator.allocate(64, BufferParams(usage=BufferUsage.DEFAULT | BufferUsage.MAPPING))
gate, done = device.create_semaphore(), device.create_semaphore()
"""

ALL = pytest.mark.parametrize(
    "which",
    ["local-sync native", "local-sync python", "local-task native", "local-task python"],
)


def python(which: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script on a device of its own process."""
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), *which.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=40,
    )


@ALL
def test_the_interpreter_ends_with_work_in_flight_and_threads_that_wait(which):
    """Work that waits for a signal that never comes does not keep the process, nor who waits for the work."""
    ran = python(
        which,
        """
        from contextlib import suppress
        from thalweg.api import Aborted
        def wait():
            with suppress(Aborted):  # it may hear that the device was closed, or nothing
                done.wait(1)
        device.queue_fill(BufferRef(buffer), b"\\x01", wait=[(gate, 1)], signal=[(done, 1)])
        threading.Thread(target=wait, daemon=True).start()
        device.queue_fill(BufferRef(buffer), b"\\x01")
        print("end")
        """,
    )
    assert (ran.returncode, ran.stdout) == (0, "end\n"), ran.stderr
    assert "Traceback" not in ran.stderr


@ALL
def test_ctrl_c_interrupts_waits_and_the_device_works_on(which):
    ran = python(
        which,
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        device.queue_execute(None, wait=[(gate, 1)], signal=[(done, 1)])
        for wait in (lambda: done.wait(1, 30), device.wait_idle):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                wait()
            except KeyboardInterrupt:
                print("interrupted")
        gate.signal(1)
        done.wait(1, 30)
        """,
    )
    assert (ran.returncode, ran.stdout) == (0, "interrupted\ninterrupted\n"), ran.stderr


@ALL
def test_a_forked_child_is_refused_and_may_have_a_device_of_its_own(which):
    ran = python(
        which,
        """
        from thalweg.api import Aborted
        device.queue_execute(None, wait=[(gate, 1)], signal=[(done, 1)])
        commands = CommandBuffer()
        commands.fill(BufferRef(buffer), b"\\x02")
        call = device.prepare_call(commands.finalize(), {})
        uses = [
            lambda: device.queue_fill(BufferRef(buffer), b"\\x01"),
            lambda: device.queue_execute(None),
            lambda: gate.query(),
            lambda: gate.signal(1),
            lambda: done.wait(1, 20),
            lambda: call(()),
            device.wait_idle,
        ]
        child = os.fork()
        if child == 0:
            wrong = 0
            for use in uses:
                try:
                    use()
                    wrong += 1
                except Aborted as error:
                    wrong += "forked from" not in str(error)
            device.close()
            mine = LocalDriver(name, LoaderSet([])).create_device("", {"processor": processor})
            ended = mine.create_semaphore()
            mine.queue_fill(BufferRef(mine.allocator.allocate(64)), b"\\x01", signal=[(ended, 1)])
            ended.wait(1, 20)
            sys.exit(wrong)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        gate.signal(1)
        done.wait(1, 30)
        call(())
        print(bytes(buffer.map(MemoryAccess.READ, 0, 2)))
        """,
    )
    assert (ran.returncode, ran.stdout) == (0, "0\nb'\\x02\\x02'\n"), ran.stderr


def test_workers_and_queues_take_no_signals(kernel_record):
    """A signal to the process is for Python's main thread: the native threads have all of them blocked."""
    before = set(os.listdir("/proc/self/task"))
    device = LocalDriver("local-task").create_device("", {"threads": "3", "processor": "native"})
    made = set(os.listdir("/proc/self/task")) - before
    assert len(made) >= 3  # two workers and the queue's
    for thread in made:
        with open(f"/proc/self/task/{thread}/status", encoding="ascii") as status:
            blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
        assert blocked >> (signal.SIGINT - 1) & 1 and blocked >> (signal.SIGTERM - 1) & 1
    device.close()


def test_a_collected_device_ends_its_threads():
    before = len(os.listdir("/proc/self/task"))
    for _ in range(5):
        device = LocalDriver("local-task").create_device("", {"threads": "3", "processor": "native"})
        gone = weakref.ref(device)
        del device
        gc.collect()
        assert gone() is None
    assert len(os.listdir("/proc/self/task")) <= before


# ---- the interpreter lock ----------------------------------------------------------------------------------


@pytest.mark.parametrize("configuration", ["local-task native 1", "local-task native 2"])
def test_work_goes_on_while_this_thread_holds_the_interpreter_lock(open_device, kernel_record, configuration):
    """A chain of waits, kernels and signals ends while no Python can run: nothing native needs the lock."""
    device = open_device(configuration)
    kernels = device.prepare_executable(kernel_record)
    target = device.allocator.allocate(4 * 64)
    commands = CommandBuffer()
    commands.fill(BufferRef(target), b"\0")
    commands.barrier()
    commands.dispatch(kernels, kernels.lookup_function("increment"), (64, 1, 1), (BufferRef(target),))
    commands.finalize()
    timeline = device.create_semaphore()
    for step in range(1, 11):
        device.queue_execute(commands, wait=[(timeline, step)], signal=[(timeline, step + 1)])
    locked = ctypes.PyDLL(str(native.library_path()))  # its calls keep the interpreter lock
    locked.tw_semaphore_signal.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    locked.tw_semaphore_wait.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64]
    assert locked.tw_semaphore_signal(timeline.handle, 1) == native.OK
    assert locked.tw_semaphore_wait(timeline.handle, 11, 30 * 10**9) == native.OK
    device.close()


@pytest.mark.parametrize("configuration", ["local-sync native", "local-task native 2"])
def test_python_runs_while_a_kernel_does(open_device, kernel_record, configuration):
    """A kernel that spins until Python writes the word it watches: it ends only if calls release the lock."""
    device = open_device(configuration)
    kernels = device.prepare_executable(kernel_record)
    flag = np.zeros(1, np.uint32)
    buffer = device.allocator.import_host(flag)
    commands = CommandBuffer()
    function = kernels.lookup_function("wait_for_word")
    commands.dispatch(kernels, function, (1, 1, 1), (BufferRef(buffer),), (1 << 31,))
    call = device.prepare_call(commands.finalize(), {})
    failures = []

    def run():
        try:
            call(())
        except Aborted as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    flag[0] = 1
    thread.join(50)
    assert not thread.is_alive() and not failures
    device.close()
