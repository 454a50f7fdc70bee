"""Plugins that exist somewhere, as a data file lists them: for hints, and for the order of preference.

Core code names no plugin; what it knows of any comes from ``thalweg/tools/known_plugins.toml``.
"""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownPlugin:
    """``name`` of ``group`` comes with ``distribution``."""

    group: str
    name: str
    distribution: str


@dataclass(frozen=True)
class KnownPlugins:
    """The list, most preferred first."""

    plugins: tuple[KnownPlugin, ...] = ()

    @classmethod
    def packaged(cls) -> KnownPlugins:
        """Read the data file that comes with thalweg."""
        data = importlib.resources.files("thalweg").joinpath("tools", "known_plugins.toml").read_text("utf-8")
        return cls.parse(data)

    @classmethod
    def parse(cls, text: str) -> KnownPlugins:
        """Parse TOML: a table per group, ``name = "distribution"`` in order of preference."""
        groups = tomllib.loads(text)
        return cls(
            tuple(
                KnownPlugin(f"thalweg.{group}", name, distribution)
                for group, names in groups.items()
                for name, distribution in names.items()
            )
        )

    def names(self, group: str) -> list[str]:
        """Return the known names of ``group``, most preferred first."""
        return [plugin.name for plugin in self.plugins if plugin.group == group]

    def distribution(self, group: str, name: str) -> str | None:
        """Return the distribution that brings ``name``, if it is known."""
        return next((p.distribution for p in self.plugins if (p.group, p.name) == (group, name)), None)

    def preferred(self, group: str, installed: Iterable[str]) -> str | None:
        """Return the one to take by default: the first known that is installed, or the only one."""
        names = list(installed)
        for name in self.names(group):
            if name in names:
                return name
        return names[0] if len(names) == 1 else None
