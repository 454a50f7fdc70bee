"""Choose target backends for a compilation: those named, those that devices run, or the preferred one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from thalweg.errors import InvalidArgument, PluginError, ThalwegError, Unavailable
from thalweg.plugin.device_uri import DeviceUri
from thalweg.plugin.registry import Registry
from thalweg.plugin.specs import HalDriverSpec

Query = Callable[[str, str], int]
"""(category, key) → an integer, as ``Device.query``."""

_log = logging.getLogger(__name__)
_GROUP = "thalweg.target_backends"


def choose_target_backends(
    registry: Registry, names: Sequence[str], devices: Sequence[str] = ()
) -> list[str]:
    """Return the target backends to compile for, each once.

    :param names: named by the user; each must be installed.
    :param devices: URIs; for each, the most preferred backend whose code it runs. A device that is there is
        asked; of one that is not, its driver's spec says what it would run.
    :raises UnknownName: a name is not installed, or none is.
    :raises InvalidArgument: no installed backend makes code for one of the devices.
    :raises Unavailable: a device is not there, and its driver does not say what it would run.
    """
    for name in names:
        registry.entry(_GROUP, name)
    chosen = [*names, *(_backend_for_device(registry, uri) for uri in devices)]
    return list(dict.fromkeys(chosen)) or [registry.preferred(_GROUP)]


def _backend_for_device(registry: Registry, uri: str) -> str:
    rejected: list[str] = []
    with _questions(registry, uri) as query:
        for name in registry.ranked(_GROUP):
            try:
                spec = registry.target_backend(name)
                configuration = spec.create(spec.options()).configuration()
            except ThalwegError as error:
                if isinstance(error, PluginError):
                    _log.warning("%s", error)
                rejected.append(f"{name} (not usable: {error})")
                continue
            lacking = _lacking(query, configuration.predicate, configuration.executable_format)
            if not lacking:
                return name
            rejected.append(f"{name} ({lacking})")
    found = ", ".join(rejected) or "none"
    raise InvalidArgument(f"no installed target backend makes code for device {uri!r}; installed: {found}")


@contextmanager
def _questions(registry: Registry, uri: str) -> Iterator[Query]:
    """Yield what answers questions about a device: the device, or its driver's spec where it is not there."""
    try:
        device = registry.create_device(uri)
    except Unavailable as error:
        spec = registry.hal_driver(DeviceUri.parse(uri).driver)
        if not spec.executable_formats:
            raise
        _log.warning("compiling for device %r by what its driver declares: %s", uri, error)
        yield lambda category, key: _declared(spec, category, key)
        return
    try:
        yield device.query
    finally:
        device.close()


def _declared(spec: HalDriverSpec, category: str, key: str) -> bool:
    """Answer as a device of the driver would; nothing is known of features, so that each passes for there."""
    if category == "hal.device.kind":
        return key == spec.device_kind
    return category == "hal.device.feature" or key in spec.executable_formats


def _lacking(query: Query, predicate: Mapping[str, Any], executable_format: str) -> str:
    """Return what a device lacks of a configuration's predicate; empty if nothing."""
    kind = predicate.get("device_kind")
    if kind and not query("hal.device.kind", kind):
        return f"for devices of kind {kind}"
    if not query("hal.executable.format", executable_format):
        return f"makes {executable_format}, which the device does not run"
    missing = [item for item in predicate.get("features", ()) if not query("hal.device.feature", item)]
    return f"needs {', '.join(missing)}" if missing else ""
