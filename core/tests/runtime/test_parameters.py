"""Programs whose constants are in a parameter file, on every kind of device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from thalweg.errors import ParameterError
from thalweg.module.file import write_module
from thalweg.parameters import move_outside, open_parameters, write_parameters
from thalweg.runtime import load

from .fakes import FakeDriver, make_registry
from .sample import WEIGHT, make_module


@pytest.fixture(params=["safetensors", "irpa"])
def outside(request, kind, tmp_path):
    """(module file, parameter file, module) with the weight outside."""
    module, tensors = move_outside(make_module(inline=kind == "inline"), scope="m", minimum_bytes=0)
    assert not module.constants
    write_module(module, tmp_path / "m.twm")
    path = tmp_path / f"w.{request.param}"
    write_parameters(tensors, path)
    return tmp_path / "m.twm", path, module


@pytest.mark.parametrize("verify", ["code", "full"])
def test_a_program_computes_with_its_parameters(outside, device, x, s, verify):
    module_file, path, module = outside
    for source in (module_file, module):
        program = load(source, device, verify=verify, parameters={"m": path}, registry=make_registry())
        y, _ = program.main(x, s)
        assert np.array_equal(np.asarray(y), x * WEIGHT + s)
        assert np.array_equal(program.module.constants["weight"], WEIGHT)


def test_a_missing_parameter_is_told_before_anything_is_made(outside, device):
    module_file, path, _ = outside
    with pytest.raises(ParameterError, match=r"give --parameters=m=FILE, or thalweg\.load"):
        load(module_file, device, registry=make_registry())
    with pytest.raises(ParameterError, match="the files given are of the default scope"):
        load(module_file, device, parameters=path, registry=make_registry())


def test_a_device_that_load_made_is_closed_when_parameters_are_missing():
    driver = FakeDriver()
    module, _ = move_outside(make_module(), scope="", minimum_bytes=0)
    with pytest.raises(ParameterError):
        load(module, "fake", registry=make_registry(driver=driver))
    assert driver.devices[0].closed


def test_two_programs_of_one_index_use_the_same_memory(tmp_path):
    module, tensors = move_outside(make_module(inline=True), scope="", minimum_bytes=0)
    padding = {"a": np.zeros(1, np.int8)}  # misaligns what comes after it
    write_parameters({**padding, **tensors}, tmp_path / "w.safetensors")
    index = open_parameters(tmp_path / "w.safetensors")
    programs = [load(module, None, parameters=index, registry=make_registry()) for _ in range(2)]
    first, second = (program.module.constants["weight"] for program in programs)
    assert first.ctypes.data == second.ctypes.data and first.ctypes.data % 64 == 0


def test_parameters_of_variants_that_are_not_taken_are_not_needed(tmp_path, x, s):
    module = make_module(inline=True)
    other = replace(module.variants[0], name="other", predicate={"features": ["none"]}, constants=("rest",))
    both = replace(
        module, variants=(other, module.variants[0]), constants={**module.constants, "rest": WEIGHT + 1}
    )
    lean, tensors = move_outside(both, scope="", minimum_bytes=0)
    del tensors[lean.parameters["rest"].name]
    write_parameters(tensors, tmp_path / "w.irpa")
    program = load(lean, None, parameters=tmp_path / "w.irpa", registry=make_registry())
    assert np.array_equal(np.asarray(program.main(x, s)[0]), x * WEIGHT + s)
    assert list(program.module.parameters) == ["rest"]
