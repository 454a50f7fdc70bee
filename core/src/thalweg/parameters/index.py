"""The open parameter files of a program, by scope."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from thalweg.dtypes import dtype_name
from thalweg.parameters.file import ParameterFile, StoredTensor

_PREFIX_BYTES = 1 << 12
"""What is compared first, so that tensors of one shape are told apart without reading them."""


class ParameterIndex:
    """Parameter files by scope. Of two files of one scope that hold one name, the first is taken.

    Programs that are loaded with one index share its files: their pages, and the copies of tensors that are
    not aligned in their file.
    """

    def __init__(self, files: Sequence[tuple[str, ParameterFile]] = ()):
        """Take (scope, file) pairs; the default scope's name is empty."""
        self.files = tuple(files)

    def scopes(self) -> dict[str, list[ParameterFile]]:
        """Return the files of each scope, in order."""
        scopes: dict[str, list[ParameterFile]] = {}
        for scope, file in self.files:
            scopes.setdefault(scope, []).append(file)
        return scopes

    def find(self, scope: str, name: str) -> tuple[ParameterFile, StoredTensor] | None:
        """Return the tensor called ``name`` in ``scope``, and its file."""
        for other, file in self.files:
            if other == scope and name in file.tensors:
                return file, file.tensors[name]
        return None

    def find_content(self, array: np.ndarray) -> tuple[str, str] | None:
        """Return (scope, name) of a tensor with the dtype, shape and bytes of ``array``, if there is one.

        Where the format tells neither dtype nor shape (irpa), the bytes decide.
        """
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        dtype = dtype_name(array.dtype)
        for scope, file in self.files:
            for tensor in file.tensors.values():
                if _could_be(tensor, dtype, array) and _same(file, tensor, content):
                    found = self.find(scope, tensor.name)
                    if found is not None and found[0] is file:
                        return scope, tensor.name
        return None


def _could_be(tensor: StoredTensor, dtype: str, array: np.ndarray) -> bool:
    return (
        not tensor.refusal
        and not tensor.pattern
        and tensor.size == array.nbytes
        and tensor.dtype in (None, dtype)
        and tensor.shape in (None, array.shape)
    )


def _same(file: ParameterFile, tensor: StoredTensor, content: np.ndarray) -> bool:
    stored = file.mapped(tensor) if tensor.size else content
    return np.array_equal(stored[:_PREFIX_BYTES], content[:_PREFIX_BYTES]) and np.array_equal(stored, content)


Path = str | os.PathLike[str]
ParameterSource = ParameterIndex | Path | Iterable[Path] | Mapping[str, Path | Iterable[Path]] | None
"""What ``parameters=`` takes; see ``open_parameters``."""
