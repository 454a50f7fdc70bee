"""How kernels address tensors: operands as memory or constants, affine accesses, collapsed iteration
spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from thalweg.api import NotSupported
from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.attributes import number
from thalweg.ir.dialects import tw
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import BlockArgument, SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineMap,
)

from thalweg_target_llvm_cpu.builder import (
    ELEMENT_BYTES,
    LLVM_TYPES,
    Int,
    KernelBuilder,
    Value,
    vector_type,
)

MAX_CONSTANT_ELEMENTS = 4096
"""The most elements of a constant that a kernel carries itself."""


@dataclass(frozen=True)
class Tensor:
    """A tensor in a kernel: memory at ``base``, or one value ``splat`` everywhere (then ``base`` is
    ``None``).

    ``invariant``: nobody writes to it while the kernel runs.
    """

    element: str
    shape: tuple[Extent, ...]
    base: Value | None
    splat: Value | None = None
    invariant: bool = True

    @property
    def memory_base(self) -> Value:
        """The address; the tensor is no splat."""
        assert self.base is not None
        return self.base

    @property
    def scalar(self) -> str:
        """The LLVM type of an element in a register."""
        return LLVM_TYPES[self.element]

    @property
    def memory(self) -> str:
        """The LLVM type of an element in memory."""
        return "i8" if self.scalar == "i1" else self.scalar

    @property
    def bytes(self) -> int:
        """The size of an element in memory."""
        return ELEMENT_BYTES[self.element]


class Tensors:
    """The tensors of a dispatch inside one kernel. Made before the first loop, so that addresses are loaded
    once.
    """

    def __init__(self, b: KernelBuilder, dispatch: Dispatch):
        self._b = b
        self._constants: dict[SSAValue, Tensor] = {}
        operands = dispatch.operands
        self._memory = {v: self._in_memory(v, index, True) for index, v in enumerate(operands)}
        self.result = self._in_memory(dispatch.results[0], len(operands), False)

    def _in_memory(self, value: SSAValue, index: int, invariant: bool) -> Tensor:
        return Tensor(element_name(value.type), extents_of(value), self._b.binding(index), None, invariant)

    def of(self, value: SSAValue) -> Tensor:
        """Return the tensor of an operand of the dispatch or of a constant inside it."""
        if isinstance(value, BlockArgument):
            return self._memory[value]
        if value not in self._constants:
            self._constants[value] = self._constant(value)
        return self._constants[value]

    def _constant(self, value: SSAValue) -> Tensor:
        element, shape = element_name(value.type), extents_of(value)
        values = constant_values(value)
        if values is None:
            raise NotSupported("a value of a dispatch that is neither an operand nor a small constant")
        if len(values) == 1:
            return Tensor(element, shape, None, literal(self._b, values[0], LLVM_TYPES[element]))
        return Tensor(element, shape, self._b.constant_array(values, element))


def constant_values(value: SSAValue) -> tuple[float | int, ...] | None:
    """Return the elements of a small dense constant (one for a splat), or ``None`` for anything else."""
    owner = value.owner
    if isinstance(owner, tw.SplatOp):
        return (number(owner.value),)
    if not isinstance(owner, arith.ConstantOp) or not isinstance(owner.value, DenseIntOrFPElementsAttr):
        return None
    if owner.value.is_splat():
        return (_scalar(owner.value.get_values()[0]),)
    values = tuple(map(_scalar, owner.value.get_values()))
    return values if 0 < len(values) <= MAX_CONSTANT_ELEMENTS else None


def _scalar(value: object) -> float | int:
    """Return an element that is known to be no complex number."""
    assert isinstance(value, float | int)
    return value


def literal(b: KernelBuilder, value: float | int, type_: str) -> Value:
    """Return a literal of an LLVM scalar or vector type."""
    scalar = type_.split(" x ")[-1].rstrip(">")
    if scalar in ("float", "double", "half", "bfloat"):
        return b.float(float(value), type_)
    return b.integer(abs(int(value)) if scalar == "i1" else int(value), type_)


# -- affine accesses
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Access:
    """An element's position, in elements, as ``offset + Σ strides[d] · index[d]`` over an iteration space."""

    strides: tuple[Extent, ...]
    offset: Extent = 0


