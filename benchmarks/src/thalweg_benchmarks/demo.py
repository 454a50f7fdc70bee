"""The demonstration: two real architectures from ONNX file to answer, on this machine's CPU.

Writes MobileNetV2 and MiniLM as ONNX files, compiles them with a progress bar that names the phases, runs
them on ``local-task`` and shows the result, the time of one inference and what is installed. Weights are
seeded random numbers: the architectures are the published ones, the answers mean nothing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import thalweg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from thalweg_benchmarks import zoo

MODELS = ("mobilenetv2", "minilm")
RUNS = 30


def main() -> None:
    """Run the demonstration."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="thalweg-demo-") as folder:
        for name in MODELS:
            demonstrate(name, Path(folder), console)
    show_installed(console)


def demonstrate(name: str, folder: Path, console: Console) -> None:
    """Write, compile and run one model of the zoo."""
    model = zoo.MODELS[name]()
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    console.print(
        f"[bold]{name}[/bold]: {len(model.graph.node)} nodes, {path.stat().st_size / 1e6:.1f} MB of ONNX"
    )
    module = compile_with_progress(path, console)
    program = thalweg.load(module, device="local-task")
    feeds = list(zoo.random_inputs(model).values())
    result = np.asarray(program.main(*feeds))
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        program.main(*feeds)
        times.append(1e3 * (time.perf_counter() - start))
    top = np.argsort(result.ravel())[-3:][::-1]
    console.print(f"  result {result.dtype}{list(result.shape)}, largest at {[int(i) for i in top]}")
    console.print(
        f"  {statistics.median(times):.2f} ms per inference (median of {RUNS}, best {min(times):.2f} ms)\n"
    )


def compile_with_progress(path: Path, console: Console):
    """Compile a model, showing the phase and how far it is."""
    columns = (TextColumn("  compiling"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0)

        def show(phase: str, fraction: float, detail: str) -> None:
            bar.update(task, completed=fraction, description=f"{phase} {detail}")

        module = thalweg.compile(path, progress=show, cache=False)  # to show the phases each time
        bar.update(task, completed=1.0, description="done")
    return module


def show_installed(console: Console) -> None:
    """List targets and drivers."""
    table = Table("kind", "installed", title="What is installed")
    table.add_row("target backends", ", ".join(thalweg.query_available_targets()))
    table.add_row("HAL drivers", ", ".join(thalweg.query_available_drivers()))
    console.print(table)


if __name__ == "__main__":
    main()
