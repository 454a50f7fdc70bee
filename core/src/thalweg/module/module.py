"""A compiled module in memory: signatures, variants, executables and constants, as ``thalweg.module.file``
stores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from thalweg.dtypes import numpy_dtype
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


PARAMETERS_FEATURE = "parameters"
"""The required feature of a module that keeps constants in parameter files."""


@dataclass(frozen=True)
class Parameter:
    """A constant that a parameter file holds: tensor ``name`` of a file given for ``scope``.

    ``dtype`` as in ``thalweg.dtypes``; ``sha256`` of its bytes (C-contiguous, little-endian), hexadecimal.
    """

    scope: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return prod(self.shape) * numpy_dtype(self.dtype).itemsize

    def __str__(self) -> str:
        where = f"scope {self.scope!r}" if self.scope else "the default scope"
        return f"parameter {self.name!r} of {where} as {'x'.join([*map(str, self.shape), self.dtype])}"


@dataclass(frozen=True)
class Module:
    """A compiled module. ``constants``: name → C-contiguous array, stored once by content.

    ``parameters``: name → where to find those constants that are kept outside;
    ``thalweg.parameters.bind_parameters`` turns them into ``constants``.
    """

    name: str
    producer: str
    functions: tuple[FunctionSignature, ...]
    variants: tuple[Variant, ...]
    constants: Mapping[str, np.ndarray]
    required_features: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def constant_bytes(self, name: str) -> int:
        """Return how many bytes a constant has, here or outside."""
        if name in self.constants:
            return self.constants[name].nbytes
        return self.parameters[name].nbytes