def row_major(shape: Sequence[Extent]) -> tuple[Extent, ...]:
    """Return the strides, in elements, of a C-contiguous array."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def map_access(map_: AffineMap, shape: Sequence[Extent]) -> Access:
    """Return the access of a tensor of ``shape`` through an indexing map.

    :raises NotSupported: for a map that is not linear.
    """
    strides: list[Extent] = [0] * map_.num_dims
    offset: Extent = 0
    for expression, stride in zip(map_.results, row_major(shape)):
        coefficients, constant = _linear(expression, map_.num_dims)
        offset += constant * stride
        strides = [s + c * stride for s, c in zip(strides, coefficients)]
    return Access(tuple(strides), offset)


def _linear(expression, dims: int) -> tuple[list[int], int]:
    if isinstance(expression, AffineDimExpr):
        return [int(d == expression.position) for d in range(dims)], 0
    if isinstance(expression, AffineConstantExpr):
        return [0] * dims, expression.value
    if isinstance(expression, AffineBinaryOpExpr):
        (left, a), (right, c) = _linear(expression.lhs, dims), _linear(expression.rhs, dims)
        if expression.kind is AffineBinaryOpKind.Add:
            return [x + y for x, y in zip(left, right)], a + c
        if expression.kind is AffineBinaryOpKind.Mul and not any(right):
            return [x * c for x in left], a * c
        if expression.kind is AffineBinaryOpKind.Mul and not any(left):
            return [x * a for x in right], a * c
    raise NotSupported(f"indexing map expression {expression}")


@dataclass(frozen=True)
class Space:
    """A collapsed iteration space: dimension ``c`` stands for the original dimensions ``groups[c]``.

    Extents of 1 are dropped; neighbours that every access walks contiguously are one dimension.
    """

    extents: tuple[Extent, ...]
    groups: tuple[tuple[int, ...], ...]
    accesses: tuple[Access, ...]

    def position(self, dimension: int) -> int | None:
        """Return the collapsed dimension that holds an original one; ``None`` if that was dropped (extent
        1).
        """
        for index, group in enumerate(self.groups):
            if dimension in group:
                return index
        return None


def collapse(
    extents: Sequence[Extent], accesses: Sequence[Access], classes: Sequence[object] | None = None
) -> Space:
    """Collapse an iteration space as far as all ``accesses`` allow.

    :param classes: one per dimension; only neighbours of equal class may be merged.
    """
    groups: list[list[int]] = []
    for d in (d for d, extent in enumerate(extents) if extent != 1):
        previous = groups[-1][-1] if groups else None
        if (
            previous is not None
            and (classes is None or classes[previous] == classes[d])
            and all(a.strides[previous] == a.strides[d] * extents[d] for a in accesses)
        ):
            groups[-1].append(d)
        else:
            groups.append([d])
    return Space(
        tuple(prod(extents[d] for d in group) for group in groups),
        tuple(map(tuple, groups)),
        tuple(Access(tuple(a.strides[group[-1]] for group in groups), a.offset) for a in accesses),
    )


# -- reading and writing
# --------------------------------------------------------------------------------------------


def flat_index(b: KernelBuilder, access: Access, coordinates: Sequence[Int]) -> Int:
    """Return the position, in elements, at the coordinates of an iteration space."""
    index: Int = access.offset
    for coordinate, stride in zip(coordinates, access.strides):
        index = b.add(index, b.mul(coordinate, stride))
    return index


def read(
    b: KernelBuilder,
    tensor: Tensor,
    index: Int,
    lanes: int,
    stride: Extent = 1,
    mask: Value | None = None,
    fill: Value | None = None,
) -> Value:
    """Read ``lanes`` elements, ``stride`` apart, from element ``index`` on.

    Lanes outside ``mask`` are not read; they come from ``fill`` (a vector), or are undefined without it.
    """
    if tensor.splat is not None:
        return b.broadcast_literal(tensor.splat, lanes)
    if lanes == 1 or stride == 0:
        pointer = b.address(tensor.memory_base, index, tensor.scalar)
        return b.broadcast(_load(b, tensor, pointer, 1), lanes)
    if stride == 1:
        return _load(b, tensor, b.address(tensor.memory_base, index, tensor.scalar), lanes, mask, fill)
    if not isinstance(stride, int):
        steps = b.binary("mul nsw", b.iota(lanes), b.integer(stride, f"<{lanes} x i64>"))
        return read_indexed(b, tensor, b.address(tensor.memory_base, index, tensor.scalar), steps, mask, fill)
    if stride == -1 and mask is None:
        forward = _load(
            b, tensor, b.address(tensor.memory_base, b.sub(index, lanes - 1), tensor.scalar), lanes
        )
        return b.shuffle(forward, forward, range(lanes - 1, -1, -1))
    pointer = b.address(tensor.memory_base, index, tensor.scalar)
    indices = b.constant_vector([lane * stride for lane in range(lanes)], "i32")
    return read_indexed(b, tensor, pointer, indices, mask, fill)


def read_indexed(
    b: KernelBuilder,
    tensor: Tensor,
    base: Value,
    indices: Value,
    mask: Value | None = None,
    fill: Value | None = None,
) -> Value:
    """Read ``base[indices]``, lane by lane; see ``read`` for ``mask`` and ``fill``."""
    memory = vector_type(tensor.memory, indices.lanes)
    mask = mask or b.integer(1, vector_type("i1", indices.lanes))
    passthrough = fill or Value("poison", memory)
    return _from_memory(b, tensor, b.gather(base, indices, mask, passthrough, tensor.bytes))


def _load(
    b: KernelBuilder,
    tensor: Tensor,
    pointer: Value,
    lanes: int,
    mask: Value | None = None,
    fill: Value | None = None,
) -> Value:
    memory = vector_type(tensor.memory, lanes)
    if mask is None:
        loaded = b.load(pointer, memory, tensor.bytes, tensor.invariant)
    else:
        loaded = b.masked_load(pointer, mask, fill or Value("poison", memory), tensor.bytes)
    return _from_memory(b, tensor, loaded)


def _from_memory(b: KernelBuilder, tensor: Tensor, value: Value) -> Value:
    return b.icmp("ne", value, b.integer(0, value.type)) if tensor.scalar == "i1" else value


def write(b: KernelBuilder, tensor: Tensor, index: Int, value: Value, mask: Value | None = None) -> None:
    """Write the lanes of ``value`` (those where ``mask`` is true) from element ``index`` on, contiguously."""
    pointer = b.address(tensor.memory_base, index, tensor.scalar)
    if tensor.scalar == "i1":
        value = b.cast("zext", value, "i8")
    if mask is None:
        b.store(value, pointer, tensor.bytes)
    else:
        b.masked_store(value, pointer, mask, tensor.bytes)
