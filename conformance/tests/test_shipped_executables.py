"""The executables that ship with the suite are what their target backends make of its kernels today."""

from __future__ import annotations

from pathlib import Path

import pytest
from thalweg.api import Registry
from thalweg_conformance.compiled_kernels import compile_library, write_library
from thalweg_conformance.kernels import KERNELS, shipped_formats, shipped_library

SHIPPED = Path(__file__).parents[1] / "src" / "thalweg_conformance" / "executables"
TARGETS = {"thalweg-vmvx-1": "vmvx"}


@pytest.mark.parametrize("format", shipped_formats())
def test_what_ships_is_what_would_be_written(format: str, tmp_path: Path):
    library = compile_library(Registry.from_environment(), TARGETS[format])
    write_library(library, tmp_path)
    for name in (f"{format}.bin", f"{format}.json"):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes(), (
            f"{name} is out of date: python conformance/tools/write_executables.py"
        )


@pytest.mark.parametrize("format", shipped_formats())
def test_shipped_kernels_are_known(format: str):
    library = shipped_library(format)
    assert library.record.format == format
    assert {entry.name for entry in library.record.entries} <= set(KERNELS)
    assert set(library.workgroup_counts) == {entry.name for entry in library.record.entries}
