"""The target contract: what a code generator must do, and the records that pass between it and the compiler.

A backend is asked three things, all pure functions of their arguments:

1. ``plan(dispatch, config)``, before memory is planned: operand packings, kernels, workgroup counts, local
memory; 2. ``translate(kernel, config)``, one kernel at a time, perhaps in another process; 3.
``link(translated, config)``: one executable of a named format.

Everything that crosses a process border (``KernelSource``, ``TargetConfiguration``, ``TranslatedKernel``) is
text, numbers and bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thalweg.codegen.packing import Packing
from thalweg.extents import Extent
from thalweg.module.program import EntryPoint

if TYPE_CHECKING:
    from thalweg.ir import Dispatch


@dataclass(frozen=True)
class TargetConfiguration:
    """A backend's resolved configuration: everything that shapes its code, and nothing of the machine it runs
    on.

    ``predicate`` is stored with the variant: ``{"device_kind": "local", "executable_format":
    "thalweg-elf-x86_64-1", "features": ["avx2", "fma"]}``; a device that lacks one of them does not load the
    variant. ``settings`` holds the backend's own values (triple, cpu, features, opt level), as JSON.
    ``structured_ops`` names the structured ops with a generic decomposition (``tw.softmax``,
    ``tw.layer_norm``) that the backend lowers itself. Core decomposes the others before dispatches are
    formed, so that an op which core gains later breaks no backend.
    """

    backend: str
    executable_format: str
    predicate: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    structured_ops: frozenset[str] = frozenset()
    inline: bool = False
    """True: kernels run inside the host program, without the HAL (``vmvx-inline``)."""


@dataclass(frozen=True)
class KernelPlan:
    """One kernel that a backend will make of a dispatch.

    The kernel's bindings are the dispatch's operands in order, then its results in order; its push constants
    are the values of ``Dispatch.dimensions``.
    ``workgroup_count`` is [x, y, z], extents of the dispatch's dimensions; ``local_memory`` is bytes per
    workgroup; ``parameters`` (JSON) carry the backend's choices, such as tile sizes, from ``plan`` to
    ``translate``.
    """

    workgroup_count: tuple[Extent, Extent, Extent]
    local_memory: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DispatchPlan:
    """A backend's answer to ``plan``: its kernel, and the packing it wants for constant operands (by
    index).
    """

    kernel: KernelPlan
    packings: Mapping[int, Packing] = field(default_factory=dict)


@dataclass(frozen=True)
class KernelSource:
    """What ``translate`` gets. ``text`` is the MLIR of one ``func.func`` on tensors: the dispatch *before*
    packing.

    ``packed`` maps operand index → packed shape, for operands that arrive in the packing that ``plan`` asked
    for.
    """

    name: str
    text: str
    plan: KernelPlan
    packed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    dumps: bool = True
    """Whether anybody reads ``TranslatedKernel.dumps``; a backend may leave them out otherwise."""
    node: str = ""
    """The model's nodes that the kernel first computes, for messages; not sent to translation workers."""


@dataclass(frozen=True)
class TranslatedKernel:
    """One translated kernel: ``payload`` for ``link``; ``dumps`` (suffix → bytes, as ``.ll``, ``.s``) for
    people.
    """

    entry: EntryPoint
    payload: bytes
    dumps: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkedExecutable:
    """One executable: ``data`` in ``format``, with the entry points in the order of the translated
    kernels.
    """

    format: str
    data: bytes
    entries: tuple[EntryPoint, ...]
    dumps: Mapping[str, bytes] = field(default_factory=dict)


class TargetBackend(ABC):
    """A code generator for one family of devices."""

    @abstractmethod
    def configuration(self) -> TargetConfiguration:
        """Resolve the options to a configuration.

        :raises InvalidArgument: for an unknown CPU, feature or triple, naming the known ones or the nearest.
        """

    @abstractmethod
    def plan(self, dispatch: Dispatch, config: TargetConfiguration) -> DispatchPlan:
        """Choose the kernel, its tiling and the packing of constant operands for ``dispatch``.

        :raises NotSupported: naming the op and dtype that this backend cannot do.
        """

    @abstractmethod
    def translate(self, kernel: KernelSource, config: TargetConfiguration) -> TranslatedKernel:
        """Translate one kernel. Pure; may run in another process."""

    @abstractmethod
    def link(self, translated: Sequence[TranslatedKernel], config: TargetConfiguration) -> LinkedExecutable:
        """Link translated kernels into one executable of ``config.executable_format``."""
