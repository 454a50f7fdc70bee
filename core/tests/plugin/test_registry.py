"""The registry: what it finds without importing, and each error it must give."""

from __future__ import annotations

import sys

import pytest
from thalweg.errors import InvalidArgument, PluginError, Unavailable, UnknownName
from thalweg.plugin.entry_points import DiscoverySettings
from thalweg.plugin.known import KnownPlugins
from thalweg.plugin.registry import Registry

DRIVERS = "thalweg.hal_drivers"
TARGETS = "thalweg.target_backends"


def test_lists_names_sorted_without_importing(site):
    for name in ("zeta", "alpha"):
        site.driver(name, "raise RuntimeError('imported')")
    assert Registry.from_environment({}).names(DRIVERS) == ["alpha", "zeta"]
    assert not [name for name in sys.modules if name.startswith("fake_")]


def test_loads_a_spec_once(site):
    site.driver("mine")
    registry = Registry.from_environment({})
    spec = registry.hal_driver("mine")
    assert (spec.name, spec.summary) == ("mine", "A made-up driver")
    assert registry.hal_driver("mine") is spec


def test_makes_a_driver_once(site):
    site.driver("mine")
    registry = Registry.from_environment({})
    assert registry.driver("mine").name == "mine"
    assert registry.driver("mine") is registry.driver("mine")


def test_takes_the_attribute_that_an_entry_point_names(site):
    site.module(
        "fake_classes",
        """
        from thalweg.api import HalDriverSpec, hookimpl
        class Hooks:
            @hookimpl
            def thalweg_hal_driver(self, name):
                return HalDriverSpec(name=name, summary="By an object", create=object)
        class holder:
            hooks = Hooks()
        """,
    )
    site.distribution("dist-classes", "1.0", {DRIVERS: {"classy": "fake_classes:holder.hooks"}})
    assert Registry.from_environment({}).hal_driver("classy").summary == "By an object"


def test_unknown_name_lists_installed_and_the_nearest_installed(site):
    site.driver("local-sink")
    with pytest.raises(UnknownName) as error:
        Registry.from_environment({}).hal_driver("local-snik")
    assert str(error.value) == (
        "no HAL driver named 'local-snik'; installed: local-sink (did you mean 'local-sink'?)"
    )


def test_unknown_name_recommends_a_known_distribution(site):
    site.driver("mine")
    known = KnownPlugins.parse('[hal_drivers]\nwarp = "dist-of-warp"\n')
    registry = Registry([], known=known)
    with pytest.raises(UnknownName) as error:
        registry.hal_driver("wrap-")
    assert str(error.value) == (
        "no HAL driver named 'wrap-'; installed: none (did you mean 'warp'? pip install dist-of-warp)"
    )
    with pytest.raises(UnknownName, match=r"installed: none \(pip install dist-of-warp\)$"):
        registry.hal_driver("warp")


def test_unknown_name_without_anything_near(site):
    with pytest.raises(UnknownName, match=r"^no target backend named 'qqqq'; installed: none$"):
        Registry([]).target_backend("qqqq")


def test_import_failure_names_distribution_version_and_entry_point(site):
    site.driver("broken", "import a_module_that_is_not_there")
    with pytest.raises(PluginError) as error:
        Registry.from_environment({}).hal_driver("broken")
    assert str(error.value) == (
        "HAL driver 'broken' (dist-broken 1.2.3, entry point thalweg.hal_drivers: broken = fake_broken)"
        " cannot be imported: ModuleNotFoundError: No module named 'a_module_that_is_not_there'"
    )


HOOK = """
from thalweg.api import Availability, HalDriverSpec, TargetBackendSpec, hookimpl
import dataclasses


@hookimpl
def thalweg_hal_driver(name):
    {body}
"""

