"""Which target backends a compilation takes: named, for devices, or by default."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from thalweg.api import HalDriverSpec, NoOptions, TargetBackendSpec
from thalweg.codegen.target import TargetBackend, TargetConfiguration
from thalweg.errors import InvalidArgument, Unavailable, UnknownName
from thalweg.plugin.entry_points import PluginEntry
from thalweg.plugin.known import KnownPlugins
from thalweg.plugin.registry import Registry
from thalweg.tools.target_choice import choose_target_backends

KNOWN = KnownPlugins.parse('[target_backends]\nwide = "w"\nplain = "p"\nfaraway = "f"\n')


@dataclass
class Device:
    answers: set[tuple[str, str]]
    closed: bool = False

    def query(self, category: str, key: str) -> int:
        return int((category, key) in self.answers)

    def close(self) -> None:
        self.closed = True


@dataclass
class Backend(TargetBackend):
    config: TargetConfiguration

    def configuration(self) -> TargetConfiguration:
        return self.config

    def plan(self, dispatch, config):
        raise NotImplementedError("no test compiles with it")

    def translate(self, kernel, config):
        raise NotImplementedError("no test compiles with it")

    def link(self, translated, config):
        raise NotImplementedError("no test compiles with it")


@dataclass
class FakeRegistry(Registry):
    device: Device = field(default_factory=lambda: Device(set()))

    def __post_init__(self):
        names = ("plain", "wide", "faraway", "broken")
        super().__init__([PluginEntry("thalweg.target_backends", name, "m") for name in names], known=KNOWN)

    def create_device(self, uri):
        if str(uri).startswith("elsewhere"):
            raise Unavailable("no such card in this machine")
        return self.device

    def hal_driver(self, name):
        declares = name == "elsewhere"
        return HalDriverSpec(
            name=name,
            summary=name,
            create=lambda: pytest.fail("the driver was started"),
            device_kind="remote" if declares else "",
            executable_formats=("faraway-1",) if declares else (),
        )

    def target_backend(self, name):
        if name == "broken":
            raise Unavailable("broken")
        kind, features = ("remote" if name == "faraway" else "local"), (["avx"] if name == "wide" else [])
        predicate = {"device_kind": kind, "executable_format": f"{name}-1", "features": features}
        backend = Backend(TargetConfiguration(name, f"{name}-1", predicate))
        return TargetBackendSpec(name=name, summary=name, options=NoOptions, create=lambda options: backend)


LOCAL = {
    ("hal.device.kind", "local"),
    ("hal.executable.format", "plain-1"),
    ("hal.executable.format", "wide-1"),
}


def test_named_ones_each_once():
    assert choose_target_backends(FakeRegistry(), ["plain", "wide", "plain"]) == ["plain", "wide"]
    with pytest.raises(UnknownName, match="did you mean 'plain'"):
        choose_target_backends(FakeRegistry(), ["plan"])


def test_the_preferred_one_by_default():
    assert choose_target_backends(FakeRegistry(), []) == ["wide"]


def test_the_most_preferred_one_that_a_device_runs():
    registry = FakeRegistry(device=Device(LOCAL))
    assert choose_target_backends(registry, [], ["any"]) == ["plain"]
    assert registry.device.closed
    registry = FakeRegistry(device=Device(LOCAL | {("hal.device.feature", "avx")}))
    assert choose_target_backends(registry, ["plain"], ["any"]) == ["plain", "wide"]


def test_a_device_that_nothing_installed_serves():
    with pytest.raises(InvalidArgument) as error:
        choose_target_backends(FakeRegistry(device=Device({("hal.device.kind", "local")})), [], ["odd"])
    assert str(error.value) == (
        "no installed target backend makes code for device 'odd'; installed:"
        " wide (makes wide-1, which the device does not run),"
        " plain (makes plain-1, which the device does not run),"
        " faraway (for devices of kind remote), broken (not usable: broken)"
    )


def test_several_devices_choose_one_target_each():
    registry = FakeRegistry(device=Device(LOCAL))
    assert choose_target_backends(registry, [], ["any", "elsewhere", "any"]) == ["plain", "faraway"]


def test_a_device_that_is_not_there_is_compiled_for_as_its_driver_declares(caplog):
    assert choose_target_backends(FakeRegistry(), [], ["elsewhere://CARD"]) == ["faraway"]
    assert caplog.messages == [
        "compiling for device 'elsewhere://CARD' by what its driver declares: no such card in this machine"
    ]
    with pytest.raises(Unavailable, match="no such card in this machine"):
        choose_target_backends(FakeRegistry(), [], ["elsewhere-undeclared"])
