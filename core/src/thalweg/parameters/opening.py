"""Opens parameter files: what the command line and ``thalweg.load`` name, by scope."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping

from thalweg.errors import InvalidArgument, ParameterError
from thalweg.parameters import gguf, irpa
from thalweg.parameters.file import ParameterFile, StoredTensor, map_file
from thalweg.parameters.gguf import read_gguf
from thalweg.parameters.index import ParameterIndex, ParameterSource
from thalweg.parameters.irpa import read_irpa
from thalweg.parameters.safetensors import is_safetensors, read_safetensors

_OPTION = re.compile(r"(?:(?P<scope>[\w.-]*)=)?(?P<path>.*)", re.DOTALL)
"""A scope has letters, digits, ``_``, ``.`` and ``-`` only: of ``/data/run=3/w.irpa`` nothing is a scope."""


def parse_parameter_option(text: str) -> tuple[str, str]:
    """Return (scope, path) of ``[SCOPE=]FILE``; without a scope, the default one, whose name is empty.

    :raises InvalidArgument: no file is named.
    """
    match = _OPTION.fullmatch(text)
    if match is None or not match["path"]:
        raise InvalidArgument(f"--parameters {text!r}: write FILE or SCOPE=FILE")
    return match["scope"] or "", match["path"]


def open_parameter_file(path: str | os.PathLike[str]) -> ParameterFile:
    """Map a parameter file and read its table; the format is told by its first bytes.

    :raises InvalidArgument: no such file, or it cannot be read.
    :raises ParameterError: truncated, damaged, or of no format that is read here.
    """
    data = map_file(path)
    name, read = _format(data, os.fspath(path))
    return ParameterFile(os.fspath(path), name, data, read(data, os.fspath(path)))


def _format(data: memoryview, where: str) -> tuple[str, Callable[[memoryview, str], list[StoredTensor]]]:
    start = bytes(data[:4])
    if start == gguf.MAGIC:
        return "gguf", read_gguf
    if start == irpa.MAGIC:
        return "irpa", read_irpa
    if is_safetensors(data):
        return "safetensors", read_safetensors
    raise ParameterError(f"{where} is not a parameter file: it is neither safetensors nor gguf nor irpa")


def open_parameters(source: ParameterSource) -> ParameterIndex:
    """Open what ``parameters=`` takes.

    :param source: a text ``[SCOPE=]FILE``, a path (default scope), several of them, a mapping from scopes to
        paths or to several paths, ``None`` for none, or an index that is open (files are shared).
    :raises InvalidArgument: another kind of object, or a file that cannot be read.
    :raises ParameterError: a file is truncated, damaged, or of no format that is read here.
    """
    if isinstance(source, ParameterIndex):
        return source
    return ParameterIndex([(scope, open_parameter_file(path)) for scope, path in _paths(source)])


def _paths(source: object) -> Iterable[tuple[str, str | os.PathLike[str]]]:
    if source is None:
        return
    if isinstance(source, str):
        yield parse_parameter_option(source)
    elif isinstance(source, os.PathLike):
        yield "", source
    elif isinstance(source, Mapping):
        for scope, paths in source.items():
            several = [paths] if isinstance(paths, str | os.PathLike) else paths
            yield from ((scope, path) for path in several)
    elif isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | memoryview):
        for item in source:
            yield from _paths(item)
    else:
        raise InvalidArgument(
            f"parameters= takes files, [SCOPE=]FILE or a mapping from scopes to files; got"
            f" {type(source).__name__}"
        )