INVALID = {
    "returns-nothing": ("return None", "is not valid: its hook returned None, not a HalDriverSpec"),
    "other-kind": (
        "return TargetBackendSpec(name=name, summary='x', create=object)",
        "not a HalDriverSpec",
    ),
    "other-name": (
        "return HalDriverSpec(name='x', summary='x', create=object)",
        "its spec is named 'x', not as its entry point",
    ),
    "no-summary": (
        "return HalDriverSpec(name=name, summary='', create=object)",
        "summary must be one line of text; found ''",
    ),
    "no-create": (
        "return HalDriverSpec(name=name, summary='x', create=None)",
        "create must be callable; found None",
    ),
    "no-probe": (
        "return HalDriverSpec(name=name, summary='x', create=object, probe=True)",
        "probe must be callable; found True of type bool",
    ),
    "options": (
        "return HalDriverSpec(name=name, summary='x', create=object, options=dict)",
        "options must be a dataclass; found <class 'dict'> of type type",
    ),
    "required-option": (
        "return HalDriverSpec(name=name, summary='x', create=object,"
        " options=dataclasses.make_dataclass('Options', [('level', int)]))",
        "option 'level' of Options has no default",
    ),
    "capabilities": (
        "return HalDriverSpec(name=name, summary='x', create=object, capabilities=['a'])",
        "capabilities must be a frozenset of slugs; found ['a']",
    ),
    "version-form": (
        "return HalDriverSpec(name=name, summary='x', create=object, api_version='1.0')",
        "api_version must be (major, minor); found '1.0'",
    ),
    "device-kind": (
        "return HalDriverSpec(name=name, summary='x', create=object, device_kind=None)",
        "device_kind must be a slug; found None",
    ),
    "executable-formats": (
        "return HalDriverSpec(name=name, summary='x', create=object, executable_formats=['a-1'])",
        "executable_formats must be a tuple of slugs; found ['a-1']",
    ),
    "raises": ("raise KeyError('oh')", "failed in its hook thalweg_hal_driver: KeyError: 'oh'"),
}


@pytest.mark.parametrize("name", INVALID)
def test_failed_validation_says_which_field(site, name):
    body, message = INVALID[name]
    site.driver(name, HOOK.format(body=body))
    with pytest.raises(PluginError) as error:
        Registry.from_environment({}).hal_driver(name)
    assert str(error.value).startswith(
        f"HAL driver {name!r} (dist-{name} 1.2.3, entry point {DRIVERS}: {name} = "
    )
    assert str(error.value).endswith(message)


def test_a_misspelt_hook_is_an_error(site):
    site.driver(
        "typo", HOOK.format(body="return None").replace("def thalweg_hal_driver", "def thalweg_hal_drivr")
    )
    with pytest.raises(PluginError, match=r"is not valid: .*unknown hook 'thalweg_hal_drivr'"):
        Registry.from_environment({}).hal_driver("typo")


def test_a_module_without_the_groups_hook_is_an_error(site):
    site.driver("empty", "")
    with pytest.raises(PluginError, match=r"it implements no hook thalweg_hal_driver\(name\)$"):
        Registry.from_environment({}).hal_driver("empty")


@pytest.mark.parametrize("version, fits", [((1, 0), True), ((1, 1), False), ((2, 0), False), ((0, 9), False)])
def test_api_version(site, version, fits):
    body = f"return HalDriverSpec(name=name, summary='x', create=object, api_version={version})"
    site.driver("versioned", HOOK.format(body=body))
    registry = Registry.from_environment({})
    if fits:
        assert registry.hal_driver("versioned").api_version == version
        return
    with pytest.raises(PluginError) as error:
        registry.hal_driver("versioned")
    assert "(dist-versioned 1.2.3, entry point" in str(error.value)
    assert f"it was written for plugin API {version[0]}.{version[1]}; this thalweg has 1.0" in str(
        error.value
    )


