"""``thalweg compile``: options of plugins, phases, output written whole or not at all, and the report."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from thalweg.tools import compile_command
from thalweg.tools.compile_report import report_path
from thalweg.tools.output_file import replacing


@pytest.fixture(autouse=True)
def doubling(plugins):
    plugins("doubling_plugin")


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def test_compiles_for_the_only_target_by_default(thalweg, model, tmp_path):
    outcome = thalweg("compile", model, "-o", tmp_path / "out.twm")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert left_in(tmp_path) == ["double.mlir", "out.twm"]


@pytest.mark.parametrize("flags", [["--doubling-factor=3"], ["--doubling_factor", "3"]])
def test_options_of_the_target_backend(thalweg, model, tmp_path, flags):
    out = tmp_path / "out.twm"
    assert thalweg("compile", model, "-o", out, "--target_backend=doubling", *flags).status == 0
    assert thalweg("run", out, "--input=4xf32=1").out.endswith("4xf32=3 3 3 3\n")


def test_help_shows_the_options_of_the_plugins(thalweg):
    outcome = thalweg("compile", "--help")
    assert outcome.status == 0
    assert "--doubling-factor" in outcome.out
    assert "what to multiply by; default: 2" in " ".join(outcome.out.split())


def test_verbose_names_each_phase(thalweg, model, tmp_path):
    outcome = thalweg("compile", model, "-o", tmp_path / "out.twm", "-v")
    phases = [line.rpartition("] ")[2] for line in outcome.err.splitlines()]
    assert phases[0] == "input"
    assert "dispatch-creation" in phases
    assert re.fullmatch(r"wrote .*/out\.twm: [\d,]+ bytes, doubling, in \d+\.\d\d s", phases[-1])


def test_compile_to_prints_the_phase(thalweg, model, tmp_path):
    outcome = thalweg("compile", model, "--compile-to=abi")
    assert outcome.status == 0
    assert 'tw.abi = "main(x: 4xf32) -> (y: 4xf32)"' in outcome.out
    written = tmp_path / "abi.mlir"
    assert thalweg("compile", model, "--compile_to=abi", "-o", written).out == ""
    assert written.read_text() == outcome.out


def test_the_report_is_kept_by_the_modules_digest(thalweg, compiled):
    path = report_path(compiled)
    assert path.parent == Path(os.environ["THALWEG_CACHE_DIR"]) / "compile-reports"
    report = json.loads(path.read_text())
    assert report["target_backends"] == ["doubling"]
    assert set(report["phase_seconds"]) >= {"input", "flow", "stream", "end"}


def test_a_cache_that_cannot_be_written_is_a_warning(thalweg, model, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where a folder should be")
    outcome = thalweg("compile", model, "-o", tmp_path / "out.twm")
    assert outcome.status == 0
    assert "the compile cache cannot be used: " in caplog.text
    assert f"{tmp_path}/cache: File exists" in caplog.text
    assert (tmp_path / "out.twm").stat().st_size


@pytest.mark.parametrize(
    "output, message",
    [
        ("no/out.twm", "cannot write '{folder}/no/out.twm': No such file or directory"),
        ("", "cannot write '{folder}': it is a folder"),
        ("double.mlir/out.twm", "cannot write '{folder}/double.mlir/out.twm': Not a directory"),
    ],
)
def test_an_unwritable_output_is_known_before_compiling(
    thalweg, model, tmp_path, monkeypatch, output, message
):
    monkeypatch.setattr(compile_command, "_compile", lambda *_: pytest.fail("it compiled"))
    outcome = thalweg("compile", model, "-o", tmp_path / output if output else tmp_path)
    assert (outcome.status, outcome.err) == (1, f"thalweg: error: {message.format(folder=tmp_path)}\n")
    assert left_in(tmp_path) == ["double.mlir"]


def test_a_failed_compilation_leaves_the_old_file(thalweg, model, tmp_path):
    out = tmp_path / "out.twm"
    out.write_text("old")
    outcome = thalweg("compile", model, "-o", out, "--doubling-fails")
    assert outcome.status == 1
    assert outcome.err.startswith("thalweg: error: ")
    assert "not supported: doubling" in outcome.err
    assert out.read_text() == "old"
    assert left_in(tmp_path) == ["double.mlir", "out.twm"]


def test_an_interrupted_compilation_leaves_nothing(thalweg, model, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(compile_command, "_compile", interrupt)
    outcome = thalweg("compile", model, "-o", tmp_path / "out.twm")
    assert (outcome.status, outcome.err) == (130, "thalweg: interrupted\n")
    assert left_in(tmp_path) == ["double.mlir"]


def test_a_replaced_file_keeps_its_mode_and_its_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert (target.read_text(), target.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["{model}"], 2, "-o OUT is needed"),
        ([], 2, "a MODEL is needed"),
        (["{model}", "-o", "-"], 1, "a module is not written to standard output; name a file with -o"),
        (["{folder}/no.onnx", "-o", "{folder}/o.twm"], 1, "no such file: {folder}/no.onnx"),
        (["{model}", "-o", "{folder}/o.twm", "--target-backend=doublin"], 1, "(did you mean 'doubling'?)"),
        (["{model}", "-o", "{folder}/o.twm", "--compile-to=flw"], 1, "no phase 'flw'"),
        (["{model}", "-o", "{folder}/o.twm", "--opt-level=O9"], 2, "invalid choice: 'O9'"),
        (["{model}", "-o", "{folder}/o.twm", "--doubling-factor=x"], 1, "is of type int; got 'x'"),
        (
            ["{model}", "-o", "{folder}/o.twm", "--target-cpu=host"],
            2,
            "unrecognized arguments: --target-cpu=host",
        ),
        (["{folder}/bad.mlir", "-o", "{folder}/o.twm"], 1, "bad.mlir is not valid IR"),
    ],
)
def test_mistakes(thalweg, model, tmp_path, arguments, status, message):
    (tmp_path / "bad.mlir").write_text("func.func {")
    before = left_in(tmp_path)
    outcome = thalweg("compile", *(text.format(model=model, folder=tmp_path) for text in arguments))
    assert outcome.status == status
    assert outcome.err.startswith("thalweg: error: ")
    assert message.format(folder=tmp_path) in outcome.err
    assert "Traceback" not in outcome.err
    assert left_in(tmp_path) == before


def test_a_compiler_that_is_not_installed(thalweg, model, tmp_path, monkeypatch):
    find_spec = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "xdsl" else find_spec(name))
    outcome = thalweg("compile", model, "-o", tmp_path / "out.twm")
    assert outcome.status == 1
    assert outcome.err.endswith("xdsl, which is not installed; pip install 'thalweg[compiler]'\n")


def test_a_plugin_whose_option_the_command_has_itself(thalweg, model, tmp_path, monkeypatch):
    import doubling_plugin

    option = doubling_plugin.Options.__dataclass_fields__["factor"]
    monkeypatch.setattr(option, "metadata", {"flag": "--output"})
    outcome = thalweg("compile", model, "-o", tmp_path / "out.twm")
    assert outcome.status == 1
    assert "target backend 'doubling' declares the option --output" in outcome.err
