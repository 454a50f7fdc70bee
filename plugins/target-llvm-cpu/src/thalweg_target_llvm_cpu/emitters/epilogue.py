"""The elementwise function that a dispatch applies to its root's result, and the store of the final value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from xdsl.ir import SSAValue

from thalweg_target_llvm_cpu.builder import LLVM_TYPES, Int, KernelBuilder, Value, vector_type
from thalweg_target_llvm_cpu.emitters.access import (
    Access,
    Tensor,
    Tensors,
    flat_index,
    map_access,
    read,
    read_indexed,
    row_major,
    write,
)
from thalweg_target_llvm_cpu.emitters.work import Work, analyse
from thalweg_target_llvm_cpu.scalar_body import ScalarBody

Groups = Sequence[tuple[int, ...]]
"""The output's dimensions, collapsed: each group has one coordinate; lanes advance along the last group."""


@dataclass(frozen=True)
class Place:
    """Where the lanes of a value belong in the output: one coordinate per group, that of lane 0."""

    coordinates: Sequence[Int]
    groups: Groups
    shape: tuple[Extent, ...]

    def dimension(self, b: KernelBuilder, dimension: int, lanes: int) -> Int:
        """Return the coordinate of an output dimension: one for all lanes, or a vector of ``lanes``."""
        for position, group in enumerate(self.groups):
            if dimension in group:
                inner = prod(self.shape[d] for d in group[group.index(dimension) + 1 :])
                coordinate = self.coordinates[position]
                if lanes > 1 and position == len(self.groups) - 1:
                    lane = b.broadcast(b.integer(coordinate), lanes)
                    return _part(
                        b,
                        b.binary("add", lane, b.iota(lanes)),
                        inner,
                        self.shape[dimension],
                        group[0] == dimension,
                    )
                divided = b.udiv(coordinate, inner)
                return divided if group[0] == dimension else b.urem(divided, self.shape[dimension])
        return 0

    def group_stride(self, strides: Sequence[Extent], group: tuple[int, ...]) -> Extent | None:
        """Return the one stride with which ``strides`` walk the whole group, or ``None`` if there is none."""
        wide = [d for d in group if self.shape[d] != 1]
        if not wide:
            return 0
        unit = strides[wide[-1]]
        for d in wide:
            if strides[d] != unit * prod(self.shape[e] for e in group[group.index(d) + 1 :]):
                return None
        return unit


def _part(b: KernelBuilder, lanes: Value, divisor: Extent, extent: Extent, leading: bool) -> Value:
    if divisor != 1:
        lanes = b.binary("udiv", lanes, b.integer(divisor, lanes.type))
    return lanes if leading else b.binary("urem", lanes, b.integer(extent, lanes.type))


