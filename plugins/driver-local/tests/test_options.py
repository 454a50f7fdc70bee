"""The driver's parameters and environment: threads, processor, and the library that may be missing."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest
import thalweg_driver_local
from thalweg.api import InvalidArgument, PluginError, Unavailable, UnknownName
from thalweg_driver_local import native
from thalweg_driver_local.cpu_features import machine_features
from thalweg_driver_local.driver import (
    LocalDriver,
    available_processors,
    parse_processor,
    parse_threads,
)

from .conftest import make_loaders


def create(name="local-task", **params):
    device = LocalDriver(name, make_loaders()).create_device("", params)
    device.close()
    return device


@pytest.mark.parametrize("count", ["1", "2", "7"])
def test_threads_are_those_of_the_parameter(count, monkeypatch):
    monkeypatch.setenv("THALWEG_NUM_THREADS", "3")
    device = create(threads=count, processor="native")
    assert device.query("hal.device", "concurrency") == int(count)
    assert device.identifier == f"local-task://?processor=native&threads={count}"


def test_threads_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("THALWEG_NUM_THREADS", "3")
    assert create(processor="native").query("hal.device", "concurrency") == 3


@pytest.mark.parametrize("value", [None, ""])
def test_there_is_a_thread_for_each_processor_otherwise(value, monkeypatch):
    monkeypatch.delenv("THALWEG_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("THALWEG_NUM_THREADS", value)
    assert create(processor="native").query("hal.device", "concurrency") == available_processors()


def test_local_sync_has_one_thread(monkeypatch):
    monkeypatch.setenv("THALWEG_NUM_THREADS", "3")
    assert create("local-sync").query("hal.device", "concurrency") == 1


@pytest.mark.parametrize("text", ["0", "-1", "1025", "two", "1.5", " 2", "٣", "", "1_0", "9" * 400])
def test_a_bad_number_of_threads_is_one_clear_line(text):
    with pytest.raises(InvalidArgument) as caught:
        parse_threads(text, {})
    assert str(caught.value) == f"threads={text!r} is not a number of threads from 1 to 1024"


@pytest.mark.parametrize("text", ["0", "many"])
def test_a_bad_number_in_the_environment_names_the_variable(text):
    with pytest.raises(InvalidArgument, match=f"THALWEG_NUM_THREADS='{text}' is not a number of threads"):
        parse_threads(None, {"THALWEG_NUM_THREADS": text})


def test_a_bad_processor_is_one_clear_line():
    for parameter, environment, source in (
        ("fast", {}, "processor"),
        (None, {"THALWEG_LOCAL_PROCESSOR": "fast"}, "THALWEG_LOCAL_PROCESSOR"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            parse_processor(parameter, environment)
        message = f"{source}='fast' is not a processor; it is one of: auto, native, python"
        assert str(caught.value) == message


def test_the_processor_is_the_parameters_else_the_environments(monkeypatch):
    monkeypatch.setenv("THALWEG_LOCAL_PROCESSOR", "python")
    assert create().processor == "python"
    assert create(processor="native").processor == "native"
    monkeypatch.delenv("THALWEG_LOCAL_PROCESSOR")
    assert create().processor == "native"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("local-sync", "features, perf_map, processor"),
        ("local-task", "features, perf_map, processor, threads"),
    ],
)
def test_an_unknown_parameter_is_refused(name, known):
    with pytest.raises(InvalidArgument) as caught:
        create(name, colour="red")
    assert str(caught.value) == f"{name} has no parameter 'colour'; it has: {known}"


def test_local_sync_has_no_threads_to_choose():
    with pytest.raises(InvalidArgument, match="local-sync has no parameter 'threads'"):
        create("local-sync", threads="2")


def test_a_device_hides_the_features_that_it_is_told_to():
    (feature, *_) = features = sorted(machine_features())
    device = LocalDriver("local-sync").create_device("", {"features": f" -{feature}, -avx512fp16"})
    assert device.identifier == f"local-sync://?{urlencode({'features': f' -{feature}, -avx512fp16'})}"
    answers = {name: device.query("hal.device.feature", name) for name in (*features, "avx512fp16")}
    assert answers == {name: int(name not in (feature, "avx512fp16")) for name in answers}
    device.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("avx2", "features='avx2': write -avx2 to hide a feature; a device cannot gain one"),
        ("-fma,+avx2", "features='-fma,+avx2': write -avx2 to hide a feature; a device cannot gain one"),
        ("-avx22", "features='-avx22': no processor feature is named 'avx22' (did you mean 'avx2'?)"),
        ("-", "features='-': no processor feature is named ''"),
    ],
)
def test_a_bad_mask_of_features_is_one_clear_line(text, message):
    with pytest.raises(InvalidArgument) as caught:
        create(features=text)
    assert str(caught.value) == message


def test_a_path_is_refused():
    driver = LocalDriver("local-sync", make_loaders())
    for use in (driver.create_device, driver.dump_device_info):
        with pytest.raises(UnknownName, match="local-sync has no device 'gpu0'; it has one device"):
            use("gpu0")


def test_there_is_one_device():
    (device,) = LocalDriver("local-task").query_available_devices()
    assert (device.device_id, device.path, device.name) == (0, "", "default")


def test_the_device_is_described():
    info = LocalDriver("local-task", make_loaders()).dump_device_info()
    assert info["processors"] == available_processors() and "thalweg-elf" in str(info["executable formats"])


# ---- the library is missing, or is another one -------------------------------------------------------------


@pytest.fixture
def no_library(monkeypatch, tmp_path):
    """Make the package look for its library where there is none."""
    monkeypatch.setattr(native, "library_path", lambda: tmp_path / native.LIBRARY_NAME)
    native.load_library.cache_clear()
    yield tmp_path / native.LIBRARY_NAME
    monkeypatch.undo()
    native.load_library.cache_clear()


def test_without_the_library_the_python_processor_takes_over_with_a_warning(no_library, caplog):
    with caplog.at_level(logging.WARNING, "thalweg.driver.local"):
        assert create().processor == "python"
    (record,) = caplog.records
    assert record.getMessage() == (
        "local-task://: the plain Python processor takes over,"
        " the package was built without its native library"
    )


def test_without_the_library_asking_for_it_fails(no_library):
    with pytest.raises(Unavailable) as caught:
        create(processor="native")
    assert str(caught.value) == (
        "local-task://?processor=native: the package was built without its native library;"
        " install the package where there is a C compiler"
    )


def test_asking_for_the_python_processor_is_logged(caplog):
    with caplog.at_level(logging.WARNING, "thalweg.driver.local"):
        assert create(processor="python").processor == "python"
    assert "the plain Python processor takes over, as asked for" in caplog.text


def test_a_library_that_is_none_is_an_error(no_library):
    no_library.write_bytes(b"not a library")
    with pytest.raises(
        PluginError, match=r"libthalweg_local\.so cannot be loaded: .*; install the package anew"
    ):
        create()


@pytest.mark.parametrize("version", [native.LIBRARY_VERSION - 1, native.LIBRARY_VERSION + 1])
def test_a_library_of_another_version_is_an_error(no_library, version, tmp_path):
    functions = "\n".join(
        f"void {name}(void) {{}}" for name in native.SIGNATURES if name != "tw_library_version"
    )
    source = tmp_path / "other.c"
    source.write_text(f"{functions}\nunsigned tw_library_version(void) {{ return {version}; }}\n")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(no_library)], check=True)
    with pytest.raises(PluginError, match=f"has version {version}, not {native.LIBRARY_VERSION}; install"):
        create()


def test_an_older_library_without_some_function_is_an_error(no_library, tmp_path):
    source = tmp_path / "other.c"
    source.write_text("unsigned tw_library_version(void) { return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(no_library)], check=True)
    with pytest.raises(PluginError, match=r"cannot be loaded: .*undefined symbol"):
        create()


def test_a_package_without_the_library_runs_in_a_fresh_process(tmp_path):
    """A copy of the package without its library, first on the path: work is done and the warning is shown."""
    copy = tmp_path / "thalweg_driver_local"
    source = Path(thalweg_driver_local.__file__).parent
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    script = """
from thalweg.hal.command_buffer import BufferRef
from thalweg_driver_local.driver import LocalDriver
device = LocalDriver("local-task").create_device()
done = device.create_semaphore()
device.queue_fill(BufferRef(device.allocator.allocate(16)), b"\\x01", signal=[(done, 1)])
done.wait(1, 30)
print(device.processor)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (ran.returncode, ran.stdout) == (0, "python\n"), ran.stderr
    assert "the plain Python processor takes over" in ran.stderr
