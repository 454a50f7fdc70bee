"""Loading: sources, variants, machine code, constants, and who closes the device."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import thalweg.runtime
from thalweg.errors import InvalidArgument, ModuleFormatError, NotSupported, PermissionDenied, UnknownName
from thalweg.module.file import module_bytes, write_module
from thalweg.runtime import load
from thalweg.runtime.loaders import Loaders
from thalweg.runtime.selection import select_variant

from .fakes import FORMAT, FakeDriver, RemoteDevice, make_registry, prepared_device
from .sample import make_module


def answer(program) -> float:
    """Return an element that depends on the constant."""
    return float(program.main(np.ones((2, 3), np.float32), np.float32(0))[0][1, 2])


def test_every_kind_of_source_is_taken(tmp_path):
    module = make_module()
    path = tmp_path / "m.twm"
    write_module(module, path)
    result = SimpleNamespace(module=module)
    for source in (module, result, path, str(path), module_bytes(module), memoryview(module_bytes(module))):
        assert answer(load(source, prepared_device(), registry=make_registry())) == -3


def test_another_kind_of_source_is_refused():
    with pytest.raises(InvalidArgument, match="takes a module, its file's path or bytes; got int"):
        load(3, prepared_device(), registry=make_registry())
    with pytest.raises(InvalidArgument, match=r"no such file: absent\.twm"):
        load("absent.twm", prepared_device(), registry=make_registry())


def test_a_module_made_in_memory_is_verified_too():
    module = make_module()
    with pytest.raises(
        ModuleFormatError, match="module 'sample': variant 'fake' refers to a constant 'weight'"
    ):
        load(replace(module, constants={}), prepared_device(), registry=make_registry())


def test_constants_are_used_where_the_file_is_mapped(tmp_path, monkeypatch):
    path = tmp_path / "m.twm"
    write_module(make_module(), path)
    device = prepared_device()
    imported = []
    original = device.allocator.import_host
    monkeypatch.setattr(
        device.allocator, "import_host", lambda *a: imported.append(original(*a)) or imported[-1]
    )
    load(path, device, registry=make_registry())
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("m.twm")]
    ranges = [[int(part, 16) for part in line.split()[0].split("-")] for line in mapped]
    assert len(imported) == 1 and any(low <= imported[0].host_address < high for low, high in ranges)


def test_a_constant_s_damage_is_found_when_asked(tmp_path):
    data = bytearray(module_bytes(make_module()))
    at = data.index(np.array([-1, -2, -3], np.float32).tobytes())
    data[at] ^= 1
    load(bytes(data), prepared_device(), registry=make_registry())
    with pytest.raises(ModuleFormatError, match="constants/"):
        load(bytes(data), prepared_device(), verify="full", registry=make_registry())


def two_variants(first: dict, second: dict):
    module = make_module()
    (variant,) = module.variants
    variants = (
        replace(variant, name="first", predicate=first),
        replace(variant, name="second", predicate=second),
    )
    return replace(module, variants=variants)


@pytest.mark.parametrize(
    "first",
    [
        {"features": ["numpy", "avx999"]},
        {"executable_format": "thalweg-other-1"},
        {"device_kind": "gpu"},
        {"moon_phase": "full"},
    ],
)
def test_the_first_variant_that_fits_is_taken(first):
    fits = {"device_kind": "local", "executable_format": FORMAT}
    assert (
        load(two_variants(first, fits), prepared_device(), registry=make_registry()).variant.name == "second"
    )
    assert load(two_variants(fits, fits), prepared_device(), registry=make_registry()).variant.name == "first"
    inline = two_variants(first, fits)
    inline = replace(inline, variants=tuple(replace(variant, inline=True) for variant in inline.variants))
    assert load(inline, None, registry=make_registry()).variant.name == "second"


def test_when_none_fits_the_error_names_both_sides():
    module = two_variants({"features": ["numpy", "avx999"]}, {"executable_format": "thalweg-other-1"})
    with pytest.raises(NotSupported) as caught:
        load(module, prepared_device(), registry=make_registry())
    assert str(caught.value) == (
        "module 'sample' has no variant for fake://: variant 'first' (fake) needs features avx999;"
        " variant 'second' (fake) needs executable format thalweg-other-1;"
        f" fake:// offers kind local, formats {FORMAT}, of these features numpy; compile the model for it"
    )


def test_an_unknown_predicate_fits_nothing():
    with pytest.raises(NotSupported, match="has a predicate 'moon_phase' that this Thalweg does not know"):
        load(make_module(moon_phase="full"), prepared_device(), registry=make_registry())


def test_without_a_device_only_inline_variants_fit():
    assert answer(load(make_module(inline=True), None, registry=make_registry())) == -3
    with pytest.raises(NotSupported, match=r"has no variant for the host: variant 'fake' .* offers formats"):
        load(make_module(), None, registry=make_registry())


@pytest.mark.parametrize("inline", [False, True])
def test_machine_code_is_refused_when_asked(inline):
    device = prepared_device()
    portable = make_registry(capabilities=frozenset({"host-kernels"}))
    assert answer(load(make_module(inline), device, allow_native=False, registry=portable)) == -3
    native = make_registry(capabilities=frozenset())
    assert answer(load(make_module(inline), device, registry=native)) == -3
    message = f"executable 'kernels' is machine code \\({FORMAT}\\) and allow_native=False"
    with pytest.raises(PermissionDenied, match=message):
        load(make_module(inline), device, allow_native=False, registry=native)


def test_machine_code_is_passed_over_where_a_portable_variant_fits():
    module = two_variants({"executable_format": FORMAT}, {"device_kind": "local"})
    native, portable = module.variants
    records = tuple(replace(record, format="thalweg-portable-1") for record in portable.executables)
    module = replace(module, variants=(native, replace(portable, executables=records)))
    portable_only = Loaders(make_registry())
    portable_only.is_native = lambda executable_format: executable_format == FORMAT
    assert select_variant(module, prepared_device(), portable_only).name == "first"
    assert select_variant(module, prepared_device(), portable_only, allow_native=False).name == "second"


def test_machine_code_is_refused_before_it_is_prepared(monkeypatch):
    device = prepared_device()
    monkeypatch.setattr(device, "prepare_executable", lambda record: pytest.fail("prepared"))
    with pytest.raises(PermissionDenied):
        load(make_module(), device, allow_native=False, registry=make_registry(capabilities=frozenset()))


def test_a_device_given_by_uri_is_closed_with_the_program():
    driver = FakeDriver()
    with load(make_module(), "fake://", registry=make_registry(driver=driver)) as program:
        assert answer(program) == -3 and program.device is driver.devices[0]
        assert not driver.devices[0].closed
    assert driver.devices[0].closed
    program.close()
    with pytest.raises(UnknownName, match="no function 'main'"):
        program["main"]


def test_a_device_given_by_uri_is_closed_when_loading_fails():
    driver = FakeDriver()
    with pytest.raises(NotSupported):
        load(make_module(device_kind="gpu"), "fake", registry=make_registry(driver=driver))
    assert driver.devices[0].closed


def test_a_device_given_as_such_stays_open():
    device = prepared_device()
    load(make_module(), device, registry=make_registry()).close()
    assert not device.closed


def test_an_unknown_driver_is_refused_by_name():
    with pytest.raises(UnknownName, match="no HAL driver named 'fakr'; installed: fake"):
        load(make_module(), "fakr", registry=make_registry())


def test_a_program_says_what_it_holds():
    program = load(make_module(), prepared_device(), registry=make_registry())
    assert list(program.functions) == ["main", "strict", "empty", "half", "flags", "copy"]
    assert repr(program.main) == "<function main(x: f32[2, 3], s: f32[]) -> (y: f32[2, 3], n: i64[])>"
    assert repr(program).startswith("<program 'sample' on fake://, variant 'fake': <function main(")
    assert program.main.signature.inputs[0].name == "x" and program.main.name == "main"
    assert "main" in dir(program)


def test_nothing_of_a_device_is_held_after_it_is_dropped():
    device = RemoteDevice()
    program = load(make_module(), device, registry=make_registry())
    program.copy(np.zeros(16, np.float32))
    del program
    assert device.allocator.statistics()["live_buffers"] == 0


def test_the_runtime_reaches_no_compiler():
    folder = Path(thalweg.runtime.__file__).parent
    for path in [*folder.glob("*.py"), *folder.parent.joinpath("module").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith(("thalweg.ir", "thalweg.compiler", "thalweg.codegen", "xdsl")), (
                    path
                )
