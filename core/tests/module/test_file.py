"""The module file: round trips, determinism, the container, and how it is written."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from thalweg.errors import InvalidArgument, ModuleFormatError
from thalweg.hal.kernel_abi import KERNEL_ABI_VERSION
from thalweg.module import container
from thalweg.module.file import module_bytes, read_module, write_module
from thalweg.module.manifest import ABI_VERSION
from thalweg.module.module import Module


def assert_same(found: Module, expected: Module) -> None:
    assert found.functions == expected.functions
    assert found.variants == expected.variants
    assert (found.name, found.producer) == (expected.name, expected.producer)
    assert list(found.constants) == list(expected.constants)
    for name, array in expected.constants.items():
        assert found.constants[name].dtype == array.dtype
        assert found.constants[name].shape == array.shape
        assert found.constants[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("verify", ["code", "full"])
def test_a_module_comes_back_as_it_was_written(module, data, tmp_path, verify):
    path = tmp_path / "sample.twm"
    write_module(module, path)
    assert path.read_bytes() == data
    assert_same(read_module(path, verify), module)
    assert_same(read_module(str(path), verify), module)
    assert_same(read_module(data, verify), module)


def test_constants_are_read_only_aligned_views_of_the_mapped_file(module, tmp_path):
    path = tmp_path / "sample.twm"
    write_module(module, path)
    constants = read_module(path).constants
    for name, array in constants.items():
        assert (not array.flags.writeable and not array.flags.owndata) or not array.size, name
        assert not array.size or array.ctypes.data % 64 == 0, name
    assert constants["weight"].ctypes.data == constants["same"].ctypes.data, "equal constants are stored once"


def test_the_file_does_not_grow_with_equal_constants(module, data):
    more = replace(module, constants={**module.constants, "again": module.constants["large"].copy()})
    assert len(module_bytes(more)) - len(data) < 200


def test_an_ordinary_unzip_opens_it_and_finds_aligned_data(module, data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "manifest.json"
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            at = info.header_offset
            extra = int.from_bytes(data[at + 28 : at + 30], "little")
            start = at + 30 + len(info.filename) + extra
            assert start % 64 == 0, info.filename
            assert data[start : start + info.file_size] == archive.read(info)


def test_the_archive_is_the_same_in_zip64_form(module, data, monkeypatch):
    monkeypatch.setattr(container, "ZIP32_LIMIT", 1 << 20)
    wide = module_bytes(module)
    assert wide != data
    with zipfile.ZipFile(io.BytesIO(wide)) as archive:
        assert archive.testzip() is None
    assert_same(read_module(wide, "full"), module)


def test_equal_modules_give_equal_bytes_whatever_the_hash_seed(tmp_path):
    script = (
        "import runpy, sys; from thalweg.module.file import write_module;"
        "write_module(runpy.run_path(sys.argv[1])['sample_module'](), sys.argv[2])"
    )
    sample = str(Path(__file__).with_name("conftest.py"))
    paths = [tmp_path / "one.twm", tmp_path / "two.twm"]
    for seed, path in enumerate(paths, start=1):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", script, sample, str(path)], check=True, env=environment)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_file_s_abi_is_the_kernels_abi():
    assert ABI_VERSION == KERNEL_ABI_VERSION


def test_an_open_file_can_be_written_to(module, data):
    file = io.BytesIO()
    write_module(module, file)
    assert file.getvalue() == data


def test_an_existing_file_keeps_its_content_when_writing_fails(module, tmp_path, monkeypatch):
    path = tmp_path / "sample.twm"
    path.write_bytes(b"before")
    monkeypatch.setattr("thalweg.module.writer.os.replace", _no_space)
    with pytest.raises(InvalidArgument, match=r"cannot write .*sample.twm: No space left on device"):
        write_module(module, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sample.twm"]
    assert path.read_bytes() == b"before"


def _no_space(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/sample.twm", "No such file or directory"),
        ("", "Is a directory"),
        ("file/x.twm", "Not a directory"),
    ],
)
def test_an_unwritable_path_is_refused_and_nothing_is_left_behind(module, tmp_path, name, message):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidArgument, match=rf"cannot write .*: {message}"):
        write_module(module, tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_module_whose_records_do_not_fit_is_not_written(module, tmp_path):
    broken = replace(module, variants=(replace(module.variants[0], constants=("weight", "absent")),))
    with pytest.raises(ModuleFormatError, match="'absent'"):
        write_module(broken, tmp_path / "sample.twm")
    assert not list(tmp_path.iterdir())


def test_statistics_that_json_cannot_hold_are_refused(module):
    variant = replace(module.variants[0], statistics={"bad": np.float32(1)})
    with pytest.raises(InvalidArgument, match="JSON values only"):
        module_bytes(replace(module, variants=(variant,)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a Thalweg module: the file is empty"),
        (b"hello, this is text and not an archive", "not a Thalweg module: no ZIP header"),
        (b"PK\x03\x04" + bytes(60), "not a Thalweg module: its first entry is ''"),
    ],
)
def test_another_kind_of_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "other.twm"
    path.write_bytes(content)
    with pytest.raises(ModuleFormatError, match=rf"other.twm is {message}"):
        read_module(path)


def test_an_ordinary_archive_is_refused(tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
    with pytest.raises(ModuleFormatError, match=r"other.zip is truncated or damaged"):
        read_module(path)


def test_a_path_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match=r"no such file: .*absent.twm"):
        read_module(tmp_path / "absent.twm")
    with pytest.raises(InvalidArgument, match=r"cannot read .*: Is a directory"):
        read_module(tmp_path)
    with pytest.raises(InvalidArgument, match="verify is 'code' or 'full'; got 'all'"):
        read_module(tmp_path, "all")  # type: ignore[arg-type]  (a wrong value is what is tested)
