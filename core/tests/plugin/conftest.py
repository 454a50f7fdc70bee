"""A folder on the import path where tests install made-up distributions; nothing else is installed there."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

GOOD_DRIVER = """
from thalweg.api import HalDriverSpec, hookimpl


class Driver:
    name = {name!r}


@hookimpl
def thalweg_hal_driver(name):
    return HalDriverSpec(name=name, summary="A made-up driver", create=Driver)
"""


class FakeSite:
    """Installs distributions by writing their metadata and modules into a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def module(self, name: str, source: str) -> None:
        """Write a module."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source))

    def distribution(
        self,
        name: str,
        version: str,
        entry_points: Mapping[str, Mapping[str, str]],
        folder: Path | None = None,
        summary: str = "Made up",
    ) -> None:
        """Write a distribution's metadata; ``entry_points``: group → name → value."""
        info = (folder or self.folder) / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n"
        )
        lines = []
        for group, names in entry_points.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in names.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines))

    def driver(self, name: str, source: str = GOOD_DRIVER, distribution: str = "") -> None:
        """Install a HAL driver ``name`` whose module holds ``source``."""
        module = f"fake_{name.replace('-', '_')}"
        self.module(module, source.format(name=name) if source is GOOD_DRIVER else source)
        self.distribution(distribution or f"dist-{name}", "1.2.3", {"thalweg.hal_drivers": {name: module}})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSite]:
    """An import path on which only what the test installs has metadata."""
    folder = tmp_path / "site"
    folder.mkdir()
    rest = [entry for entry in sys.path if not entry.endswith("-packages")]
    monkeypatch.setattr(sys, "path", [str(folder), *rest])
    before = set(sys.modules)
    yield FakeSite(folder)
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(str(tmp_path)):
            del sys.modules[name]
