"""Names of loaded kernels for ``perf``."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from thalweg.api import InvalidArgument
from thalweg.hal.executable import CodeSymbol
from thalweg_driver_local import perf_map
from thalweg_driver_local.driver import LocalDriver
from thalweg_driver_local.elf_loader import ElfLoader
from thalweg_driver_local.loading import LoaderEntry, LoaderSet
from thalweg_driver_local.plugin import ELF_FORMATS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of maps, empty."""
    monkeypatch.setattr(perf_map, "PERF_MAP_FOLDER", tmp_path)
    monkeypatch.delenv(perf_map.PERF_MAP_VARIABLE, raising=False)
    return tmp_path


def driver() -> LocalDriver:
    return LocalDriver("local-sync", LoaderSet([LoaderEntry("elf", ELF_FORMATS, ElfLoader)]))


def read_map(folder) -> dict[str, tuple[int, int]]:
    """Return name → (address, size)."""
    rows = [line.split() for line in (folder / f"perf-{os.getpid()}.map").read_text().splitlines()]
    assert all(len(row) == 3 for row in rows)
    return {name: (int(address, 16), int(size, 16)) for address, size, name in rows}


def native_kernels(executable) -> dict[str, int]:
    pairs = zip(executable.entries, executable.library.kernels, strict=True)
    return {entry.name: kernel.address for entry, kernel in pairs}


@pytest.mark.parametrize("by", ["parameter", "environment"])
def test_every_loaded_kernel_is_named_with_its_address_and_size(folder, monkeypatch, kernel_record, by):
    if by == "environment":
        monkeypatch.setenv(perf_map.PERF_MAP_VARIABLE, "1")
    device = driver().create_device("", {"perf_map": "1"} if by == "parameter" else {})
    executable = device.prepare_executable(kernel_record)
    found = read_map(folder)
    kernels = native_kernels(executable)
    assert kernels.items() <= {name: address for name, (address, _) in found.items()}.items()
    assert all(found[name][1] > 0 for name in kernels)
    spans = sorted(found[name] for name in kernels)
    assert all(a + size <= b for (a, size), (b, _) in pairwise(spans))
    assert (folder / f"perf-{os.getpid()}.map").stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_unasked(folder, kernel_record):
    driver().create_device().prepare_executable(kernel_record)
    driver().create_device("", {"perf_map": "0"}).prepare_executable(kernel_record)
    assert list(folder.iterdir()) == []


def test_two_executables_share_the_map(folder, kernel_record):
    device = driver().create_device("", {"perf_map": "1"})
    first, second = (device.prepare_executable(kernel_record) for _ in range(2))
    addresses = {int(line.split()[0], 16) for line in next(folder.iterdir()).read_text().splitlines()}
    assert {*native_kernels(first).values(), *native_kernels(second).values()} <= addresses


def test_a_name_from_a_module_cannot_make_a_line_of_its_own(folder):
    perf_map.write_symbols([CodeSymbol(16, 4, "a\n0 ffff libc"), CodeSymbol(32, 4, "b")])
    assert read_map(folder) == {"a_0_ffff_libc": (16, 4), "b": (32, 4)}


def test_a_link_in_the_place_of_the_map_is_not_followed(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("elsewhere") / "file"
    target.write_text("kept")
    perf_map.map_path().symlink_to(target)
    with pytest.raises(InvalidArgument, match="cannot write the perf map"):
        perf_map.write_symbols([CodeSymbol(16, 4, "a")])
    assert target.read_text() == "kept"


def test_another_value_is_refused(folder, monkeypatch):
    with pytest.raises(InvalidArgument, match="perf_map='yes' is not 0 or 1"):
        driver().create_device("", {"perf_map": "yes"})
    monkeypatch.setenv(perf_map.PERF_MAP_VARIABLE, "2")
    with pytest.raises(InvalidArgument, match="THALWEG_PERF_MAP='2' is not 0 or 1"):
        driver().create_device()
