"""Gives a module the constants that it keeps in parameter files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Literal

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.errors import ParameterError
from thalweg.module.module import PARAMETERS_FEATURE, Module, Parameter
from thalweg.parameters.file import ParameterFile, StoredTensor
from thalweg.parameters.index import ParameterIndex

_NEAREST_OF, _CUTOFF = 5000, 0.8
"""Among how many names the nearest is looked for, and how near it is: digests are alike by chance."""


def bind_parameters(
    module: Module,
    keys: Iterable[str],
    index: ParameterIndex,
    verify: Literal["code", "full"] = "code",
) -> Module:
    """Return ``module`` with the constants ``keys``: those that it keeps outside are found in ``index``.

    Scope, name, dtype and shape (for irpa: the size) are always checked. Arrays are read-only, over the
    mapped file where a tensor is aligned in it.
    :param verify: ``"full"`` checks the SHA-256 of each too.
    :raises ParameterError: a scope or name is not there, or what is there is another dtype, shape or content;
        says what was asked, what was found and what to do.
    """
    wanted = {key: module.parameters[key] for key in keys if key in module.parameters}
    if not wanted:
        return module
    _check_present(module, list(wanted.values()), index)
    constants, rest = dict(module.constants), dict(module.parameters)
    for key, parameter in wanted.items():
        found = index.find(parameter.scope, parameter.name)
        assert found is not None  # by _check_present
        constants[key] = _array(module, parameter, *found, verify)
        del rest[key]
    features = module.required_features
    if not rest:
        features = tuple(name for name in features if name != PARAMETERS_FEATURE)
    return replace(module, constants=constants, parameters=rest, required_features=features)


def _check_present(module: Module, wanted: list[Parameter], index: ParameterIndex) -> None:
    missing = [parameter for parameter in wanted if index.find(parameter.scope, parameter.name) is None]
    if not missing:
        return
    first, scopes = missing[0], index.scopes()
    head = f"module {module.name!r} needs {first}"
    tail = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    spec = f"{first.scope}=FILE" if first.scope else "FILE"
    remedy = f"give --parameters={spec}, or thalweg.load(..., parameters={spec!r})"
    if not index.files:
        raise ParameterError(f"{head}{tail}, and no parameter file was given; {remedy}")
    files = scopes.get(first.scope)
    if files is None:
        given = ", ".join(
            f"{scope_text(scope)} ({', '.join(file.where for file in several)})"
            for scope, several in scopes.items()
        )
        raise ParameterError(f"{head}{tail}; the files given are of {given}; {remedy}")
    names = [name for file in files for name in file.tensors]
    near = difflib.get_close_matches(first.name, names, 1, _CUTOFF) if len(names) <= _NEAREST_OF else []
    hint = f" (nearest: {near[0]!r})" if near else ""
    where = ", ".join(file.where for file in files)
    raise ParameterError(
        f"{head}{tail}, not among the {len(names)} tensors of {where}{hint}; {remedy}, with"
        " the file that the compilation wrote or was given"
    )


def scope_text(scope: str) -> str:
    """Return a scope's name for messages."""
    return f"scope {scope!r}" if scope else "the default scope"


def _array(
    module: Module, parameter: Parameter, file: ParameterFile, tensor: StoredTensor, verify: str
) -> np.ndarray:
    head = f"module {module.name!r} needs {parameter}"
    remedy = "give the file that the module was compiled with, or compile the model again"
    if tensor.refusal:
        raise ParameterError(
            f"{head}; in {file.where} it {tensor.refusal}; give a file that holds it as {parameter.dtype}"
        )
    if tensor.dtype not in (None, parameter.dtype) or tensor.shape not in (None, parameter.shape):
        assert tensor.dtype is not None and tensor.shape is not None  # formats tell both or neither
        found = "x".join([*map(str, tensor.shape), tensor.dtype])
        raise ParameterError(f"{head}; in {file.where} it is {found}; {remedy}")
    if tensor.size != parameter.nbytes:
        raise ParameterError(
            f"{head}, {parameter.nbytes} bytes; in {file.where} it has {tensor.size}; {remedy}"
        )
    content = file.content(tensor)
    if verify == "full" and sha256(content.data).hexdigest() != parameter.sha256:
        raise ParameterError(
            f"{head}; in {file.where} it does not have the content (SHA-256) that the module was compiled"
            f" with; {remedy}"
        )
    return content.view(numpy_dtype(parameter.dtype)).reshape(parameter.shape)
