"""Choosing an executable loader, and what a device says of itself."""

from __future__ import annotations

import platform

import pytest
from thalweg.api import ModuleFormatError, NotSupported, Registry
from thalweg.hal.executable import ExecutableLoader
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import EntryPoint
from thalweg_driver_local.cpu_features import machine_features
from thalweg_driver_local.loading import LoaderEntry, LoaderSet

from .conftest import PythonLoader
from .kernel_images import ENTRIES, host_format


def entry_points(*names: str) -> tuple[EntryPoint, ...]:
    """Return entry points without bindings."""
    return tuple(EntryPoint(name, 0) for name in names)


class Elsewhere(ExecutableLoader):
    """A loader of a format that does not run here."""

    def can_run(self, format: str) -> bool:
        return False

    def load(self, record: ExecutableRecord):
        raise AssertionError(record)


def test_a_format_nobody_loads_is_refused_with_those_there_are(device):
    with pytest.raises(NotSupported) as caught:
        device.prepare_executable(ExecutableRecord("k", "thalweg-ptx-1", b"", ()))
    assert str(caught.value) == (
        "executable 'k' has the format 'thalweg-ptx-1', which this device does not run;"
        f" it runs: python, {host_format()}"
    )


def test_without_loaders_the_message_says_so():
    with pytest.raises(NotSupported, match=r"it runs: none \(no executable loader is installed\)"):
        LoaderSet([]).load(ExecutableRecord("k", "f", b"", ()))


def test_a_loader_that_cannot_run_a_format_here_is_passed_over():
    entry = entry_points("works")
    loaders = LoaderSet(
        [
            LoaderEntry("elsewhere", ("f",), Elsewhere),
            LoaderEntry("here", ("f",), lambda: PythonLoader({"works": print})),
        ]
    )
    assert len(loaders.load(ExecutableRecord("k", "f", b"", entry)).library.kernels) == 1
    assert LoaderSet([LoaderEntry("elsewhere", ("f",), Elsewhere)]).formats() == []


def test_a_loader_is_made_once_when_it_is_first_needed():
    made = []

    def create():
        made.append(1)
        return PythonLoader({"works": print})

    loaders = LoaderSet([LoaderEntry("here", ("f",), create)])
    assert not made
    for _ in range(3):
        loaders.load(ExecutableRecord("k", "f", b"", entry_points("works")))
    assert made == [1]


def test_a_loader_that_finds_another_number_of_kernels_is_caught():
    class Short(PythonLoader):
        def load(self, record):
            library = super().load(record)
            library.kernels = library.kernels[:1]
            return library

    loaders = LoaderSet([LoaderEntry("short", ("f",), lambda: Short({"a": print, "b": print}))])
    with pytest.raises(ModuleFormatError, match="'k' names 2 entry points; its loader found 1"):
        loaders.load(ExecutableRecord("k", "f", b"", entry_points("a", "b")))


def test_the_installed_loaders_have_this_machines_format():
    assert host_format() in LoaderSet.installed(Registry.from_environment()).formats()


def test_a_device_answers_what_it_is(device):
    assert device.query("hal.device.kind", "local") == 1
    assert device.query("hal.device.kind", "vulkan") == 0
    assert device.query("hal.executable.format", host_format()) == 1
    assert device.query("hal.executable.format", "thalweg-ptx-1") == 0
    assert device.query("hal.device", "concurrency") >= 1
    for nothing in (("hal.device", "colour"), ("nothing", "local"), ("hal.device.feature", "no-such")):
        assert device.query(*nothing) == 0


def test_a_device_has_the_features_of_the_processor(device):
    features = machine_features()
    if platform.machine() == "x86_64":
        assert {"sse", "sse2"} <= features
    for feature in features:
        assert device.query("hal.device.feature", feature) == 1


def test_the_kernels_of_a_record_are_found_by_name(device, kernel_record):
    executable = device.prepare_executable(kernel_record)
    assert [executable.lookup_function(entry.name) for entry in ENTRIES] == list(range(len(ENTRIES)))
