"""What dynamic dimensions cost: MiniLM with a dynamic number of tokens beside the same model made for one
number.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import thalweg

from thalweg_benchmarks import zoo
from thalweg_benchmarks.contenders import Call
from thalweg_benchmarks.peers import ROUNDS, environment, take_turns

TOKENS = (1, 7, 32, 128, 512)


def caller(program, inputs: Sequence[np.ndarray]) -> Call:
    """Return a call of the program's ``main``."""
    return lambda: [np.asarray(program.main(*inputs))]


def measure(tokens: int, dynamic, device: str, rounds: int) -> tuple[float, float]:
    """Return the medians in milliseconds of (the static program, the dynamic one)."""
    model = zoo.transformer_encoder(f"minilm_{tokens}", tokens=tokens)
    inputs = list(zoo.random_inputs(model, seed=1, tokens=tokens).values())
    with thalweg.load(thalweg.compile(model), device=device) as static:
        medians = take_turns({"static": caller(static, inputs), "dynamic": caller(dynamic, inputs)}, rounds)
    return medians["static"], medians["dynamic"]


def main() -> None:
    """Print the table; ``--output`` stores it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, help="where to store the table (.md)")
    arguments = parser.parse_args()
    device = f"local-task://?threads={arguments.threads}"
    where = environment(arguments.threads)
    lines = [
        f"{where['processor']}, {arguments.threads} threads, one module of minilm_dynamic for all lines",
        "",
        "| tokens | static ms | dynamic ms | dynamic / static |",
        "| --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    with thalweg.load(thalweg.compile(zoo.MODELS["minilm_dynamic"]()), device=device) as dynamic:
        for tokens in TOKENS:
            static_ms, dynamic_ms = measure(tokens, dynamic, device, arguments.rounds)
            lines.append(f"| {tokens} | {static_ms:.3g} | {dynamic_ms:.3g} | {dynamic_ms / static_ms:.2f} |")
            print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("# What dynamic dimensions cost\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
