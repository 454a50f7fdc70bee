"""The hooks that a plugin module may implement: one per entry-point group.

Each takes the entry point's name (one module may serve several) and returns a frozen spec, or ``None`` when
the name is not its own. Hooks are cheap, touch no device and import no vendor library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from thalweg.plugin.specs import (
        ConformanceProfileSpec,
        ExecutableLoaderSpec,
        HalDriverSpec,
        InputSpec,
        TargetBackendSpec,
    )

hookspec = pluggy.HookspecMarker("thalweg")
hookimpl = pluggy.HookimplMarker("thalweg")


@hookspec(firstresult=True)
def thalweg_input(name: str) -> InputSpec | None:
    """Describe the input format ``name``.

    Called when a model is to be imported, or plugins are listed with details.
    :param name: the entry point's name in the group ``thalweg.inputs``.
    :returns: its spec.
    """


@hookspec(firstresult=True)
def thalweg_target_backend(name: str) -> TargetBackendSpec | None:
    """Describe the target backend ``name``.

    Called when a compilation names it, or plugins are listed with details.
    :param name: the entry point's name in the group ``thalweg.target_backends``.
    :returns: its spec.
    """


@hookspec(firstresult=True)
def thalweg_hal_driver(name: str) -> HalDriverSpec | None:
    """Describe the HAL driver ``name``.

    Called when a device of it is asked for, or devices are listed.
    :param name: the entry point's name in the group ``thalweg.hal_drivers``.
    :returns: its spec.
    """


@hookspec(firstresult=True)
def thalweg_executable_loader(name: str) -> ExecutableLoaderSpec | None:
    """Describe the executable loader ``name``.

    Called when a local device is asked to prepare an executable.
    :param name: the entry point's name in the group ``thalweg.executable_loaders``.
    :returns: its spec; must be importable without the compiler.
    """


@hookspec(firstresult=True)
def thalweg_conformance_profile(name: str) -> ConformanceProfileSpec | None:
    """Describe what the conformance suite should know of the plugin ``name``.

    Called by ``thalweg-conformance``.
    :param name: the entry point's name in the group ``thalweg.conformance_profiles``.
    :returns: its spec.
    """


GROUPS: dict[str, str] = {
    "thalweg.inputs": "thalweg_input",
    "thalweg.target_backends": "thalweg_target_backend",
    "thalweg.hal_drivers": "thalweg_hal_driver",
    "thalweg.executable_loaders": "thalweg_executable_loader",
    "thalweg.conformance_profiles": "thalweg_conformance_profile",
}
"""Entry-point group → the hook that serves it."""
