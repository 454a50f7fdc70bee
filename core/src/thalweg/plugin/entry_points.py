"""Find plugins in package metadata, and in modules without packaging, without importing what they hold."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, TypeGuard, cast

import importlib_metadata

from thalweg.errors import InvalidArgument, PluginError
from thalweg.plugin.hookspecs import GROUPS

GROUP_PREFIX = "thalweg."

KINDS: dict[str, str] = {
    "thalweg.inputs": "input format",
    "thalweg.target_backends": "target backend",
    "thalweg.hal_drivers": "HAL driver",
    "thalweg.executable_loaders": "executable loader",
    "thalweg.conformance_profiles": "conformance profile",
}
"""Entry-point group → what one of its plugins is called in messages."""

PLUGINS_VARIABLE = "THALWEG_PLUGINS"
BLOCK_VARIABLE = "THALWEG_PLUGINS_BLOCK"
AUTOLOAD_VARIABLE = "THALWEG_PLUGIN_AUTOLOAD"
MODULE_DECLARATION = "THALWEG_ENTRY_POINTS"


@dataclass(frozen=True)
class PluginEntry:
    """One claim of a name in a group: by a distribution's metadata, or by a module without packaging.

    ``value`` is the object holding the hooks: ``module`` or ``module:attribute``. Making one imports nothing.
    """

    group: str
    name: str
    value: str
    metadata: Any = None
    """The ``importlib_metadata.Distribution``; ``None`` for a module of ``THALWEG_PLUGINS``."""

    @property
    def kind(self) -> str:
        """What the group's plugins are called: ``HAL driver``, …"""
        return KINDS[self.group]

    @cached_property
    def distribution(self) -> str:
        """The distribution's name; empty for a module without packaging."""
        return self.metadata.name if self.metadata is not None else ""

    @cached_property
    def version(self) -> str:
        """The distribution's version; empty for a module without packaging."""
        return self.metadata.version if self.metadata is not None else ""

    @cached_property
    def distribution_summary(self) -> str:
        """The one-line summary of the distribution's metadata, if it has one."""
        return (self.metadata.metadata.get("Summary") or "") if self.metadata is not None else ""

    @property
    def provider(self) -> str:
        """Who brings it: ``thalweg-driver-local 0.1.0``, or the module that ``THALWEG_PLUGINS`` names."""
        if self.metadata is None:
            return f"module {self.module} of {PLUGINS_VARIABLE}"
        return f"{self.distribution} {self.version}"

    @property
    def module(self) -> str:
        """The module to import."""
        return self.value.partition(":")[0].strip()

    def describe(self) -> str:
        """Return ``HAL driver 'x' (a-package 0.1.0, entry point thalweg.hal_drivers: x = a_package)``."""
        entry_point = f"{self.group}: {self.name} = {self.value}"
        return f"{self.kind} {self.name!r} ({self.provider}, entry point {entry_point})"

    def load(self) -> object:
        """Import the object that holds the hooks."""
        target: object = importlib.import_module(self.module)
        attributes = self.value.partition(":")[2].split("[")[0].strip()
        for attribute in attributes.split(".") if attributes else ():
            target = getattr(target, attribute)
        return target


