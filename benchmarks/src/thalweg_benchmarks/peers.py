"""Thalweg beside onnxruntime on the zoo's models: same process, same inputs, interleaved runs, medians and
ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import thalweg

from thalweg_benchmarks import zoo

NAMES = ("mnist12", "squeezenet10", "mobilenetv2", "tinyyolov2", "resnet50", "minilm", "clip_text")


def interleaved(
    first: Callable[[], object], second: Callable[[], object], seconds: float
) -> tuple[float, float]:
    """Return both medians in milliseconds; runs take turns for about ``seconds``, five of each at least."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (first, second):
        call()
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for call, column in zip((first, second), times):
            start = time.perf_counter()
            call()
            column.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def measure(name: str, threads: int, seconds: float) -> dict[str, object]:
    """Compile and run one model with both; returns a row of the table."""
    import onnxruntime  # the peer is an optional extra

    model = zoo.MODELS[name]()
    feeds = zoo.random_inputs(model, seed=1)
    start = time.perf_counter()
    module = thalweg.compile(model)
    compile_seconds = time.perf_counter() - start
    program = thalweg.load(module, device=f"local-task://?threads={threads}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    reference = np.asarray(session.run(None, feeds)[0]).astype(np.float64)
    ours = np.asarray(program.main(*feeds.values())).astype(np.float64)
    values = list(feeds.values())
    mine, peer = interleaved(lambda: program.main(*values), lambda: session.run(None, feeds), seconds)
    return {
        "model": name, "threads": threads, "compile_s": round(compile_seconds, 2),
        "error": float(np.linalg.norm(ours - reference) / np.linalg.norm(reference)),
        "thalweg_ms": round(mine, 3), "onnxruntime_ms": round(peer, 3), "ratio": round(mine / peer, 2),
    }  # fmt: skip


def main() -> None:
    """Print the table, a row as soon as it is measured; ``--output`` stores it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help="models of the zoo")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=4.0, help="measuring time of each model")
    parser.add_argument("--output", type=Path, help="where to store the rows as JSON")
    arguments = parser.parse_args()
    columns = ("model", "threads", "compile_s", "error", "thalweg_ms", "onnxruntime_ms", "ratio")
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    rows = []
    for name in arguments.names:
        rows.append(measure(name, arguments.threads, arguments.seconds))
        cells = {name: str(value) for name, value in rows[-1].items()}
        cells["error"] = f"{rows[-1]['error']:.1e}"
        print("| " + " | ".join(cells[name] for name in columns) + " |", flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
