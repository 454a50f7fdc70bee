"""Lists of target backends, HAL drivers and devices. The first two import no plugin."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from thalweg.errors import ThalwegError
from thalweg.plugin.device_uri import DeviceUri
from thalweg.plugin.registry import Registry

RULE = "# " + "=" * 76


def print_target_backends(registry: Registry) -> None:
    """Print a heading, then one indented name a line, sorted."""
    print("Registered target backends:")
    for name in registry.names("thalweg.target_backends"):
        print(f"  {name}")


def print_drivers(registry: Registry) -> None:
    """Print a heading, then ``name: summary`` lines; the summary is that of the driver's distribution."""
    names = registry.names("thalweg.hal_drivers")
    print("# Registered HAL drivers; thalweg run --list-devices[=DRIVER] lists their devices")
    width = max(map(len, names), default=0)
    for name in names:
        entry = registry.claims("thalweg.hal_drivers", name)[0]
        summary = f"{entry.distribution_summary} " if entry.distribution_summary else ""
        print(f"  {name:>{width}}: {summary}({entry.provider})")


def print_devices(registry: Registry, driver: str) -> None:
    """Print one device URI a line, of ``driver`` or (empty) of every driver.

    :raises ThalwegError: the driver that was named cannot be used. Without a name, such a driver costs one
        line on standard error.
    """
    for name in [driver] if driver else registry.names("thalweg.hal_drivers"):
        try:
            uris = [DeviceUri(name, info.path) for info in registry.query_devices(name)]
        except ThalwegError as error:
            if driver:
                raise
            sys.stdout.flush()
            print(f"thalweg: warning: {error}", file=sys.stderr)
            continue
        for uri in uris:
            print(uri)


def print_device_details(registry: Registry, driver: str) -> None:
    """Print a section for each driver and each of its devices; a driver that cannot be used says why.

    :raises ThalwegError: the driver that was named is not installed.
    """
    if driver:
        registry.entry("thalweg.hal_drivers", driver)
    for name in [driver] if driver else registry.names("thalweg.hal_drivers"):
        _print_section(f"Devices of HAL driver {name!r}")
        try:
            for line in _device_lines(registry, name):
                print(line)
        except ThalwegError as error:
            print(f"not usable: {error}\n")


def _device_lines(registry: Registry, name: str) -> Iterator[str]:
    devices = registry.query_devices(name)
    if not devices:
        yield "no device\n"
    for info in devices:
        yield RULE
        yield f"# --device={DeviceUri(name, info.path)}"
        yield f"#   {info.name}"
        yield RULE
        details = {"device_id": info.device_id, **registry.dump_device_info(name, info.path)}
        yield from (f"- {key}: {_describe(value)}" for key, value in details.items())
        yield ""


def _describe(value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, sorted(value) if isinstance(value, set | frozenset) else value))
    return str(value)


def _print_section(title: str) -> None:
    print(f"{RULE}\n# {title}\n{RULE}")
