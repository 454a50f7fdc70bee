"""Sliding windows: ``tw.reduce_window`` of any rank, and depthwise ``tw.conv``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from math import inf
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.ir import Dispatch, shape_of
from thalweg.ir.dialects import tw
from thalweg_target_llvm_cpu.builder import ELEMENT_BYTES, KernelBuilder, Value
from thalweg_target_llvm_cpu.emitters.access import Access, flat_index, literal, read, row_major
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.nest import Level, Split, nest, split
from thalweg_target_llvm_cpu.emitters.work import analyse, element_count
from xdsl.ir import Operation

NAME = "window"


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch."""
    return isinstance(analyse(dispatch).root, tw.ReduceWindowOp)


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: output elements are divided among the workgroups."""
    root = analyse(dispatch).root
    taps = 1
    for extent in root.parameters()["window"]:
        taps *= extent
    shape = shape_of(root.results[0])
    division = split([Level(extent) for extent in shape], element_count(root.results[0]) * taps * 4)
    parameters = {"emitter": NAME, "split": division.parameters()}
    return DispatchPlan(KernelPlan((division.count, 1, 1), parameters=parameters))


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    epilogue = Epilogue(dispatch, settings)
    tensors = epilogue.bind(b)
    root: Operation = epilogue.work.root
    x, parameters, shape = tensors.of(root.x), root.parameters(), shape_of(root.results[0])
    if 0 in shape:
        return
    groups = [(d,) for d in range(len(shape))]
    with nest(b, [Level(extent) for extent in shape], Split.of(plan.parameters["split"])) as place:
        cell = b.variable(literal(b, least(x.element) if parameters["kind"] == "max" else 0, x.scalar))
        with ExitStack() as loops:
            source = []
            for d, extent in enumerate(parameters["window"]):
                tap = loops.enter_context(b.loop(0, extent))
                position = b.add(
                    b.mul(place[d], parameters["strides"][d]), b.mul(tap, parameters["dilations"][d])
                )
                source.append(b.integer(b.sub(position, parameters["pads_low"][d])))
                loops.enter_context(b.when(b.icmp("ult", source[-1], b.integer(x.shape[d]))))
            cell.set(
                combine(
                    b,
                    parameters["kind"],
                    cell.get(),
                    read(b, x, flat_index(b, Access(row_major(x.shape)), source), 1),
                )
            )
        epilogue.finish(b, cell.get(), place, groups)


def least(element: str) -> float | int:
    """Return the least value of an element type."""
    if element in ("f16", "bf16", "f32", "f64"):
        return -inf
    return 0 if element.startswith("ui") or element == "i1" else -(1 << (8 * ELEMENT_BYTES[element] - 1))


def combine(b: KernelBuilder, kind: str, total: Value, value: Value) -> Value:
    """Return the accumulator after one more value of the window.

    A NaN is neither more nor less than anything: ``max`` takes it only as the last value of a window.
    """
    floating = value.scalar_type in ("float", "double", "half", "bfloat")
    if kind == "sum":
        return b.binary("fadd" if floating else "add", total, value)
    return b.select(b.fcmp("ogt", total, value) if floating else b.icmp("sgt", total, value), total, value)
