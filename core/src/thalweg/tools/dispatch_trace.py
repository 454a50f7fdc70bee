"""``thalweg run --trace-dispatches``: run a function dispatch by dispatch and print each."""

from __future__ import annotations

import sys
from typing import TextIO

import numpy as np

from thalweg.runtime.stepping import SteppedFunction
from thalweg.tools.dispatch_list import Dispatch, DispatchBinding, list_dispatches


def trace(stepped: SteppedFunction, stream: TextIO | None = None) -> list[np.ndarray]:
    """Run the commands one by one; print each dispatch before it runs, then its outputs. Returns the results.

    What stands last when a kernel fails or the process dies is the dispatch that did it.
    :param stream: where lines go; standard error by default.
    """
    where = stream or sys.stderr
    dispatches = {dispatch.command: dispatch for dispatch in list_dispatches(stepped)}
    for place in range(len(stepped.commands)):
        dispatch = dispatches.get(place)
        if dispatch is not None:
            print(describe_dispatch(dispatch, len(dispatches)), file=where, flush=True)
        stepped.prepare(place)()
        if dispatch is not None:
            for number, binding in enumerate(dispatch.bindings):
                if "w" in binding.access:
                    summary = describe_values(binding, binding.array(stepped))
                    print(f"  -> binding {number}: {summary}", file=where, flush=True)
    return stepped.results()


def describe_dispatch(dispatch: Dispatch, count: int) -> str:
    """Return what a dispatch is, in a line or two."""
    node = f" [{dispatch.node}]" if dispatch.node else ""
    x, y, z = dispatch.workgroups
    bindings = ", ".join(binding.text() for binding in dispatch.bindings)
    return (
        f"dispatch {dispatch.number} of {count}: {dispatch.kernel}{node}, {x}x{y}x{z} workgroups,"
        f" {dispatch.bytes} bytes\n  {bindings}"
    )


def describe_values(binding: DispatchBinding, array: np.ndarray) -> str:
    """Return the least and largest value, and how many are not numbers or infinite."""
    if not array.size:
        return "empty"
    if binding.dtype is None:
        return f"{array.size} bytes (of a type that only debug info knows)"
    if not binding.dtype.startswith(("f", "bf")):
        return f"min {int(array.min())}, max {int(array.max())}"
    values = array.astype(np.float64)
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if nan == values.size:
        return f"all {nan} values are NaN"
    infinities = f", {infinite} infinite" if infinite else ""
    return f"min {np.nanmin(values):g}, max {np.nanmax(values):g}, {nan} NaN{infinities}"
