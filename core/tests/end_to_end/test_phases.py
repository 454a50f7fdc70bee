"""``--compile-to``, ``--dump-dir`` and ``thalweg inspect`` on a real model."""

from __future__ import annotations

import json
import re

import pytest
from thalweg.compiler.pipeline import PHASES

TEXT_PHASES = PHASES[:-1]
"""All but ``end``, which is the module file."""


@pytest.fixture(scope="module")
def dump(compile_elsewhere, require, mnist, tmp_path_factory):
    """What ``--dump-dir`` holds after mnist12 was compiled for llvm-cpu."""
    require(target_backends="llvm-cpu")
    folder = tmp_path_factory.mktemp("dump")
    compile_elsewhere(mnist, folder / "m.twm", "--target-backend=llvm-cpu", f"--dump-dir={folder / 'dump'}")
    return folder / "dump"


@pytest.mark.parametrize("phase", TEXT_PHASES)
def test_each_phase_prints_what_parses_back(thalweg, require, mnist, tmp_path, phase):
    require(target_backends="vmvx")
    printed = thalweg("compile", mnist, "--target-backend=vmvx", f"--compile-to={phase}")
    assert (printed.status, printed.err) == (0, "") and printed.out
    path = tmp_path / f"{phase}.mlir"
    path.write_text(printed.out)
    parsed = thalweg("opt", path)
    assert (parsed.status, parsed.err) == (0, "")
    assert parsed.out == printed.out


def test_the_last_phase_gives_a_module_not_text(mistake, require, mnist):
    require(target_backends="vmvx")
    line = mistake("compile", mnist, "--target-backend=vmvx", "--compile-to=end")
    assert line.startswith("-o OUT is needed")


def test_phases_hold_what_they_are_named_for(dump):
    text = {
        phase: (dump / f"{number:02d}-{phase}.mlir").read_text() for number, phase in enumerate(TEXT_PHASES)
    }
    assert "tw.conv" in text["input"] and "flow.dispatch" not in text["global-optimization"]
    assert "flow.dispatch" in text["dispatch-creation"] and "workgroup_count" in text["flow"]
    assert "stream.dispatch" in text["stream"] and "flow.dispatch" not in text["stream"]
    assert "hal.command_buffer.dispatch" in text["hal"] and "stream.dispatch" not in text["hal"]
    assert "vm.function" in text["vm"] and "hal.command_buffer.dispatch" not in text["vm"]


def test_the_dump_holds_every_phase_and_each_kernel_s_ir_assembly_and_object(dump):
    phases = sorted(path.name for path in dump.glob("*.mlir"))
    assert phases == [f"{number:02d}-{phase}.mlir" for number, phase in enumerate(TEXT_PHASES)]
    assert (dump / "graph.svg").read_text().startswith(("<?xml", "<svg"))
    kernels = set(re.findall(r"func\.func private @(\w+)", (dump / "05-flow.mlir").read_text()))
    assert kernels
    executables = dump / "executables"
    for kernel in kernels:
        assert f"@{kernel}" in (executables / f"{kernel}.mlir").read_text()
        assert "define" in (executables / f"{kernel}.ll").read_text()
        assert f"{kernel}:" in (executables / f"{kernel}.s").read_text()
        assert (executables / f"{kernel}.o").read_bytes().startswith(b"\x7fELF")
    assert (executables / "llvm-cpu-executable.bin").stat().st_size > 0


def test_inspect_shows_shapes_variants_sizes_the_arena_and_the_times(thalweg, require, mnist, tmp_path):
    require(target_backends="vmvx")
    require(target_backends="vmvx-inline")
    module = tmp_path / "m.twm"
    targets = "--target-backend=vmvx,vmvx-inline"
    assert thalweg("compile", mnist, "-o", module, targets).status == 0
    text = thalweg("inspect", module).out
    assert "    input  input: 1x1x28x28xf32\n    output output: 1x10xf32\n" in text
    assert "variant 'vmvx' by vmvx\n" in text and "variant 'vmvx-inline' by vmvx-inline, inline\n" in text
    description = json.loads(thalweg("inspect", module, "--json").out)
    assert description["file_bytes"] == module.stat().st_size
    assert set(description["phase_seconds"]) == set(PHASES)
    assert re.search(r"^phases: \d+\.\d\d s in all$", text, re.MULTILINE)
    for phase in PHASES:
        assert re.search(rf"^  {phase} +\d+\.\d\d\d s$", text, re.MULTILINE), phase
    for variant in description["variants"]:
        statistics = variant["statistics"]
        arena, intermediates = statistics["transient_bytes"], statistics["intermediate_bytes"]
        assert 0 < arena < intermediates  # what is not live at the same time shares bytes
        assert f"({arena:,} bytes) for intermediates of " in text
        assert f"({intermediates:,} bytes) in sum\n" in text
        assert f"{variant['executables'][0]['bytes']:,} bytes" in text
