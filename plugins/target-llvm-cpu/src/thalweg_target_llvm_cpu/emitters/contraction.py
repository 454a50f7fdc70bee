"""Matrix products and convolutions of any rank, dtype and grouping, plainly: one output element after the
other.

The emitters that are fast come first (``select``); this one takes what they leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from thalweg.codegen.target import DispatchPlan, KernelPlan
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.attributes import ints
from thalweg.ir.dialects import tw

from thalweg_target_llvm_cpu.builder import (
    ELEMENT_BYTES,
    FLOATS,
    LLVM_TYPES,
    Int,
    KernelBuilder,
    Value,
    Variable,
)
from thalweg_target_llvm_cpu.emitters.access import Access, Tensor, flat_index, literal, read, row_major
from thalweg_target_llvm_cpu.emitters.epilogue import Epilogue
from thalweg_target_llvm_cpu.emitters.nest import Level, Split, nest, split
from thalweg_target_llvm_cpu.emitters.work import analyse, element_count

NAME = "contraction"


def accepts(dispatch: Dispatch) -> bool:
    """Return whether this emitter takes the dispatch: any ``tw.matmul`` or ``tw.conv``, all floats or all
    integers.
    """
    root = analyse(dispatch).root
    if not isinstance(root, tw.MatmulOp | tw.ConvOp):
        return False
    floating = {element_name(v.type) in FLOATS for v in (*root.operands, *root.results)}
    return len(floating) == 1


def plan(dispatch: Dispatch, settings: Mapping[str, Any]) -> DispatchPlan:
    """Plan a kernel: output elements are divided among the workgroups."""
    root = analyse(dispatch).root
    shape = extents_of(root.results[0])
    depth = (
        extents_of(root.operands[0])[-1]
        if isinstance(root, tw.MatmulOp)
        else element_count(root.operands[1]) // shape[1]
    )
    division = split([Level(extent) for extent in shape], element_count(root.results[0]) * depth * 4)
    parameters = {"emitter": NAME, "split": division.parameters()}
    return DispatchPlan(KernelPlan((division.count, 1, 1), parameters=parameters))


def emit(b: KernelBuilder, dispatch: Dispatch, plan: KernelPlan, settings: Mapping[str, Any]) -> None:
    """Write the kernel."""
    work = analyse(dispatch)
    epilogue = Epilogue(dispatch, settings, work)
    tensors = epilogue.bind(b)
    root = work.root
    x, w = (tensors.of(v) for v in root.operands)
    shape = extents_of(root.results[0])
    if 0 in shape:
        return
    groups = [(d,) for d in range(len(shape))]
    with nest(b, [Level(extent) for extent in shape], Split.of(plan.parameters["split"])) as place:
        total = _Sum(b, element_name(root.results[0].type), [x.element, w.element])
        if isinstance(root, tw.ConvOp):
            _conv(b, root, x, w, place, total)
        else:
            _matmul(b, x, w, place, total)
        epilogue.finish(b, total.value(), place, groups)


class _Sum:
    """A running sum of products: half-precision floats in float32, integers modulo 2^bits of the result."""

    def __init__(self, b: KernelBuilder, result: str, operands: Sequence[str]):
        self._b = b
        self._float = result in FLOATS
        self._operands = operands
        self._narrow = LLVM_TYPES[result]
        self._wide = self._narrow
        if self._float:
            self._wide = "double" if "f64" in (result, *operands) else "float"
        self._cell: Variable = b.variable(literal(b, 0, self._wide))

    def add(self, x: Value, y: Value) -> None:
        x, y = (self._widened(value, element) for value, element in zip((x, y), self._operands))
        product = self._b.binary("fmul" if self._float else "mul", x, y)
        self._cell.set(self._b.binary("fadd" if self._float else "add", self._cell.get(), product))

    def _widened(self, value: Value, element: str) -> Value:
        if value.type == self._wide:
            return value
        if self._float:
            return self._b.cast("fpext", value, self._wide)
        if ELEMENT_BYTES[element] > _bytes_of(self._wide):
            return self._b.cast("trunc", value, self._wide)
        return self._b.cast("zext" if element.startswith("ui") else "sext", value, self._wide)

    def value(self) -> Value:
        value = self._cell.get()
        return value if self._wide == self._narrow else self._b.cast("fptrunc", value, self._narrow)


def _bytes_of(integer: str) -> int:
    return max(1, int(integer[1:]) // 8)


def _matmul(b: KernelBuilder, x: Tensor, y: Tensor, place: Sequence[Int], total: _Sum) -> None:
    *batch, row, column = place
    with b.loop(0, x.shape[-1]) as k:
        first = read(b, x, _batched(b, x, [*batch, row, k]), 1)
        total.add(first, read(b, y, _batched(b, y, [*batch, k, column]), 1))


def _batched(b: KernelBuilder, tensor: Tensor, coordinates: Sequence[Int]) -> Int:
    strides = tuple(0 if extent == 1 else s for extent, s in zip(tensor.shape, row_major(tensor.shape)))
    return flat_index(b, Access(strides), coordinates)


def _conv(b: KernelBuilder, root: tw.ConvOp, x: Tensor, w: Tensor, place: Sequence[Int], total: _Sum) -> None:
    strides, dilations, pads_low = ints(root.strides), ints(root.dilations), ints(root.pads_low)
    batch, channel, *output = place
    per_group = w.shape[0] // root.groups.value.data
    first = b.mul(b.udiv(channel, per_group), w.shape[1])
    with ExitStack() as loops:
        within = loops.enter_context(b.loop(0, w.shape[1]))
        taps, inside = [], []
        for d, extent in enumerate(w.shape[2:]):
            tap = loops.enter_context(b.loop(0, extent))
            position = b.add(b.mul(output[d], strides[d]), b.mul(tap, dilations[d]))
            position = b.integer(b.sub(position, pads_low[d]))
            inside.append((position, b.icmp("ult", position, b.integer(x.shape[2 + d]))))
            taps.append(tap)
            loops.enter_context(b.when(inside[-1][1]))
        source = [batch, b.add(first, within), *(position for position, _ in inside)]
        value = read(b, x, flat_index(b, Access(row_major(x.shape)), source), 1)
        weight = read(b, w, flat_index(b, Access(row_major(w.shape)), [channel, within, *taps]), 1)
        total.add(value, weight)
