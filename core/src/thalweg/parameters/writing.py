"""Writes parameter files; the format is told by the file's suffix."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from thalweg.errors import InvalidArgument
from thalweg.parameters.irpa import write_irpa
from thalweg.parameters.safetensors import write_safetensors

Writer = Callable[[Mapping[str, np.ndarray], BinaryIO], None]

_WRITERS: dict[str, Writer] = {".safetensors": write_safetensors, ".irpa": write_irpa}


def writer_for(path: str | os.PathLike[str]) -> Writer:
    """Return what writes the format of the file's suffix.

    :raises InvalidArgument: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise InvalidArgument(
            f"cannot write parameters to {os.fspath(path)}: Thalweg writes {' and '.join(_WRITERS)} files"
        )
    return _WRITERS[suffix]


def write_parameters(tensors: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> None:
    """Write a parameter file, whole or not at all; the same tensors give the same bytes.

    :raises InvalidArgument: a suffix that is not written, or the file cannot be written; says why.
    """
    write = writer_for(path)
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "xb") as file:
            write(tensors, file)
        os.replace(partial, target)
    except OSError as error:
        raise InvalidArgument(f"cannot write {os.fspath(path)}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
