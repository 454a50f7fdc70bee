"""The dispatches of a function at fixed shapes, with what debug info knows of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.extents import evaluate, static
from thalweg.module.debug_info import BindingInfo, DebugInfo, KernelInfo, debug_info_of
from thalweg.module.program import DispatchCommand, Span
from thalweg.runtime.stepping import SteppedFunction


@dataclass(frozen=True)
class DispatchBinding:
    """One binding of a dispatch. ``shape`` and ``dtype`` are ``None`` where debug info was stripped or the
    operand arrives packed.
    """

    span: Span
    access: str
    memory: str
    shape: tuple[int, ...] | None
    dtype: str | None

    def text(self) -> str:
        """Return ``r input 1x3x224x224xf32``, or with the bytes where the type is not known."""
        if self.shape is None or self.dtype is None:
            return f"{self.access} {self.memory} {index(self.span.length)} B"
        return f"{self.access} {self.memory} {'x'.join([*map(str, self.shape), self.dtype])}"

    def array(self, stepped: SteppedFunction) -> np.ndarray:
        """Return a copy of what the binding holds: of its type, or its bytes where that is not known."""
        data = stepped.read(self.span)
        if self.shape is None or self.dtype is None:
            return data
        return data.view(numpy_dtype(self.dtype)).reshape(self.shape)


@dataclass(frozen=True)
class Dispatch:
    """One dispatch. ``number`` counts the function's dispatches; ``command`` is its place in the commands.

    ``operations`` is ``None``, and ``node`` empty, without debug info.
    """

    number: int
    command: int
    kernel: str
    node: str
    workgroups: tuple[int, int, int]
    bindings: tuple[DispatchBinding, ...]
    operations: int | None
    info: KernelInfo | None

    @property
    def bytes(self) -> int:
        """What it reads and writes at least: the sum of its bindings."""
        return sum(index(binding.span.length) for binding in self.bindings)

    @property
    def outputs(self) -> tuple[DispatchBinding, ...]:
        """The bindings that it writes."""
        return tuple(binding for binding in self.bindings if "w" in binding.access)


def list_dispatches(stepped: SteppedFunction) -> list[Dispatch]:
    """Return the dispatches in the order of the commands."""
    info = debug_info_of(stepped.variant)
    return [_dispatch(stepped, place, command, info) for place, command in _commands(stepped)]


def _commands(stepped: SteppedFunction) -> Iterator[tuple[int, DispatchCommand]]:
    for place, command in enumerate(stepped.commands):
        if isinstance(command, DispatchCommand):
            yield place, command


def _dispatch(
    stepped: SteppedFunction, place: int, command: DispatchCommand, info: DebugInfo | None
) -> Dispatch:
    fixed = stepped.fixed
    entry = stepped.variant.executables[command.executable].entries[command.entry]
    number = fixed.dispatch_numbers[place]
    kernel = info.by_name.get(entry.name) if info is not None else None
    nodes = info.nodes.get(fixed.function.name, ()) if info is not None else ()
    types: Sequence[BindingInfo | None] = [None] * len(command.bindings)
    if kernel is not None:
        operands = [None if i in kernel.packings else item for i, item in enumerate(kernel.operands)]
        types = [*operands, *kernel.results]
    bindings = []
    for span, access, type_ in zip(command.bindings, entry.accesses(), types):
        slot = fixed.function.slots[span.slot]
        shape = None
        if type_ is not None:
            shape = tuple(evaluate(extent, fixed.dimensions) for extent in type_.shape)
        dtype = type_.dtype if type_ is not None else None
        bindings.append(DispatchBinding(span, access, slot.kind.value, shape, dtype))
    x, y, z = static(command.workgroup_count)
    return Dispatch(
        number=number,
        command=place,
        kernel=entry.name,
        node=nodes[number] if number < len(nodes) else "",
        workgroups=(x, y, z),
        bindings=tuple(bindings),
        operations=None if kernel is None else evaluate(kernel.operations, fixed.dimensions),
        info=kernel,
    )
