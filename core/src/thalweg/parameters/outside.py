"""Moves a module's constants out of it, into parameter files."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256

import numpy as np

from thalweg.dtypes import dtype_name
from thalweg.errors import InvalidArgument
from thalweg.module.module import PARAMETERS_FEATURE, Module, Parameter
from thalweg.parameters.index import ParameterIndex, ParameterSource
from thalweg.parameters.opening import open_parameters, parse_parameter_option
from thalweg.parameters.writing import write_parameters, writer_for

MINIMUM_BYTES = 1024
"""Smaller constants stay in the module: a reference to them would not be much smaller."""


def move_outside(
    module: Module,
    *,
    existing: ParameterIndex | None = None,
    scope: str | None = None,
    minimum_bytes: int = MINIMUM_BYTES,
) -> tuple[Module, dict[str, np.ndarray]]:
    """Return ``module`` without its larger constants, and the tensors that a new file is to hold.

    A constant whose dtype, shape and bytes a tensor of ``existing`` has is referred to there, by that
    tensor's name. Any other goes to the tensors returned, named by its dtype, shape and SHA-256, so that
    modules with equal constants name them equally.
    :param scope: the scope of the tensors returned; ``None`` leaves in the module what ``existing`` lacks.
    """
    constants: dict[str, np.ndarray] = {}
    parameters, outgoing = dict(module.parameters), {}
    for key, array in module.constants.items():
        large = array.nbytes >= minimum_bytes
        place = existing.find_content(array) if large and existing is not None else None
        if not large or (place is None and scope is None):
            constants[key] = array
            continue
        dtype = dtype_name(array.dtype)
        digest = sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()
        if place is None:
            place = scope or "", content_name(dtype, array.shape, digest)
            outgoing[place[1]] = array
        parameters[key] = Parameter(*place, dtype, array.shape, digest)
    features = set(module.required_features) | ({PARAMETERS_FEATURE} if parameters else set())
    moved = replace(
        module, constants=constants, parameters=parameters, required_features=tuple(sorted(features))
    )
    return moved, outgoing


def content_name(dtype: str, shape: tuple[int, ...], digest: str) -> str:
    """Return the name of a tensor that is known by its content: ``f32.384x1536.<SHA-256>``."""
    return f"{dtype}.{'x'.join(map(str, shape)) or 'scalar'}.{digest}"


class OutsideParameters:
    """What a compilation is to leave outside its module, checked before it starts."""

    def __init__(
        self,
        parameters: ParameterSource,
        parameters_out: str | os.PathLike[str] | None,
        compile_to: str = "end",
    ):
        """Open the files that exist.

        :raises InvalidArgument: a file that cannot be read, a format that is not written, or a compilation
            that makes no module.
        :raises ParameterError: a file that is damaged.
        """
        if compile_to != "end":
            raise InvalidArgument(f"parameters are for modules; compile_to={compile_to!r} makes MLIR")
        self._existing = open_parameters(parameters)
        self._scope, self._path = None, None
        if parameters_out is not None:
            text = isinstance(parameters_out, str)
            self._scope, self._path = parse_parameter_option(parameters_out) if text else ("", parameters_out)
            writer_for(self._path)

    def move(self, module: Module) -> Module:
        """Return ``module`` without the constants, having written the parameter file."""
        lean, tensors = move_outside(module, existing=self._existing, scope=self._scope)
        if self._path is not None:
            write_parameters(tensors, self._path)
        return lean
