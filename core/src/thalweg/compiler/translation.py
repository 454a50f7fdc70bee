"""Translation of kernels by their target backend: in this process, or in isolated workers on every core."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.codegen.target import KernelSource, TargetBackend, TargetConfiguration, TranslatedKernel
from thalweg.compiler.diagnosis import describe_kernel
from thalweg.compiler.translation_worker import (
    decode_translated,
    encode_config,
    encode_source,
    read_frame,
    write_frame,
)
from thalweg.errors import CompileError, NotSupported

Progress = Callable[[int, int], None]
"""Called with (kernels done, kernels in all)."""


@dataclass(frozen=True)
class TranslationJob:
    """What a worker needs to make the same backend again; ``options`` are the fields of its options
    dataclass.
    """

    backend: str
    options: Mapping[str, Any]
    config: TargetConfiguration


def translate_here(
    backend: TargetBackend, sources: Sequence[KernelSource], config: TargetConfiguration, progress: Progress
) -> list[TranslatedKernel]:
    """Translate in this process, one kernel after another."""
    translated = []
    for index, source in enumerate(sources):
        try:
            translated.append(backend.translate(source, config))
        except (CompileError, NotSupported) as error:
            raise CompileError(refusal(config.backend, source, str(error))) from None
        progress(index + 1, len(sources))
    return translated


class TranslationPool:
    """Worker subprocesses, one for each core that this process may use and at most ``most``, as a context
    manager.

    They load the target backend as soon as they are started: start the pool before the kernels are planned.
    """

    def __init__(self, job: TranslationJob, most: int):
        self._workers: list[_Worker] = []
        try:
            for _ in range(max(1, min(usable_cores(), most))):
                self._workers.append(_Worker(job))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TranslationPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; one that is still at work is stopped."""
        for worker in self._workers:
            worker.close()

    def translate(self, sources: Sequence[KernelSource], progress: Progress) -> list[TranslatedKernel]:
        """Translate kernels, the longest first.

        :raises CompileError: a kernel cannot be translated, or the code generator died on it; a reproducer
        file
            is left.
        """
        pending: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in sorted(range(len(sources)), key=lambda i: -len(sources[i].text)):
            pending.put(index)
        results: dict[int, TranslatedKernel] = {}
        failures: list[Exception] = []
        lock = threading.Lock()

        def serve(worker: _Worker) -> None:
            try:
                while not failures:
                    try:
                        index = pending.get_nowait()
                    except queue.Empty:
                        return
                    result = worker.translate(sources[index])
                    with lock:
                        results[index] = result
                        progress(len(results), len(sources))
            except Exception as error:  # raised below, in the thread that asked
                failures.append(error)

        workers = self._workers[: max(1, len(sources))]
        threads = [
            threading.Thread(target=serve, args=(w,), name=f"translate-{i}") for i, w in enumerate(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return [results[i] for i in range(len(sources))]


def refusal(backend: str, source: KernelSource, reason: str) -> str:
    """Return the message of a kernel that its target backend did not translate."""
    where = describe_kernel(source.name, source.node)
    return f"target backend {backend!r} cannot translate {where}: {reason}; try another --target-backend"


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """One subprocess, which makes the job's backend at once."""

    def __init__(self, job: TranslationJob):
        self._job = job
        self._busy = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close())
        start = "from thalweg.compiler.translation_worker import main; main()"
        code = f"import sys; sys.path[:] = {sys.path!r}; {start}"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
            )
        except BaseException:
            self._stderr.close()
            raise
        config = encode_config(job.config)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died; translate() says so
            write_frame(
                self._process.stdin, {"backend": job.backend, "options": dict(job.options), "config": config}
            )

    def close(self) -> None:
        """End the process; one that is at work, after an error elsewhere, is stopped."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it died; translate() has said so
            self._process.stdin.close()
        if self._process.poll() is None and self._busy:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def translate(self, source: KernelSource) -> TranslatedKernel:
        """Translate one kernel.

        :raises CompileError: see ``TranslationPool.translate``.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._busy = True
        try:
            write_frame(self._process.stdin, encode_source(source))
            reply = read_frame(self._process.stdout)
        except BrokenPipeError:
            reply = None
        self._busy = False
        if reply is None:
            raise CompileError(self._death(source))
        if "error" in reply:
            raise CompileError(refusal(self._job.backend, source, reply["error"]))
        return decode_translated(reply)

    def _death(self, source: KernelSource) -> str:
        status = self._process.wait()
        self._stderr.seek(0)
        lines = [
            line.strip() for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()
        ]
        cause = next(
            (line for line in lines if "LLVM ERROR" in line or "Assertion" in line),
            lines[-1] if lines else "",
        )
        death = (
            f"the code generator of {self._job.backend!r} died on"
            f" {describe_kernel(source.name, source.node)}"
            f" (exit status {status}{': ' + cause if cause else ''})"
        )
        try:
            reproducer = write_reproducer(self._job, source)
        except OSError as error:
            return f"{death}; a reproducer cannot be written to {error.filename}: {error.strerror}"
        return (
            f"{death}; a reproducer is in {reproducer}, try"
            f" `python -m thalweg.compiler.reproduce {reproducer}`"
        )


def write_reproducer(job: TranslationJob, source: KernelSource) -> Path:
    """Write a file that ``thalweg.compiler.reproduce`` translates again; returns its path."""
    message = {
        "backend": job.backend,
        "options": dict(job.options),
        "config": encode_config(job.config),
        "kernel": encode_source(source),
    }
    handle, name = tempfile.mkstemp(prefix=f"thalweg-{source.name}-", suffix=".json")
    with os.fdopen(handle, "w") as file:
        json.dump(message, file, indent=1)
    return Path(name)
