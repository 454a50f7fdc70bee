"""The compile cache through the command line and ``thalweg.compile``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import thalweg as tw
from thalweg.compiler import cache
from thalweg.compiler.cache_key import Tools, tools_of
from thalweg.module.file import module_bytes
from thalweg.tools.compile_report import read_report

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def doubling(plugins, monkeypatch):
    """The made-up target; whoever edits the compiler's files while this runs changes nothing."""
    plugins("doubling_plugin")
    known: dict[str, Tools] = {}

    def settled(registry, target_backends):
        key = ",".join(target_backends)
        if key not in known:
            known[key] = Tools(tools_of(registry, target_backends).identity, 0)
        return known[key]

    monkeypatch.setattr(cache, "tools_of", settled)


@pytest.fixture
def compile_(thalweg, model, tmp_path):
    """Return a function that compiles, and returns the module's bytes and whether they are from the cache."""

    def run(*options: str) -> tuple[bytes, bool]:
        outcome = thalweg("compile", model, "-o", tmp_path / "out.twm", "-v", *options)
        assert outcome.status == 0, outcome.err
        last = outcome.err.splitlines()[-1]
        assert last.startswith("wrote ")
        return (tmp_path / "out.twm").read_bytes(), ", from the cache, in " in last

    return run


def stored(kind: str) -> list[Path]:
    return sorted((Path(os.environ["THALWEG_CACHE_DIR"]) / kind).iterdir())


def test_the_second_compilation_is_from_the_cache_and_the_same(compile_, tmp_path):
    first, found = compile_()
    assert not found
    report = read_report(tmp_path / "out.twm")
    assert compile_() == (first, True)
    assert read_report(tmp_path / "out.twm") == report
    assert report is not None and report["target_backends"] == ["doubling"]


def test_other_options_and_other_models_are_compiled(compile_, model):
    first, _ = compile_()
    tripled, found = compile_("--doubling-factor=3")
    assert not found and tripled != first
    assert compile_("--opt-level=O3")[1] is False
    model.write_text(model.read_text().replace("2.0", "4.0"))
    assert compile_()[1] is False
    assert compile_("--doubling-factor=3")[1] is False  # of the other model
    assert compile_("--doubling-factor=3")[1] is True


def test_no_cache_neither_takes_nor_keeps(compile_):
    assert compile_("--no-cache")[1] is False
    assert stored("modules") == stored("entries") == []
    assert len(stored("compile-reports")) == 1
    compile_()
    assert compile_("--no-cache")[1] is False


def test_what_is_to_be_dumped_is_compiled(compile_, tmp_path):
    compile_()
    assert compile_(f"--dump-dir={tmp_path / 'dumps'}")[1] is False
    assert list((tmp_path / "dumps").iterdir())


def test_a_cache_of_size_zero_keeps_nothing(compile_, monkeypatch):
    monkeypatch.setenv("THALWEG_CACHE_SIZE", "0")
    compile_()
    assert compile_()[1] is False
    assert stored("modules") == []


def test_a_damaged_module_is_compiled_again_with_a_warning(compile_, caplog):
    first, _ = compile_()
    (path,) = stored("modules")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert compile_() == (first, False)
    assert f"compile cache: module {path.name} does not have its digest; it is dropped" in caplog.text
    assert compile_() == (first, True)


def test_changing_the_output_in_place_leaves_the_cache_alone(compile_, tmp_path):
    first, _ = compile_()
    compile_()
    with open(tmp_path / "out.twm", "r+b") as file:
        file.write(b"overwritten")
    assert compile_() == (first, True)


def test_a_plugin_that_was_edited_is_compiled_with(compile_, monkeypatch):
    compile_()

    def edited(registry, target_backends):
        return Tools({**tools_of(registry, target_backends).identity, "files": "edited"}, 0)

    monkeypatch.setattr(cache, "tools_of", edited)
    assert compile_()[1] is False


def test_a_wrong_size_is_one_clear_line(thalweg, model, tmp_path, monkeypatch):
    monkeypatch.setenv("THALWEG_CACHE_SIZE", "big")
    outcome = thalweg("compile", model, "-o", tmp_path / "out.twm")
    assert outcome.status == 1
    assert outcome.err.startswith("thalweg: error: THALWEG_CACHE_SIZE='big' is not a size")


