"""A parameter file of each format with the same tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from thalweg.parameters import ParameterFile, open_parameter_file, write_parameters

from . import archives


@pytest.fixture(scope="session")
def tensors() -> dict[str, np.ndarray]:
    """The tensors of ``archives.tensors``."""
    return archives.tensors()


@pytest.fixture(params=["safetensors", "irpa", "gguf"])
def stored(request, tensors, tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A file of each format, and what it holds; gguf has no unsigned numbers and no truth values."""
    path = tmp_path / f"tensors.{request.param}"
    if request.param == "gguf":
        tensors = {name: array for name, array in tensors.items() if array.dtype.kind not in "ub"}
        path.write_bytes(archives.gguf(tensors, quantized=["blocks"]))
    else:
        write_parameters(tensors, path)
    return path, tensors


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[bytes], ParameterFile]:
    """Return a function that opens these bytes as a file."""

    def open_bytes(data: bytes) -> ParameterFile:
        path = tmp_path / "file"
        path.write_bytes(data)
        return open_parameter_file(path)

    return open_bytes