class Epilogue:
    """Applies a dispatch's epilogue to vectors of its root's result.

    Make it, then ``bind`` it to a kernel before the first loop. Without an epilogue ``apply`` gives the value
    back.
    """

    def __init__(self, dispatch: Dispatch, settings: Mapping[str, Any], work: Work | None = None):
        self.settings = settings
        self.work = work or analyse(dispatch)
        self.generic = self.work.epilogue
        self.element = element_name(dispatch.results[0].type)
        self.shape = extents_of(dispatch.results[0])
        self._dispatch = dispatch
        self._tensors: Tensors | None = None

    def accesses(self) -> list[Access]:
        """Return how the extra operands and the result are walked over the output's dimensions."""
        extra = [access for _, access in self._extra()]
        return [*extra, Access(row_major(self.shape))]

    def _extra(self) -> list[tuple[SSAValue, Access]]:
        if self.generic is None:
            return []
        maps = [m.data for m in self.generic.indexing_maps.data]
        pairs = zip(self.generic.inputs, maps)
        return [(v, map_access(m, extents_of(v))) for v, m in pairs if v is not self.work.root.results[0]]

    def bind(self, b: KernelBuilder, tensors: Tensors | None = None) -> Tensors:
        """Load the addresses of all bindings; returns the kernel's tensors."""
        self._tensors = tensors or Tensors(b, self._dispatch)
        for value, _ in self._extra():
            self._tensors.of(value)
        return self._tensors

    def _bound(self, b: KernelBuilder) -> Tensors:
        return self._tensors or self.bind(b)

    def apply(
        self,
        b: KernelBuilder,
        value: Value,
        coordinates: Sequence[Int],
        groups: Groups,
        mask: Value | None = None,
    ) -> Value:
        """Return the output's lanes for ``value``, lanes of the root's result at ``coordinates``.

        :param mask: the lanes that exist (i1 vector); operands are not read elsewhere.
        """
        if self.generic is None:
            return value
        place = Place(coordinates, groups, self.shape)
        root = self.work.root.results[0]
        tensors, arguments = self._bound(b), []
        extra = iter(self._extra())
        for operand in self.generic.inputs:
            if operand is root:
                arguments.append(value)
            else:
                source, access = next(extra)
                arguments.append(self._operand(b, tensors.of(source), access, place, value.lanes, mask))
        index = lambda d: self._index(b, place, d, value.lanes)
        unused = Value("poison", vector_type(LLVM_TYPES[self.element], value.lanes))
        body = ScalarBody(b, value.lanes, index)
        return body.emit(self.generic.body.block, [*arguments, unused])

    def _index(self, b: KernelBuilder, place: Place, dimension: int, lanes: int) -> Value:
        coordinate = b.integer(place.dimension(b, dimension, lanes))
        return coordinate if coordinate.lanes == lanes else b.broadcast(coordinate, lanes)

    def _operand(
        self, b: KernelBuilder, tensor: Tensor, access: Access, place: Place, lanes: int, mask: Value | None
    ) -> Value:
        if tensor.splat is not None:
            return b.broadcast_literal(tensor.splat, lanes)
        strides = [place.group_stride(access.strides, group) for group in place.groups]
        index: Int = access.offset
        for position, group in enumerate(place.groups):
            stride = strides[position]
            if stride is not None:
                index = b.add(index, b.mul(place.coordinates[position], stride))
            elif position < len(place.groups) - 1 or lanes == 1:
                parts = [b.mul(place.dimension(b, d, 1), access.strides[d]) for d in group]
                for part in parts:
                    index = b.add(index, part)
        if lanes > 1 and place.groups and strides[-1] is None:
            return self._scattered(b, tensor, access, place, lanes, mask, index)
        return read(b, tensor, index, lanes, strides[-1] or 0 if place.groups else 0, mask)

    def _scattered(self, b, tensor, access, place, lanes, mask, index) -> Value:
        indices = b.broadcast(b.integer(index), lanes)
        for d in place.groups[-1]:
            if access.strides[d]:
                part = place.dimension(b, d, lanes)
                part = b.binary("mul", part, b.integer(access.strides[d], part.type))
                indices = b.binary("add", indices, part)
        return read_indexed(b, tensor, tensor.base, indices, mask)

    def store(
        self,
        b: KernelBuilder,
        value: Value,
        coordinates: Sequence[Int],
        groups: Groups,
        mask: Value | None = None,
    ) -> None:
        """Store lanes of the output (what ``apply`` returned) at ``coordinates``."""
        result = self._bound(b).result
        strides = [prod(self.shape[group[-1] + 1 :]) if group else 0 for group in groups]
        write(b, result, flat_index(b, Access(tuple(strides)), coordinates), value, mask)

    def finish(
        self,
        b: KernelBuilder,
        value: Value,
        coordinates: Sequence[Int],
        groups: Groups,
        mask: Value | None = None,
    ) -> None:
        """``apply``, then ``store``."""
        self.store(b, self.apply(b, value, coordinates, groups, mask), coordinates, groups, mask)
