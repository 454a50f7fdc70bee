"""Choose target backends for a compilation: those named, those that devices run, or the preferred one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg.errors import InvalidArgument, PluginError, ThalwegError
from thalweg.plugin.registry import Registry

if TYPE_CHECKING:
    from thalweg.hal.driver import Device

_log = logging.getLogger(__name__)
_GROUP = "thalweg.target_backends"


def choose_target_backends(
    registry: Registry, names: Sequence[str], devices: Sequence[str] = ()
) -> list[str]:
    """Return the target backends to compile for, each once.

    :param names: named by the user; each must be installed.
    :param devices: URIs of devices of this machine; for each, the most preferred backend whose code it runs.
    :raises UnknownName: a name is not installed, or none is.
    :raises InvalidArgument: no installed backend makes code for one of the devices.
    """
    for name in names:
        registry.entry(_GROUP, name)
    chosen = [*names, *(_backend_for_device(registry, uri) for uri in devices)]
    return list(dict.fromkeys(chosen)) or [registry.preferred(_GROUP)]


def _backend_for_device(registry: Registry, uri: str) -> str:
    device = registry.create_device(uri)
    try:
        rejected: list[str] = []
        for name in registry.ranked(_GROUP):
            try:
                spec = registry.target_backend(name)
                configuration = spec.create(spec.options()).configuration()
            except ThalwegError as error:
                if isinstance(error, PluginError):
                    _log.warning("%s", error)
                rejected.append(f"{name} (not usable: {error})")
                continue
            lacking = _lacking(device, configuration.predicate, configuration.executable_format)
            if not lacking:
                return name
            rejected.append(f"{name} ({lacking})")
    finally:
        device.close()
    found = ", ".join(rejected) or "none"
    raise InvalidArgument(f"no installed target backend makes code for device {uri!r}; installed: {found}")


def _lacking(device: Device, predicate: Mapping[str, Any], executable_format: str) -> str:
    """Return what ``device`` lacks of a configuration's predicate; empty if nothing."""
    kind = predicate.get("device_kind")
    if kind and not device.query("hal.device.kind", kind):
        return f"for devices of kind {kind}"
    if not device.query("hal.executable.format", executable_format):
        return f"makes {executable_format}, which the device does not run"
    missing = [item for item in predicate.get("features", ()) if not device.query("hal.device.feature", item)]
    return f"needs {', '.join(missing)}" if missing else ""
