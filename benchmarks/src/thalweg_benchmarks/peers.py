"""Thalweg beside its peers on the zoo's models: one process, the same inputs, turns in every round, medians
and ratios.

A peer that is not installed, or cannot compile a model, has a dash and its reason below the table. In each
round every contender in turn has a block of calls, the first of which is not counted; between blocks is a
pause, in which threads that spin for more work come to rest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from thalweg_benchmarks import zoo
from thalweg_benchmarks.contenders import CONTENDERS, Call, Contender, Prepared, Unavailable

NAMES = ("mnist12", "squeezenet10", "mobilenetv2", "tinyyolov2", "resnet50", "minilm", "clip_text")
ROUNDS = 7
BLOCK_SECONDS = 0.15
PAUSE_SECONDS = 0.02
MOST_CALLS = 200
SLOW_SECONDS = 2.0
"""A contender whose call takes longer runs in the first rounds only."""


@dataclass
class Row:
    """One model: milliseconds and seconds by contender, and why some are missing."""

    model: str
    threads: int
    median_ms: dict[str, float] = field(default_factory=dict)
    compile_seconds: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def block(call: Call) -> list[float]:
    """Return the milliseconds of each counted call of a block."""
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    count = 1 if once > SLOW_SECONDS else max(2, min(MOST_CALLS, int(BLOCK_SECONDS / max(once, 1e-6))))
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def take_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, float]:
    """Return each contender's median in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            if number > 1 and statistics.median(times[name]) > 1e3 * SLOW_SECONDS:
                continue
            times[name] += block(call)
            time.sleep(PAUSE_SECONDS)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(name: str, contenders: Sequence[Contender], threads: int, rounds: int) -> Row:
    """Compile and run one model with every contender."""
    model = zoo.MODELS[name]()
    inputs = list(zoo.random_inputs(model, seed=1).values())
    row = Row(name, threads)
    prepared: dict[str, Prepared] = {}
    for contender in contenders:
        try:
            prepared[contender.name] = contender.ready(model, inputs, threads)
        except Unavailable as reason:
            row.missing[contender.name] = str(reason)
    outputs = {who: np.asarray(ready.call()[0], np.float64) for who, ready in prepared.items()}
    reference = outputs.get("onnxruntime", next(iter(outputs.values())))
    for who, ready in prepared.items():
        row.compile_seconds[who] = ready.compile_seconds
        row.errors[who] = float(np.linalg.norm(outputs[who] - reference) / np.linalg.norm(reference))
    row.median_ms = take_turns({who: ready.call for who, ready in prepared.items()}, rounds)
    return row


def table_head(contenders: Sequence[Contender]) -> str:
    """Return the Markdown table's head."""
    names = [c.name for c in contenders]
    columns = ["model", "error", *(f"{n} ms" for n in names), *(f"× {n}" for n in names[1:]), "compile s"]
    return "| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns)


def table_line(row: Row, contenders: Sequence[Contender]) -> str:
    """Return one line: the error against onnxruntime, each median, Thalweg's time over each peer's, compile
    times.
    """
    names = [c.name for c in contenders]
    ours = row.median_ms.get(names[0])

    def ratio(name: str) -> str:
        peer = row.median_ms.get(name)
        return f"{ours / peer:.2f}" if ours and peer else "–"

    times = [f"{row.median_ms[n]:.3g}" if n in row.median_ms else "–" for n in names]
    compiled = " / ".join(f"{row.compile_seconds[n]:.1f}" if n in row.compile_seconds else "–" for n in names)
    error = f"{row.errors[names[0]]:.1e}" if names[0] in row.errors else "–"
    return "| " + " | ".join([row.model, error, *times, *map(ratio, names[1:]), compiled]) + " |"


def environment(threads: int) -> dict[str, Any]:
    """Return where this ran: processor, threads, and versions."""
    packages = ("thalweg", "onnxruntime", "openvino", "iree-base-compiler", "iree-base-runtime", "numpy")
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"processor": _processor(), "threads": threads, "versions": versions}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line), "")
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    level = next((name for name in ("avx512f", "avx2", "avx") if f" {name}" in flags), platform.machine())
    return f"{model or platform.processor() or 'unknown'} ({level})"


def main() -> None:
    """Print the table, a line as soon as it is measured; ``--output`` stores it as Markdown and as JSON
    beside it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help="models of the zoo")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--contenders", default=",".join(c.name for c in CONTENDERS), help="comma list")
    parser.add_argument("--output", type=Path, help="where to store the table (.md)")
    arguments = parser.parse_args()
    wanted = arguments.contenders.split(",")
    contenders = [c for c in CONTENDERS if c.name in wanted]
    where = environment(arguments.threads)
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    lines = [f"{where['processor']}, {where['threads']} threads; {versions}", "", table_head(contenders)]
    print("\n".join(lines), flush=True)
    rows: list[Row] = []
    for name in arguments.names:
        rows.append(measure(name, contenders, arguments.threads, arguments.rounds))
        lines.append(table_line(rows[-1], contenders))
        print(lines[-1], flush=True)
    reasons = dict.fromkeys(
        f"- {row.model}, {who}: {why}" for row in rows for who, why in row.missing.items()
    )
    if reasons:
        lines += ["", *reasons]
        print("\n".join(["", *reasons]))
    if arguments.output:
        arguments.output.write_text("# Thalweg beside its peers\n\n" + "\n".join(lines) + "\n")
        record = {**where, "rows": [vars(row) for row in rows]}
        arguments.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
