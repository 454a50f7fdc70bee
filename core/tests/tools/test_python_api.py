"""``import thalweg``: the functions of the top level."""

from __future__ import annotations

import numpy as np
import pytest
import thalweg
from thalweg.errors import CompileError, InvalidArgument, PluginError, UnknownName


def test_lists(plugins):
    plugins("doubling_plugin", "paper_drivers")
    assert thalweg.query_available_targets() == ["doubling"]
    assert thalweg.query_available_drivers() == ["absent", "paper", "torn", "wet"]


def test_devices_are_plain_dicts(plugins):
    plugins("paper_drivers")
    driver = thalweg.get_driver("paper")
    assert driver.query_available_devices() == [
        {"device_id": 0, "path": "A4", "name": "a sheet"},
        {"device_id": 1, "path": "B 5", "name": "another sheet"},
    ]
    assert driver.dump_device_info("A4") == {"format": "A4", "colours": ["black", "white"]}
    with pytest.raises(UnknownName, match="no HAL driver named 'papr'"):
        thalweg.get_driver("papr")


def test_a_device_that_the_driver_fails_to_create(plugins):
    plugins("paper_drivers")
    with pytest.raises(PluginError, match=r"failed to create device paper://A4: NotImplementedError"):
        thalweg.create_device("paper://A4")


def test_compile_load_call(plugins, model):
    plugins("doubling_plugin")
    module = thalweg.compile(model, target_backends=["doubling"], doubling_factor=5)
    program = thalweg.load(module)
    np.testing.assert_array_equal(program.main(np.ones(4, np.float32)), np.full(4, 5, np.float32))


def test_compile_to_a_phase_gives_text(plugins, model):
    plugins("doubling_plugin")
    phases = []
    text = thalweg.compile(str(model), compile_to="abi", progress=lambda phase, *_: phases.append(phase))
    assert isinstance(text, str) and "func.func @main" in text
    assert phases[0] == "input"


def test_options_that_do_not_fit(plugins, model):
    plugins("doubling_plugin")
    with pytest.raises(
        InvalidArgument, match=r"no option 'doubling_factr' .* \(did you mean 'doubling_factor'"
    ):
        thalweg.compile(model, doubling_factr=5)
    with pytest.raises(InvalidArgument, match=r"is of type int; got 1\.5"):
        thalweg.compile(model, doubling_factor=1.5)
    with pytest.raises(CompileError, match="not supported: doubling"):
        thalweg.compile(model, doubling_fails=True)


def test_no_driver_for_a_module_that_needs_one(plugins, model, monkeypatch):
    plugins("doubling_plugin")
    module = thalweg.compile(model)
    plugins()
    with pytest.raises(UnknownName, match=r"^no HAL driver is installed; pip install "):
        thalweg.load(module)


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="module 'thalweg' has no attribute 'compil'"):
        thalweg.compil  # noqa: B018  (the access is what is tested)
    assert set(thalweg.__all__) <= set(dir(thalweg))
