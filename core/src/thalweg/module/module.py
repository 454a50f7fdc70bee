"""A compiled module in memory: signatures, variants, executables and constants, as ``thalweg.module.file``
stores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg.module.program import EntryPoint, FunctionSignature, HostFunction


@dataclass(frozen=True)
class ExecutableRecord:
    """One executable: its format, its bytes and its entry points in order."""

    name: str
    format: str
    data: bytes
    entries: tuple[EntryPoint, ...]


@dataclass(frozen=True)
class Variant:
    """One whole-program variant: for the devices that meet ``predicate``, in its own layouts and schedule.

    ``constants[i]`` is the key, in ``Module.constants``, of the constant that slots of kind CONSTANT call
    ``i``. ``statistics`` (JSON, deterministic): ``transient_bytes``, ``intermediate_bytes``, ``dispatches``,
    ``constant_bytes``.
    """

    name: str
    backend: str
    predicate: Mapping[str, Any]
    executables: tuple[ExecutableRecord, ...]
    functions: tuple[HostFunction, ...]
    constants: tuple[str, ...]
    inline: bool = False
    statistics: Mapping[str, Any] = field(default_factory=dict)
    debug_info: bytes = b""
    """What ``thalweg.module.debug_info`` decodes: kernels' IR and the model's nodes; empty if stripped."""


@dataclass(frozen=True)
class Module:
    """A compiled module. ``constants``: name → C-contiguous array, stored once by content."""

    name: str
    producer: str
    functions: tuple[FunctionSignature, ...]
    variants: tuple[Variant, ...]
    constants: Mapping[str, np.ndarray]
    required_features: tuple[str, ...] = ()