def test_a_folder_that_others_can_write_to_is_not_used(compile_, tmp_path, caplog):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    assert compile_()[1] is False
    assert "cache can be written to by others; chmod 700 it" in caplog.text
    assert list((tmp_path / "cache").iterdir()) == []


def test_cache_command(thalweg, compile_, tmp_path):
    compile_()
    shown = json.loads(thalweg("cache", "--json").out)
    assert shown["folder"] == str(tmp_path / "cache") and shown["limit"] == 8 << 30
    assert (shown["modules"], shown["entries"], shown["reports"]) == (1, 1, 1) and shown["bytes"] > 0
    assert "1 modules of 1 compilations, " in thalweg("cache").out
    assert json.loads(thalweg("cache", "--clear", "--json").out)["bytes"] == 0
    assert compile_()[1] is False


def run_elsewhere(model: Path, output: Path, *python: str) -> subprocess.Popen[str]:
    """Start the program in a process of its own, with the made-up target."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "THALWEG_PLUGINS": "doubling_plugin"}
    command = [sys.executable, *python, "-m", "thalweg", "compile", str(model), "-o", str(output), "-v"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_that_compile_one_model_at_once_all_get_it(model, tmp_path):
    outputs = [tmp_path / f"{number}.twm" for number in range(3)]
    running = [run_elsewhere(model, output) for output in outputs]
    for process in running:
        _, error = process.communicate(timeout=100)
        assert process.returncode == 0, error
    assert len({output.read_bytes() for output in outputs}) == 1
    assert not list(Path(os.environ["THALWEG_CACHE_DIR"]).rglob("*.partial"))


def test_a_module_from_the_cache_needs_no_compiler(model, tmp_path):
    last, imported = "", set[str]()
    for _ in range(3):  # somebody may edit the compiler's files between two of them
        _, error = run_elsewhere(model, tmp_path / "a.twm").communicate(timeout=100)
        assert error.splitlines()[-1].startswith("wrote "), error
        _, error = run_elsewhere(model, tmp_path / "b.twm", "-X", "importtime").communicate(timeout=100)
        lines = error.splitlines()
        last, imported = lines[-1], {line.rpartition("|")[2].strip() for line in lines[:-1]}
        if ", from the cache, in " in last:
            break
    assert ", from the cache, in " in last
    assert "thalweg.compiler.cache_store" in imported
    slow = {"xdsl", "onnx", "llvmlite", "thalweg.ir", "thalweg.compiler.api", "thalweg.module.file"}
    assert not slow & imported


# thalweg.compile


@pytest.fixture
def compilations(monkeypatch) -> list[object]:
    """What ``compile_model`` was asked to compile."""
    from thalweg.compiler import api

    asked: list[object] = []
    compile_model = api.compile_model

    def count(source, **settings):
        asked.append(source)
        return compile_model(source, **settings)

    monkeypatch.setattr(api, "compile_model", count)
    return asked


def test_a_file_is_cached_and_the_module_found_is_the_same(model, compilations):
    first = tw.compile(model, doubling_factor=5)
    second = tw.compile(str(model), doubling_factor=5)
    assert len(compilations) == 1
    assert module_bytes(first) == module_bytes(second)
    assert tw.compile(model, doubling_factor=5, cache=False).variants == first.variants
    assert len(compilations) == 2
    shutil.rmtree(os.environ["THALWEG_CACHE_DIR"])
    assert module_bytes(second) == module_bytes(first)  # its mapping outlives the file


def test_a_model_in_memory_is_cached_if_asked(model, compilations):
    from thalweg.ir.program import Program

    def compile_program(text: str, cache: bool | None = None) -> bytes:
        return module_bytes(tw.compile(Program.parse(text), cache=cache))

    text = model.read_text()
    first = compile_program(text)
    assert compile_program(text) == first and len(compilations) == 2
    assert compile_program(text, cache=True) == first and len(compilations) == 3
    assert compile_program(text, cache=True) == first and len(compilations) == 3
    assert compile_program(text.replace("2.0", "4.0"), cache=True) and len(compilations) == 4


def test_a_phase_is_always_compiled(model, compilations, tmp_path):
    for _ in range(2):
        tw.compile(model, compile_to="abi", cache=True)
    assert len(compilations) == 2 and not (tmp_path / "cache").exists()


def test_tests_have_a_cache_of_their_own():
    folder = os.environ["THALWEG_CACHE_DIR"]
    assert not folder.startswith(os.path.expanduser("~/.cache")) and not os.path.exists(folder)
