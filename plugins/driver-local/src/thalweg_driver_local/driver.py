"""The drivers: which devices there are (one each) and what their parameters mean."""

from __future__ import annotations

import difflib
import os
import platform
from collections.abc import Mapping
from urllib.parse import urlencode

from thalweg.api import InvalidArgument, Registry, UnknownName
from thalweg.hal.driver import Driver
from thalweg.hal.types import DeviceInfo

from thalweg_driver_local.cpu_features import KNOWN_FEATURES, is_known_feature
from thalweg_driver_local.device import LocalDevice
from thalweg_driver_local.engine import create_engine
from thalweg_driver_local.loading import LoaderSet
from thalweg_driver_local.perf_map import PERF_MAP_VARIABLE, parse_perf_map

THREADS_VARIABLE = "THALWEG_NUM_THREADS"
PROCESSOR_VARIABLE = "THALWEG_LOCAL_PROCESSOR"
PROCESSORS = ("auto", "native", "python")
MAXIMUM_THREADS = 1024
PARAMETERS = {
    "local-sync": ("features", "perf_map", "processor"),
    "local-task": ("features", "perf_map", "processor", "threads"),
}


class LocalDriver(Driver):
    """``local-sync`` or ``local-task``.

    :param loaders: the executable loaders of its devices; ``None``: those that are installed.
    """

    def __init__(self, name: str, loaders: LoaderSet | None = None):
        self.name = name
        self._loaders = loaders

    def query_available_devices(self) -> list[DeviceInfo]:
        """Return the one device there is."""
        return [DeviceInfo(0, "", "default")]

    def create_device(self, path: str = "", params: Mapping[str, str] | None = None) -> LocalDevice:
        """Create the device; see ``Driver.create_device``."""
        self._check_path(path)
        given = dict(params or {})
        known = PARAMETERS[self.name]
        for key in given:
            if key not in known:
                raise InvalidArgument(
                    f"{self.name} has no parameter {key!r}; it has: {', '.join(sorted(known))}"
                )
        processor = parse_processor(given.get("processor"), os.environ)
        threads = parse_threads(given.get("threads"), os.environ) if "threads" in known else 1
        masked = parse_masked_features(given.get("features", ""))
        perf_map = parse_perf_map(given.get("perf_map"), os.environ.get(PERF_MAP_VARIABLE))
        if self._loaders is None:
            self._loaders = LoaderSet.installed(Registry.from_environment())
        identifier = f"{self.name}://" + (f"?{urlencode(sorted(given.items()))}" if given else "")
        engine = create_engine(identifier, processor, threads, background=self.name == "local-task")
        return LocalDevice(identifier, engine, self._loaders, masked, perf_map)

    def dump_device_info(self, path: str = "") -> dict[str, object]:
        """Describe the machine: processors, machine name, executable formats and processor features."""
        self._check_path(path)
        loaders = self._loaders or LoaderSet.installed(Registry.from_environment())
        return {
            "runs_on": "hardware",
            "machine": platform.machine(),
            "processors": available_processors(),
            "executable formats": ", ".join(loaders.formats()),
            "features": ", ".join(sorted(loaders.features())),
        }

    def _check_path(self, path: str) -> None:
        if path:
            raise UnknownName(f"{self.name} has no device {path!r}; it has one device, with the empty path")


def available_processors() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_threads(parameter: str | None, environment: Mapping[str, str]) -> int:
    """Return the number of threads: the URI's, else the environment's, else one for each processor.

    :raises InvalidArgument: not a whole number from 1 to 1024.
    """
    text, source = parameter, "threads"
    if text is None:
        text, source = environment.get(THREADS_VARIABLE) or None, THREADS_VARIABLE
    if text is None:
        return available_processors()
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAXIMUM_THREADS):
        raise InvalidArgument(f"{source}={text!r} is not a number of threads from 1 to {MAXIMUM_THREADS}")
    return int(text)


def parse_masked_features(text: str) -> frozenset[str]:
    """Return the features that a device is to hide: ``-avx2,-fma``, in LLVM's spelling.

    :raises InvalidArgument: an entry without ``-``, or a feature that no processor has.
    """
    masked: set[str] = set()
    for entry in filter(None, (part.strip() for part in text.split(","))):
        if not entry.startswith("-"):
            raise InvalidArgument(
                f"features={text!r}: write -{entry.lstrip('+')} to hide a feature; a device cannot gain one"
            )
        name = entry[1:]
        if not is_known_feature(name):
            near = difflib.get_close_matches(name, KNOWN_FEATURES, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InvalidArgument(f"features={text!r}: no processor feature is named {name!r}{hint}")
        masked.add(name)
    return frozenset(masked)


def parse_processor(parameter: str | None, environment: Mapping[str, str]) -> str:
    """Return ``auto``, ``native`` or ``python``. :raises InvalidArgument: another value."""
    text, source = parameter, "processor"
    if text is None:
        text, source = environment.get(PROCESSOR_VARIABLE) or "auto", PROCESSOR_VARIABLE
    if text not in PROCESSORS:
        raise InvalidArgument(f"{source}={text!r} is not a processor; it is one of: {', '.join(PROCESSORS)}")
    return text
