"""The host program: what a compiled function does, as data.

A function of static shapes is a list of commands over *slots*. A slot is memory that is placed when the
function is loaded (constants) or called (inputs, outputs, the transient arena); a command names bytes as
(slot, offset, length). Commands between two barriers are independent of each other and may run concurrently.

The stored encoding is JSON with bounds, checked in full before use (``thalweg.module.encoding``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SlotKind(Enum):
    """What memory a slot stands for; the value is its name in the encoding."""

    CONSTANT = "constant"
    TRANSIENT = "transient"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True)
class Slot:
    """``index`` is the constant's, input's or output's number; 0 for the transient arena. ``size`` is in
    bytes.
    """

    kind: SlotKind
    index: int
    size: int


@dataclass(frozen=True)
class Span:
    """``length`` bytes at ``offset`` of slot number ``slot``."""

    slot: int
    offset: int
    length: int


@dataclass(frozen=True)
class DispatchCommand:
    """Run entry ``entry`` of executable ``executable`` over ``workgroup_count`` [x, y, z] workgroups."""

    executable: int
    entry: int
    workgroup_count: tuple[int, int, int]
    constants: tuple[int, ...]
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
    """One input or output: its name in the model, shape and element type (``f32``, ``i64``, …)."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class FunctionSignature:
    """An exported function."""

    name: str
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]


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
