"""The registry: which plugins there are, by group and name, and their specs, each loaded when asked for.

A registry is an object that somebody holds; there is no global one. Listing names reads package metadata
only.
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from thalweg.errors import PluginError, ThalwegError, Unavailable, UnknownName
from thalweg.plugin.device_uri import DeviceUri
from thalweg.plugin.entry_points import BLOCK_VARIABLE, KINDS, DiscoverySettings, PluginEntry, discover
from thalweg.plugin.known import KnownPlugins
from thalweg.plugin.loading import blaming, load_spec
from thalweg.plugin.specs import (
    Availability,
    ConformanceProfileSpec,
    ExecutableLoaderSpec,
    HalDriverSpec,
    InputSpec,
    PluginSpec,
    TargetBackendSpec,
)

if TYPE_CHECKING:
    from thalweg.hal.driver import Device, Driver
    from thalweg.hal.types import DeviceInfo


@dataclass(frozen=True)
class PluginRecord:
    """What ``thalweg plugins`` shows of one plugin. ``api`` is empty if the plugin could not be loaded."""

    name: str
    kind: str
    group: str
    distribution: str
    version: str
    module: str
    api: str
    summary: str
    available: bool
    reason: str


class Registry:
    """Plugins by group and name. Thread-safe; each plugin is imported when it is first asked for.

    :param entries: every claim of a name, in any order.
    :param settings: which of them are blocked.
    :param known: the plugins that messages may recommend; read from thalweg's data file when ``None``.
    """

    def __init__(
        self,
        entries: Iterable[PluginEntry],
        settings: DiscoverySettings = DiscoverySettings(),
        known: KnownPlugins | None = None,
    ):
        self._settings = settings
        self._known = known
        self._claims: dict[tuple[str, str], list[PluginEntry]] = {}
        for entry in entries:
            self._claims.setdefault((entry.group, entry.name), []).append(entry)
        self._specs: dict[tuple[str, str], PluginSpec] = {}
        self._drivers: dict[str, Driver] = {}
        self._lock = threading.RLock()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Registry:
        """Make a registry of what is installed, as ``THALWEG_PLUGINS``, ``…_BLOCK`` and ``…_AUTOLOAD`` say.

        Reads package metadata; imports no plugin (but see ``discover`` about ``THALWEG_PLUGINS``).
        :raises PluginError: a module of ``THALWEG_PLUGINS`` that cannot be used.
        """
        settings = DiscoverySettings.from_environment(os.environ if environment is None else environment)
        return cls(discover(settings), settings)

    @property
    def known(self) -> KnownPlugins:
        """The plugins that messages may recommend."""
        if self._known is None:
            self._known = KnownPlugins.packaged()
        return self._known

    def names(self, group: str) -> list[str]:
        """Return the names in ``group``, sorted, without blocked ones; imports nothing."""
        return sorted(
            name
            for (its_group, name), claims in self._claims.items()
            if its_group == group and not all(self._settings.blocks(entry) for entry in claims)
        )

    def claims(self, group: str, name: str) -> tuple[PluginEntry, ...]:
        """Return who claims ``name`` in ``group``: one entry unless something is wrong; imports nothing."""
        return tuple(self._claims.get((group, name), ()))

    def ranked(self, group: str) -> list[str]:
        """Return the names in ``group``: the known ones, most preferred first, then the others, sorted."""
        names = self.names(group)
        known = [name for name in self.known.names(group) if name in names]
        return list(dict.fromkeys([*known, *names]))

    def preferred(self, group: str) -> str:
        """Return the plugin of ``group`` to take when the user names none; see ``KnownPlugins.preferred``.

        :raises UnknownName: none is installed, or several that thalweg knows no order of.
        """
        names = self.names(group)
        choice = self.known.preferred(group, names)
        if choice is not None:
            return choice
        if names:
            raise UnknownName(f"several {KINDS[group]}s are installed; name one of: {', '.join(names)}")
        recommended = next((p for p in self.known.plugins if p.group == group), None)
        hint = f"; pip install {recommended.distribution}" if recommended else ""
        raise UnknownName(f"no {KINDS[group]} is installed{hint}")

    def entry(self, group: str, name: str) -> PluginEntry:
        """Return the one claim of ``name`` in ``group``; imports nothing.

        :raises UnknownName: nobody claims it; the message lists what is installed and the nearest name.
        :raises PluginError: two distributions claim it, or it is blocked.
        """
        claims = self._claims.get((group, name), [])
        if not claims:
            raise UnknownName(self._unknown(group, name))
        entry = claims[0]
        if self._settings.blocks(entry):
            raise PluginError(
                f"{entry.describe()} is blocked by {BLOCK_VARIABLE}; take it out of there to use it"
            )
        if len(claims) > 1:
            who = " and ".join(f"{claim.provider} ({claim.value})" for claim in claims)
            raise PluginError(f"{entry.kind} {name!r} is claimed by {who}; uninstall all but one")
        return entry

    def load(self, group: str, name: str) -> PluginSpec:
        """Import the plugin, call its hook, check the answer and return it.

        :raises UnknownName: see ``entry``.
        :raises PluginError: see ``entry``; or it fails to import, to validate, or to match the API version;
            the message names its distribution, version and entry point.
        """
        with self._lock:
            key = (group, name)
            if key not in self._specs:
                self._specs[key] = load_spec(self.entry(group, name))
            return self._specs[key]

    def input(self, name: str) -> InputSpec:
        """Return the spec of an input format; see ``load``."""
        return cast(InputSpec, self.load("thalweg.inputs", name))

    def target_backend(self, name: str) -> TargetBackendSpec:
        """Return the spec of a target backend; see ``load``."""
        return cast(TargetBackendSpec, self.load("thalweg.target_backends", name))

    def hal_driver(self, name: str) -> HalDriverSpec:
        """Return the spec of a HAL driver; see ``load``."""
        return cast(HalDriverSpec, self.load("thalweg.hal_drivers", name))

    def executable_loader(self, name: str) -> ExecutableLoaderSpec:
        """Return the spec of an executable loader; see ``load``."""
        return cast(ExecutableLoaderSpec, self.load("thalweg.executable_loaders", name))

    def conformance_profile(self, name: str) -> ConformanceProfileSpec:
        """Return the spec of a conformance profile; see ``load``."""
        return cast(ConformanceProfileSpec, self.load("thalweg.conformance_profiles", name))

    def availability(self, group: str, name: str) -> Availability:
        """Load the plugin and ask its probe whether it can work on this machine.

        :raises PluginError: the probe itself fails; or see ``load``.
        """
        spec = self.load(group, name)
        with blaming(self.entry(group, name), "failed in its probe"):
            return spec.probe()

    def driver(self, name: str) -> Driver:
        """Return the HAL driver ``name``; made once, and kept by this registry.

        :raises Unavailable: it is installed but cannot work on this machine; the message says why.
        :raises PluginError: it fails to start; or see ``load``.
        """
        group = "thalweg.hal_drivers"
        with self._lock:
            if name not in self._drivers:
                availability = self.availability(group, name)
                entry = self.entry(group, name)
                if not availability.available:
                    raise Unavailable(f"{entry.describe()} is not available: {availability.reason}")
                with blaming(entry, "failed to start"):
                    self._drivers[name] = self.hal_driver(name).create()
            return self._drivers[name]

    def create_device(self, uri: str | DeviceUri) -> Device:
        """Create the device that ``uri`` names, as ``local-task``, ``local-task://?threads=4``,
        ``vulkan://GPU-1``.

        :raises InvalidArgument: the URI or a parameter is malformed.
        :raises UnknownName: no such driver or path.
        :raises Unavailable: it is there but cannot be used; see ``driver``.
        """
        parsed = DeviceUri.parse(uri) if isinstance(uri, str) else uri
        driver = self.driver(parsed.driver)
        with blaming(self.entry("thalweg.hal_drivers", parsed.driver), f"failed to create device {parsed}"):
            return driver.create_device(parsed.path, parsed.params)

    def query_devices(self, driver: str) -> list[DeviceInfo]:
        """Return the devices of the HAL driver ``driver``; see ``driver`` for the errors."""
        made = self.driver(driver)
        with blaming(self.entry("thalweg.hal_drivers", driver), "failed to list its devices"):
            return made.query_available_devices()

    def dump_device_info(self, driver: str, path: str) -> dict[str, object]:
        """Return what there is to know of a device; see ``driver`` for the errors."""
        made = self.driver(driver)
        with blaming(self.entry("thalweg.hal_drivers", driver), f"failed to describe its device {path!r}"):
            return made.dump_device_info(path)

    def records(self) -> list[PluginRecord]:
        """Describe every plugin, loading each; one that fails is reported in its record, not raised."""
        return [self._record(claim) for _, claims in sorted(self._claims.items()) for claim in claims]

    def _record(self, claim: PluginEntry) -> PluginRecord:
        api, summary, availability = "", claim.distribution_summary, Availability(True)
        try:
            spec = self.load(claim.group, claim.name)
            api, summary = ".".join(map(str, spec.api_version)), spec.summary
            availability = self.availability(claim.group, claim.name)
        except ThalwegError as error:
            availability = Availability(False, str(error))
        return PluginRecord(
            name=claim.name,
            kind=claim.kind,
            group=claim.group,
            distribution=claim.distribution,
            version=claim.version,
            module=claim.value,
            api=api,
            summary=summary,
            available=availability.available,
            reason=availability.reason,
        )

    def _unknown(self, group: str, name: str) -> str:
        installed = self.names(group)
        message = f"no {KINDS[group]} named {name!r}; installed: {', '.join(installed) or 'none'}"
        candidates = list(dict.fromkeys([*installed, *self.known.names(group)]))
        nearest = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
        if not nearest:
            return message
        distribution = None if nearest[0] in installed else self.known.distribution(group, nearest[0])
        install = f"pip install {distribution}" if distribution else ""
        if nearest[0] == name:
            return f"{message} ({install})"
        return f"{message} (did you mean {nearest[0]!r}?{' ' + install if install else ''})"