@dataclass(frozen=True)
class DiscoverySettings:
    """Which plugins to look for; see ``from_environment`` for the variables."""

    modules: tuple[str, ...] = ()
    """Modules to take plugins from although no package metadata names them."""
    blocked: frozenset[str] = frozenset()
    """``name`` or ``group:name``."""
    autoload: bool = True
    """False: take nothing from package metadata but what ``modules`` names."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> DiscoverySettings:
        """Read ``THALWEG_PLUGINS``, ``THALWEG_PLUGINS_BLOCK`` and ``THALWEG_PLUGIN_AUTOLOAD``.

        :raises InvalidArgument: a value that none of them can have.
        """
        autoload = environment.get(AUTOLOAD_VARIABLE, "1") or "1"
        if autoload not in ("0", "1"):
            raise InvalidArgument(f"{AUTOLOAD_VARIABLE} is 0 or 1; got {autoload!r}")
        blocked = frozenset(_blocked_key(item) for item in _comma_list(environment.get(BLOCK_VARIABLE, "")))
        return cls(tuple(_comma_list(environment.get(PLUGINS_VARIABLE, ""))), blocked, autoload == "1")

    def blocks(self, entry: PluginEntry) -> bool:
        """Return whether ``entry`` may not be used."""
        return entry.name in self.blocked or f"{entry.group}:{entry.name}" in self.blocked


def discover(settings: DiscoverySettings) -> list[PluginEntry]:
    """Return every claim there is, blocked ones too, in a stable order.

    Package metadata is read, no plugin is imported; only a module of ``settings.modules`` that no package
    metadata names is, for its ``THALWEG_ENTRY_POINTS``. A distribution found twice (an editable install and a
    wheel) counts once, as on the import path: the first found.

    :raises PluginError: a module of ``settings.modules`` that cannot be imported or declares nothing.
    """
    packaged = list(_packaged_entries())
    packaged_modules = {entry.module for entry in packaged}
    entries = [entry for entry in packaged if settings.autoload or entry.module in settings.modules]
    for module in settings.modules:
        if module not in packaged_modules:
            entries.extend(_declared_entries(module))
    return sorted(dict.fromkeys(entries), key=lambda entry: (entry.group, entry.name, entry.value))


def _packaged_entries() -> Iterator[PluginEntry]:
    metadata: Any = importlib_metadata  # it has no annotations for what follows
    for point in metadata.entry_points():
        if point.group in GROUPS:
            yield PluginEntry(point.group, point.name, point.value, point.dist)


def _declared_entries(module_name: str) -> Iterator[PluginEntry]:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise PluginError(
            f"{PLUGINS_VARIABLE} names module {module_name!r}, which cannot be imported:"
            f" {type(error).__name__}: {error}"
        ) from error
    for group, names in _declaration(module).items():
        for name in names:
            yield PluginEntry(group, name, module_name)


def _declaration(module: ModuleType) -> Mapping[str, list[str]]:
    declared: Any = getattr(module, MODULE_DECLARATION, None)
    example = f"{MODULE_DECLARATION} = {{'thalweg.hal_drivers': ['my-driver']}}"
    if declared is None:
        raise PluginError(
            f"{PLUGINS_VARIABLE} names module {module.__name__!r}, which declares no plugins;"
            f" write {example} in it"
        )
    if not _is_declaration(declared):
        raise PluginError(
            f"{MODULE_DECLARATION} of module {module.__name__!r} is malformed; write it as {example}"
        )
    for group in declared:
        if group not in GROUPS:
            raise PluginError(
                f"{MODULE_DECLARATION} of module {module.__name__!r} has the group {group!r};"
                f" the groups are: {', '.join(GROUPS)}"
            )
    return declared


def _is_declaration(value: Any) -> TypeGuard[Mapping[str, list[str]]]:
    if not isinstance(value, dict):
        return False
    lists = cast("Mapping[Any, Any]", value).values()
    return all(
        isinstance(names, list | tuple) and _are_texts(cast("Iterable[Any]", names)) for names in lists
    )


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _comma_list(text: str) -> list[str]:
    return [item.strip() for item in re.split(r",", text) if item.strip()]


def _blocked_key(item: str) -> str:
    group, separator, name = item.rpartition(":")
    if not separator:
        return item
    full = group if group.startswith(GROUP_PREFIX) else GROUP_PREFIX + group
    if full not in GROUPS:
        raise InvalidArgument(
            f"{BLOCK_VARIABLE} has {item!r}, but there is no group {group!r}; groups: {', '.join(GROUPS)}"
        )
    return f"{full}:{name}"
