"""The host program: what a compiled function does, as data.

A function is a list of commands over *slots*. A slot is memory that is placed when the
function is loaded (constants) or called (inputs, outputs, the transient arena); a command names bytes as
(slot, offset, length). Commands between two barriers are independent of each other and may run concurrently.

Sizes, offsets, workgroup counts and push constants are extents: numbers, or expressions of the function's
named dimensions. A function with such expressions has one transient slot for each buffer, with its lifetime;
``specialize`` (``thalweg.module.specialization``) makes of it a function of numbers, with one arena, once the
dimensions are known.

The stored encoding is JSON with bounds, checked in full before use (``thalweg.module.encoding``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thalweg.extents import Extent, is_static


class SlotKind(Enum):
    """What memory a slot stands for; the value is its name in the encoding."""

    CONSTANT = "constant"
    TRANSIENT = "transient"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True)
class Slot:
    """``index`` is the constant's, input's, output's or transient buffer's number; a function of static
    shapes has one transient slot, the arena. ``size`` is in bytes. ``lifetime``, of a transient slot of a
    dynamic function: the first and last epoch (run of commands between barriers) in which its bytes matter.
    """

    kind: SlotKind
    index: int
    size: Extent
    lifetime: tuple[int, int] | None = None


@dataclass(frozen=True)
class Span:
    """``length`` bytes at ``offset`` of slot number ``slot``."""

    slot: int
    offset: Extent
    length: Extent


@dataclass(frozen=True)
class DispatchCommand:
    """Run entry ``entry`` of executable ``executable`` over ``workgroup_count`` [x, y, z] workgroups."""

    executable: int
    entry: int
    workgroup_count: tuple[Extent, Extent, Extent]
    constants: tuple[Extent, ...]
    """Push constants, unsigned 32-bit."""
    bindings: tuple[Span, ...]


@dataclass(frozen=True)
class CopyCommand:
    """Copy ``source`` to ``target``; both have the same length and do not overlap."""

    source: Span
    target: Span


@dataclass(frozen=True)
class FillCommand:
    """Fill ``target`` with ``pattern`` of 1, 2 or 4 bytes."""

    target: Span
    pattern: bytes


@dataclass(frozen=True)
class BarrierCommand:
    """All commands before end, and their writes are visible, before any command after starts."""


Command = DispatchCommand | CopyCommand | FillCommand | BarrierCommand


@dataclass(frozen=True)
class TensorSignature:
    """One input or output: its name in the model, shape and element type (``f32``, ``i64``, …).

    A dimension of an input is a number or a name (or an expression of names that other inputs have).
    """

    name: str
    shape: tuple[Extent, ...]
    dtype: str


@dataclass(frozen=True)
class Limit:
    """What the program needs of its dimensions: ``extent`` is at most ``maximum``, which messages call
    ``reason``.
    """

    extent: Extent
    maximum: int
    reason: str = ""


@dataclass(frozen=True)
class FunctionSignature:
    """An exported function. Each named dimension is at least 1."""

    name: str
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    limits: tuple[Limit, ...] = ()

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a number."""
        return all(is_static(tensor.shape) for tensor in (*self.inputs, *self.outputs))


@dataclass(frozen=True)
class HostFunction:
    """One function of the host program; ``name`` matches a ``FunctionSignature``."""

    name: str
    slots: tuple[Slot, ...]
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class EntryPoint:
    """One kernel of an executable and its interface.

    ``local_memory`` is in bytes per workgroup; ``binding_access`` has one of ``r``, ``w``, ``rw`` per
    binding.
    """

    name: str
    binding_count: int
    constant_count: int = 0
    local_memory: int = 0
    workgroup_size: tuple[int, int, int] = (1, 1, 1)
    binding_access: tuple[str, ...] = ()

    def accesses(self) -> tuple[str, ...]:
        """Return ``binding_access``, or ``rw`` for every binding where it says nothing."""
        return self.binding_access or ("rw",) * self.binding_count
