"""What is tested: a driver, one device of it, and what its plugin says about itself."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg.api import DeviceUri, InvalidArgument, Registry, ThalwegError
from thalweg.hal.driver import Device, Driver

from thalweg_conformance.kernels import KernelLibrary
from thalweg_conformance.opt_outs import OptOuts

DRIVERS = "thalweg.hal_drivers"
PROFILES = "thalweg.conformance_profiles"

RUNS_ON = ("hardware", "software device", "interpreter")
"""What a device may compute on. A driver says it as ``runs_on`` in ``dump_device_info``."""


@dataclass(frozen=True)
class Subject:
    """A driver and the device of it to test.

    :ivar driver_capabilities: those of the plugin's spec; a device may add its own.
    :ivar kernels: makes the executables that the device is tested with, or raises ``Blocked``.
    """

    driver_name: str
    driver: Driver
    uri: DeviceUri
    kernels: Callable[[Device], KernelLibrary]
    driver_capabilities: frozenset[str] = frozenset()
    opt_outs: OptOuts = field(default_factory=OptOuts)
    distribution: str = ""
    version: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def create_device(self, params: Mapping[str, str] | None = None) -> Device:
        """Create the device under test."""
        return self.driver.create_device(self.uri.path, {**self.uri.params, **(params or {})})

    def describe_device(self, device: Device | None) -> dict[str, Any]:
        """Return what reports say of the device; ``None`` where it could not be made."""
        try:
            info = self.driver.dump_device_info(self.uri.path)
            names = {known.path: known.name for known in self.driver.query_available_devices()}
        except ThalwegError:  # the rules of area "driver" say what is wrong with it
            info, names = {}, {}
        return {
            "uri": str(self.uri),
            "identifier": device.identifier if device is not None else "",
            "name": names.get(self.uri.path, next(iter(names.values()), "no device")),
            "runs_on": str(info.get("runs_on", "not stated")),
            "capabilities": sorted(declared_capabilities(self, device)),
        }


def declared_capabilities(subject: Subject, device: Device | None) -> frozenset[str]:
    """Return what the driver's spec and the device declare."""
    return subject.driver_capabilities | (device.capabilities if device is not None else frozenset())


def subjects_of(
    registry: Registry,
    driver_name: str,
    make_kernels: Callable[[Mapping[str, Any]], Callable[[Device], KernelLibrary]],
    device: str = "",
) -> list[Subject]:
    """Return what to test of an installed driver: ``device``, or the devices that its profile lists.

    Without a profile it is the driver's default device, with no opt-outs.

    :param make_kernels: takes the profile's ``extra``; see ``Subject.kernels``.
    :raises UnknownName: no such driver. :raises Unavailable: it cannot work on this machine.
    :raises InvalidArgument: the device's URI is malformed or of another driver, or the opt-outs are not
    valid.
    """
    driver = registry.driver(driver_name)
    spec, entry = registry.hal_driver(driver_name), registry.entry(DRIVERS, driver_name)
    profile = registry.conformance_profile(driver_name) if registry.claims(PROFILES, driver_name) else None
    extra = profile.extra if profile is not None else {}
    listed = profile.device_uris if profile is not None else ()
    owner = entry.provider
    uris = [DeviceUri.parse(uri) for uri in ([device] if device else listed or [driver_name])]
    for uri in uris:
        if uri.driver != driver_name:
            raise InvalidArgument(f"device {str(uri)!r} is of driver {uri.driver!r}, not of {driver_name!r}")
    return [
        Subject(
            driver_name=driver_name,
            driver=driver,
            uri=uri,
            kernels=make_kernels(extra),
            driver_capabilities=spec.capabilities,
            opt_outs=OptOuts.parse(profile.opt_outs if profile is not None else "", owner),
            distribution=entry.distribution,
            version=entry.version,
            extra=extra,
        )
        for uri in uris
    ]


def describe_machine() -> dict[str, Any]:
    """Return what reports say of the machine; nothing that names it."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": os.cpu_count() or 0,
        "python": f"{platform.python_implementation()} {'.'.join(map(str, sys.version_info[:3]))}",
    }


def _processor_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
