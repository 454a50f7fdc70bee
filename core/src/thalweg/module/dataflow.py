"""Which command of a host function reads what which other one wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from thalweg.extents import Extent, is_static
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import (
    CopyCommand,
    DispatchCommand,
    FillCommand,
    HostFunction,
    SlotKind,
    Span,
)


@dataclass(frozen=True, order=True)
class Place:
    """Where a tensor is made or used: ``input`` or ``output`` number ``index``, or ``command`` ``index``."""

    kind: str
    index: int


@dataclass(frozen=True)
class Edge:
    """Bytes go from ``source`` to ``target``; ``binding`` is the source's binding that wrote them, if it is a
    dispatch.
    """

    source: Place
    target: Place
    length: Extent
    binding: int | None = None


@dataclass(frozen=True)
class _Written:
    """Bytes [start, end) of a slot, or all of it where they depend on the dimensions."""

    start: Extent
    end: Extent
    source: Place
    binding: int | None

    def overlaps(self, start: Extent, end: Extent) -> bool:
        if not is_static((self.start, self.end, start, end)):
            return True
        return self.start < end and start < self.end


def data_edges(function: HostFunction, executables: Sequence[ExecutableRecord]) -> list[Edge]:
    """Return the edges, in the order of the commands that read; constants are not among them."""
    written: dict[int, list[_Written]] = {}
    for number, slot in enumerate(function.slots):
        if slot.kind is SlotKind.INPUT:
            written[number] = [_Written(0, slot.size, Place("input", slot.index), None)]
    edges: list[Edge] = []
    for number, command in enumerate(function.commands):
        place = Place("command", number)
        accesses = list(_accesses(command, executables))
        for _, span, access in accesses:
            if "r" in access:
                edges += _sources(written, span, place)
        for binding, span, access in accesses:
            if "w" in access:
                _write(written, span, place, binding)
    for number, slot in enumerate(function.slots):
        if slot.kind is SlotKind.OUTPUT:
            edges += _sources(written, Span(number, 0, slot.size), Place("output", slot.index))
    return list(dict.fromkeys(edges))


def _accesses(
    command: object, executables: Sequence[ExecutableRecord]
) -> Iterator[tuple[int | None, Span, str]]:
    if isinstance(command, DispatchCommand):
        entry = executables[command.executable].entries[command.entry]
        for binding, (span, access) in enumerate(zip(command.bindings, entry.accesses())):
            yield binding, span, access
    elif isinstance(command, CopyCommand):
        yield None, command.source, "r"
        yield None, command.target, "w"
    elif isinstance(command, FillCommand):
        yield None, command.target, "w"


def _sources(written: dict[int, list[_Written]], span: Span, target: Place) -> Iterator[Edge]:
    end = span.offset + span.length
    for item in written.get(span.slot, ()):
        if item.overlaps(span.offset, end):
            yield Edge(item.source, target, span.length, item.binding)


def _write(written: dict[int, list[_Written]], span: Span, source: Place, binding: int | None) -> None:
    end = span.offset + span.length
    kept: list[_Written] = []
    for item in written.get(span.slot, ()):
        if not item.overlaps(span.offset, end) or not is_static((item.start, item.end, span.offset, end)):
            if (item.start, item.end) != (span.offset, end):
                kept.append(item)
            continue
        if item.start < span.offset:
            kept.append(_Written(item.start, span.offset, item.source, item.binding))
        if end < item.end:
            kept.append(_Written(end, item.end, item.source, item.binding))
    written[span.slot] = [*kept, _Written(span.offset, end, source, binding)]
