"""``thalweg benchmark --profile``: the time of each dispatch, run and timed apart from the others."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

from thalweg.module.program import BarrierCommand
from thalweg.runtime.stepping import Run, SteppedFunction
from thalweg.tools.dispatch_list import Dispatch, list_dispatches
from thalweg.tools.text_table import format_table, shorten

COPIES = "(copies and fills)"
"""What the profile calls the commands that are no dispatches."""


@dataclass(frozen=True)
class DispatchTime:
    """One dispatch: in each of ``calls`` passes over the function it took ``median`` seconds, typically."""

    dispatch: Dispatch
    calls: int
    median: float


@dataclass(frozen=True)
class Profile:
    """``other`` is the median time of a pass spent in copies and fills, in seconds."""

    rows: tuple[DispatchTime, ...]
    other: float

    @property
    def total(self) -> float:
        """The sum of the medians, in seconds."""
        return sum(row.median for row in self.rows) + self.other


def profile_function(
    stepped: SteppedFunction, warmup: int, repetitions: int | None, min_time: float
) -> Profile:
    """Run the commands one by one, in passes over the whole function, and time each.

    :param repetitions: passes to measure; by default as many as fit into ``min_time`` seconds, at least 10.
    """
    dispatches = {dispatch.command: dispatch for dispatch in list_dispatches(stepped)}
    runs: list[tuple[Dispatch | None, Run]] = [
        (dispatches.get(place), stepped.prepare(place))
        for place, command in enumerate(stepped.commands)
        if not isinstance(command, BarrierCommand)
    ]
    for _ in range(warmup):
        for _, run in runs:
            run()
    passes: list[list[float]] = []
    clock = time.perf_counter
    end = clock() + min_time
    while len(passes) < repetitions if repetitions is not None else len(passes) < 10 or clock() < end:
        seconds = []
        for _, run in runs:
            start = clock()
            run()
            seconds.append(clock() - start)
        passes.append(seconds)
    rows = tuple(
        DispatchTime(dispatch, len(passes), statistics.median(one[i] for one in passes))
        for i, (dispatch, _) in enumerate(runs)
        if dispatch is not None
    )
    others = [i for i, (dispatch, _) in enumerate(runs) if dispatch is None]
    other = statistics.median(sum(one[i] for i in others) for one in passes) if others else 0.0
    return Profile(rows, other)


def describe_profile(profile: Profile) -> list[dict[str, Any]]:
    """Return one JSON object for each dispatch, in order; ``gflops`` is null without debug info."""
    return [
        {
            "dispatch": row.dispatch.number,
            "kernel": row.dispatch.kernel,
            "node": row.dispatch.node,
            "calls": row.calls,
            "median_ms": row.median * 1e3,
            "gflops": _rate(row.dispatch.operations, row.median),
            "gbytes_per_s": _rate(row.dispatch.bytes, row.median),
            "share": row.median / profile.total if profile.total else 0.0,
            "operations": row.dispatch.operations,
            "bytes": row.dispatch.bytes,
        }
        for row in profile.rows
    ]


def _rate(count: int | None, seconds: float) -> float | None:
    """Return billions per second."""
    return None if count is None or seconds <= 0 else count / seconds / 1e9


def profile_table(profile: Profile, median_ms: float) -> str:
    """Return the dispatches, the slowest first, and the sum beside the median time of a whole call."""
    head = ("dispatch", "kernel", "node", "calls", "median ms", "GF/s", "GB/s", "share")
    rows = [
        (
            f"{item['dispatch']}",
            item["kernel"],
            shorten(item["node"], 48),
            f"{item['calls']}",
            f"{item['median_ms']:.4f}",
            _number(item["gflops"]),
            _number(item["gbytes_per_s"]),
            f"{item['share']:.1%}",
        )
        for item in sorted(describe_profile(profile), key=lambda item: -item["median_ms"])
    ]
    if profile.other:
        share = profile.other / profile.total
        rows.append(("", COPIES, "", "", f"{profile.other * 1e3:.4f}", "", "", f"{share:.1%}"))
    return "\n".join(
        [
            format_table(head, rows, left=(1, 2)),
            f"sum {profile.total * 1e3:.4f} ms of dispatches run one by one; a whole call takes"
            f" {median_ms:.4f} ms (median)",
            "each dispatch was submitted and timed apart: this costs more than a normal call, and dispatches"
            " that may overlap do not",
            "GB/s counts each operand and result once, however often a kernel reads it",
        ]
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
