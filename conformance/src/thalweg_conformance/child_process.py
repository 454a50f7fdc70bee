"""A process that tests a driver, seen from outside: its job, its events, its end."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class ChildProcess:
    """Runs ``thalweg_conformance.child`` with one job. A context manager: the process does not outlive it."""

    def __init__(self, job: Mapping[str, Any]):
        self._process = subprocess.Popen(
            # -P: nothing of the working directory gets in the way of what is installed
            [sys.executable, "-P", "-m", "thalweg_conformance.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._silence = 0.0
        threading.Thread(target=self._read, name="conformance events", daemon=True).start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its end says how
            self._process.stdin.write(json.dumps(job))
            self._process.stdin.close()

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def next_event(self, seconds: float) -> dict[str, Any] | None:
        """Return the next event; ``None`` if there are no more, or none has come after ``seconds``."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self._silence = seconds
            return None
        return json.loads(line) if line.endswith("\n") else None

    def end(self, limit: float) -> str:
        """Wait until the process has ended, or end it; returns what was wrong with its end, or nothing.

        :param limit: seconds to wait; none, if events were waited for in vain.
        """
        if self._silence:
            self._process.kill()
            self._process.wait()
            return f"nothing was heard of the process for {self._silence:g} s (it was ended)"
        try:
            return describe_status(self._process.wait(limit))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"the process had not ended after {limit:g} s (it was ended)"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")


def describe_status(status: int) -> str:
    """Return what a process's exit status says, or nothing for 0."""
    if status >= 0:
        return f"the process ended with exit status {status}" if status else ""
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    meaning = signal.strsignal(-status)
    return f"the process ended with {name}" + (f" ({meaning.lower()})" if meaning else "")