def test_two_distributions_claiming_one_name(site):
    site.driver("mine")
    site.distribution("another", "9.9", {DRIVERS: {"mine": "fake_mine"}})
    registry = Registry.from_environment({})
    assert registry.names(DRIVERS) == ["mine"]
    with pytest.raises(PluginError) as error:
        registry.hal_driver("mine")
    assert "HAL driver 'mine' is claimed by" in str(error.value)
    assert "another 9.9 (fake_mine)" in str(error.value)
    assert "dist-mine 1.2.3 (fake_mine)" in str(error.value)


def test_one_distribution_found_twice_is_one_claimant(site, tmp_path, monkeypatch):
    site.driver("mine")
    wheel = tmp_path / "other-site"
    site.distribution("dist-mine", "1.2.0", {DRIVERS: {"mine": "fake_mine"}}, folder=wheel)
    monkeypatch.setattr(sys, "path", [*sys.path, str(wheel)])
    registry = Registry.from_environment({})
    assert registry.hal_driver("mine").name == "mine"
    assert registry.entry(DRIVERS, "mine").version == "1.2.3"  # the first on the path


@pytest.mark.parametrize("blocked", ["mine", "thalweg.hal_drivers:mine", "hal_drivers:mine", "x, mine"])
def test_a_blocked_plugin_is_not_listed_and_says_why(site, blocked):
    site.driver("mine")
    registry = Registry.from_environment({"THALWEG_PLUGINS_BLOCK": blocked})
    assert registry.names(DRIVERS) == []
    with pytest.raises(PluginError) as error:
        registry.hal_driver("mine")
    assert str(error.value) == (
        "HAL driver 'mine' (dist-mine 1.2.3, entry point thalweg.hal_drivers: mine = fake_mine)"
        " is blocked by THALWEG_PLUGINS_BLOCK; take it out of there to use it"
    )


def test_blocking_in_another_group_leaves_it(site):
    site.driver("mine")
    assert Registry.from_environment({"THALWEG_PLUGINS_BLOCK": "inputs:mine"}).names(DRIVERS) == ["mine"]


def test_blocking_in_a_group_that_does_not_exist(site):
    with pytest.raises(
        InvalidArgument, match="THALWEG_PLUGINS_BLOCK has 'drivers:mine', but there is no group"
    ):
        DiscoverySettings.from_environment({"THALWEG_PLUGINS_BLOCK": "drivers:mine"})


UNPACKAGED = """
from thalweg.api import HalDriverSpec, hookimpl

THALWEG_ENTRY_POINTS = {"thalweg.hal_drivers": ["loose"]}


@hookimpl
def thalweg_hal_driver(name):
    return HalDriverSpec(name=name, summary="Loose", create=object)
"""


def test_a_module_without_packaging(site):
    site.module("loose_module", UNPACKAGED)
    registry = Registry.from_environment({"THALWEG_PLUGINS": "loose_module"})
    assert registry.names(DRIVERS) == ["loose"]
    assert registry.hal_driver("loose").summary == "Loose"
    record = registry.records()[0]
    assert (record.distribution, record.version, record.module) == ("", "", "loose_module")


