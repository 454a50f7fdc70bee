"""Every kernel test that names a processor, for foreign processors: compiled here, run under qemu's user
mode.

The tests are those of the folder above, of every emitter, with static and with dynamic dimensions, with their
own references and bounds; what is added is the processor. A case of each test is sampled for ``make test``;
``make test-full`` runs all.
"""

from __future__ import annotations

import importlib
import inspect
import os
import random
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from emulator import EMULATED

SEED = int(os.environ.get("THALWEG_SEED", "20261121"))
SAMPLED = {
    "aarch64": 1.0,
    "riscv64": 1.0,
    "riscv64 +v of 128 bits": 0.7,
    "riscv64 +v of 256 bits": 0.4,
}
"""Processor → how likely it is that a case of a test runs in ``make test``; 0.15 for the others."""


def _tests() -> Iterator[tuple[str, Callable]]:
    """Give (name, function) of every test that takes the processor as its argument ``cpu``."""
    for path in sorted(Path(__file__).parent.parent.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in sorted(vars(module).items()):
            here = getattr(function, "__module__", "") == path.stem
            if name.startswith("test_") and here and "cpu" in inspect.signature(function).parameters:
                yield f"{path.stem.removeprefix('test_')}.{name.removeprefix('test_')}", function


def _cases(function: Callable) -> list[dict[str, Any]]:
    """Return every combination of a test's parameters, without the processor."""
    axes: list[list[dict[str, Any]]] = []
    for mark in function.pytestmark:
        if mark.name != "parametrize":
            continue
        names, rows = mark.args
        names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
        axis: list[dict[str, Any]] = []
        for row in rows:
            values = row.values if isinstance(row, type(pytest.param())) else row
            values = [values] if len(names) == 1 and values is row else list(values)
            case = {n: v for n, v in zip(names, values, strict=True) if n != "cpu"}
            if case not in axis:
                axis.append(case)
        axes.append(axis)
    return [{n: v for part in parts for n, v in part.items()} for parts in product(*axes)]


def _parameters() -> Iterator[Any]:
    chooser = random.Random(SEED)
    for name, function in _tests():
        cases = _cases(function)
        for cpu in EMULATED:
            sampled = chooser.randrange(len(cases)) if chooser.random() < SAMPLED.get(cpu, 0.15) else None
            for number, case in enumerate(cases):
                marks = () if number == sampled else (pytest.mark.full,)
                yield pytest.param(function, case, cpu, marks=marks, id=f"{name}-{number}-{cpu}")


@pytest.mark.parametrize("function, case, cpu", list(_parameters()))
def test_kernel(function: Callable, case: dict[str, Any], cpu: str) -> None:
    print(f"sampled with THALWEG_SEED={SEED}: {function.__name__}({case}, cpu={cpu!r})")
    function(**case, cpu=cpu)


def test_every_emitter_is_among_them() -> None:
    families = {name.split(".")[0] for name, _ in _tests()}
    wanted = {"contraction", "generic", "movement", "reduction", "rows", "window"}
    assert {f"emitters_{family}" for family in wanted} <= families
    dynamic = {"elementwise", "movement", "reduction", "window"}
    assert {f"dynamic_{family}" for family in dynamic} | {"vector_math"} <= families
