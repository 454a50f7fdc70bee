"""Show how far a compilation is: a bar on a terminal, plain lines on request, nothing otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Progress(Protocol):
    """What the compiler calls: the phase's name, the fraction done (0…1) and a detail for people."""

    def __call__(self, phase: str, fraction: float, detail: str) -> None: ...


@contextmanager
def show_progress(verbose: bool, stream: TextIO | None = None) -> Iterator[Progress | None]:
    """Yield the callback for a compilation: plain lines if ``verbose``, else a bar on a terminal."""
    where: TextIO = stream or sys.stderr
    if verbose:
        yield PhaseLines(where)
    elif where.isatty():
        with _bar(where) as progress:
            yield progress
    else:
        yield None


class PhaseLines:
    """One line for each phase as it starts, with the seconds since the compilation did."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._phase = ""
        self._start = time.perf_counter()

    def __call__(self, phase: str, fraction: float, detail: str) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        seconds = time.perf_counter() - self._start
        print(f"[{seconds:7.2f} s {fraction:4.0%}] {phase} {detail}".rstrip(), file=self._stream, flush=True)


@contextmanager
def _bar(stream: TextIO) -> Iterator[Progress]:
    from rich.console import Console  # only a terminal needs rich, which is slow to import
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with RichProgress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("starting", total=1.0, detail="")

        def show(phase: str, fraction: float, detail: str) -> None:
            bar.update(task, description=phase, completed=fraction, detail=detail)

        yield show
