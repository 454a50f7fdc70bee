"""What a plugin says about itself: one frozen spec for each kind of plugin.

A spec is cheap to make: it touches no device, imports no vendor library and does not import the code that
does the work (the ``create`` function imports that when called).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.codegen.target import TargetBackend
    from thalweg.hal.driver import Driver
    from thalweg.hal.executable import ExecutableLoader
    from thalweg.ir.importer import Importer

API_VERSION = (1, 0)
"""(major, minor) of the plugin API. Same major and plugin minor ≤ core minor is accepted."""


@dataclass(frozen=True)
class Availability:
    """Whether a plugin can work on this machine; ``reason`` says why not (and what to install)."""

    available: bool
    reason: str = ""


AVAILABLE = Availability(True)


def always_available() -> Availability:
    """Return ``AVAILABLE``: the probe of a plugin that needs nothing of the machine."""
    return AVAILABLE


def no_identity() -> str:
    """Return the empty text: nothing outside the package and what it requires shapes its output."""
    return ""


@dataclass(frozen=True)
class NoOptions:
    """The options of a plugin that has none."""


@dataclass(frozen=True, kw_only=True)
class PluginSpec:
    """What all kinds share.

    ``options`` is a frozen dataclass; its fields (with ``metadata={"help": …, "flag": "--target-cpu"}``)
    become command-line options and rows of the reference page.
    """

    name: str
    summary: str
    api_version: tuple[int, int] = API_VERSION
    capabilities: frozenset[str] = frozenset()
    options: type = NoOptions
    probe: Callable[[], Availability] = always_available


@dataclass(frozen=True, kw_only=True)
class InputSpec(PluginSpec):
    """An input format. ``create(options)`` returns an ``Importer``."""

    suffixes: tuple[str, ...]
    create: Callable[[Any], Importer]


@dataclass(frozen=True, kw_only=True)
class TargetBackendSpec(PluginSpec):
    """A code generator. ``create(options)`` returns a ``TargetBackend``.

    ``isolated``: ``translate`` runs in worker subprocesses, so that a crash of the code generator costs one
    message.
    ``identity()`` returns what else shapes its code, apart from its options, its package's files, the
    distributions that the package requires and this machine's processor: the version of a compiler that it
    runs, say. The compile cache asks it at each compilation; it imports nothing slow.
    """

    create: Callable[[Any], TargetBackend]
    isolated: bool = False
    identity: Callable[[], str] = no_identity


@dataclass(frozen=True, kw_only=True)
class HalDriverSpec(PluginSpec):
    """A device driver. ``create()`` returns a ``Driver``; it may raise ``Unavailable``.

    ``device_kind`` and ``executable_formats`` say what its devices are and take, so that a model can be
    compiled for one (``--target-device``) where there is none; a device that is there is asked itself.
    """

    create: Callable[[], Driver]
    device_kind: str = ""
    executable_formats: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExecutableLoaderSpec(PluginSpec):
    """What a local (host-addressable) device needs to load executables of some formats.

    ``create()`` returns an ``ExecutableLoader``. Importable without the compiler.
    """

    formats: tuple[str, ...]
    create: Callable[[], ExecutableLoader]


@dataclass(frozen=True, kw_only=True)
class ConformanceProfileSpec(PluginSpec):
    """A plugin's own statement for the conformance suite.

    ``opt_outs`` is the text of ``conformance.toml``; ``device_uris`` are the devices to test.
    """

    driver: str = ""
    device_uris: tuple[str, ...] = ()
    executable_formats: tuple[str, ...] = ()
    opt_outs: str = ""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