@pytest.mark.parametrize(
    "source, message",
    [
        (None, "names module 'loose_module', which cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "names module 'loose_module', which cannot be imported: ZeroDivisionError"),
        ("", "names module 'loose_module', which declares no plugins; write THALWEG_ENTRY_POINTS = {"),
        ("THALWEG_ENTRY_POINTS = ['loose']", "THALWEG_ENTRY_POINTS of module 'loose_module' is malformed"),
        (
            "THALWEG_ENTRY_POINTS = {'drivers': ['a']}",
            "'loose_module' has the group 'drivers'; the groups are:",
        ),
    ],
)
def test_a_module_without_packaging_that_cannot_be_used(site, source, message):
    if source is not None:
        site.module("loose_module", source)
    with pytest.raises(PluginError) as error:
        Registry.from_environment({"THALWEG_PLUGINS": "loose_module"})
    assert message in str(error.value)


def test_autoload_off_takes_only_the_named_modules(site):
    site.driver("mine")
    site.driver("other")
    site.module("loose_module", UNPACKAGED)
    environment = {"THALWEG_PLUGIN_AUTOLOAD": "0"}
    assert Registry.from_environment(environment).names(DRIVERS) == []
    environment["THALWEG_PLUGINS"] = "loose_module,fake_mine"
    assert Registry.from_environment(environment).names(DRIVERS) == ["loose", "mine"]


def test_autoload_has_two_values(site):
    with pytest.raises(InvalidArgument, match="THALWEG_PLUGIN_AUTOLOAD is 0 or 1; got 'no'"):
        Registry.from_environment({"THALWEG_PLUGIN_AUTOLOAD": "no"})


def test_an_unavailable_driver_says_why(site):
    site.driver(
        "away",
        HOOK.format(
            body="return HalDriverSpec(name=name, summary='x', create=object,"
            " probe=lambda: Availability(False, 'no libaway.so; apt install libaway'))"
        ),
    )
    with pytest.raises(Unavailable) as error:
        Registry.from_environment({}).driver("away")
    assert str(error.value).startswith("HAL driver 'away' (dist-away 1.2.3, ")
    assert str(error.value).endswith("is not available: no libaway.so; apt install libaway")


@pytest.mark.parametrize(
    "fields, message",
    [
        ("create=lambda: 1 / 0", "failed to start: ZeroDivisionError: division by zero"),
        ("create=object, probe=lambda: 1 / 0", "failed in its probe: ZeroDivisionError: division by zero"),
    ],
)
def test_a_driver_that_fails_is_named(site, fields, message):
    site.driver("bad", HOOK.format(body=f"return HalDriverSpec(name=name, summary='x', {fields})"))
    with pytest.raises(PluginError) as error:
        Registry.from_environment({}).driver("bad")
    assert str(error.value).startswith("HAL driver 'bad' (dist-bad 1.2.3, ")
    assert str(error.value).endswith(message)


def test_records_report_a_broken_plugin_beside_the_others(site):
    site.driver("broken", "1 / 0")
    site.driver("mine")
    broken, mine = Registry.from_environment({}).records()
    assert (mine.name, mine.kind, mine.api, mine.available, mine.reason) == (
        "mine",
        "HAL driver",
        "1.0",
        True,
        "",
    )
    assert (broken.name, broken.distribution, broken.version, broken.api) == (
        "broken",
        "dist-broken",
        "1.2.3",
        "",
    )
    assert not broken.available
    assert "ZeroDivisionError" in broken.reason


class TestPreference:
    known = KnownPlugins.parse('[target_backends]\nbest = "dist-best"\nsecond = "dist-second"\n')

    def registry(self, site, *names: str) -> Registry:
        site.distribution("targets", "1.0", {TARGETS: dict.fromkeys(names, "nothing")})
        found = Registry.from_environment({})
        return Registry([found.entry(TARGETS, name) for name in names], known=self.known)

    def test_first_known_one(self, site):
        registry = self.registry(site, "aaa", "best", "second")
        assert registry.preferred(TARGETS) == "best"
        assert registry.ranked(TARGETS) == ["best", "second", "aaa"]

    def test_the_only_one(self, site):
        assert self.registry(site, "strange").preferred(TARGETS) == "strange"

    def test_several_of_no_known_order(self, site):
        with pytest.raises(UnknownName, match=r"^several target backends are installed; name one of: a, b$"):
            self.registry(site, "a", "b").preferred(TARGETS)

    def test_none(self, site):
        with pytest.raises(UnknownName, match=r"^no target backend is installed; pip install dist-best$"):
            Registry([], known=self.known).preferred(TARGETS)


def test_a_distribution_without_a_summary_is_listed(site):
    site.driver("plain")
    (metadata,) = site.folder.glob("dist_plain-*.dist-info/METADATA")
    metadata.write_text("Metadata-Version: 2.1\nName: dist-plain\nVersion: 1.2.3\n")
    (record,) = Registry.from_environment({}).records()
    assert (record.name, record.distribution, record.available) == ("plain", "dist-plain", True)
