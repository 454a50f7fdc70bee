"""Profiles, traces, comparisons, pictures and tables of phases, on modules of real targets."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from thalweg.module.file import read_module, write_module

POOLED = """
func.func @main(%x: tensor<3x8xf32> {{tw.name = "x"}}) -> (tensor<3x4xf32> {{tw.name = "y"}}) {{
  %p = tw.softmax %x {{axis = 1 : i64, tw.source = "Softmax -> p"}} : (tensor<3x8xf32>) -> tensor<3x8xf32>
  %q = tw.reduce_window %p {{kind = "{kind}", window = array<i64: 1, 2>, strides = array<i64: 1, 2>,
      dilations = array<i64: 1, 1>, pads_low = array<i64: 0, 0>, pads_high = array<i64: 0, 0>,
      tw.source = "Pool -> q"}} : (tensor<3x8xf32>) -> tensor<3x4xf32>
  %y = tw.softmax %q {{axis = 1 : i64, tw.source = "Softmax -> y"}} : (tensor<3x4xf32>) -> tensor<3x4xf32>
  func.return %y : tensor<3x4xf32>
}}
"""
"""Three dispatches; the kind of the middle one changes its code and nothing else."""


@pytest.fixture
def pooled(thalweg, require, tmp_path):
    """A function: compile ``POOLED`` with this kind for vmvx; returns the module's file."""
    require(target_backends="vmvx", hal_drivers="local-sync")

    def make(kind: str, *options: str):
        source, path = tmp_path / f"{kind}.mlir", tmp_path / f"{kind}.twm"
        source.write_text(POOLED.format(kind=kind))
        assert thalweg("compile", source, "-o", path, "--target-backend=vmvx", *options).status == 0
        return path

    return make


@pytest.fixture
def sabotaged(pooled, tmp_path):
    """The module that should pool by ``max``, with a kernel that sums."""
    right, wrong = read_module(pooled("max")), read_module(pooled("sum"))
    (variant,), (other,) = right.variants, wrong.variants
    assert [e.name for e in variant.executables[0].entries] == [e.name for e in other.executables[0].entries]
    path = tmp_path / "sabotaged.twm"
    write_module(replace(right, variants=(replace(variant, executables=other.executables),)), path)
    return path


def test_the_dispatch_that_was_sabotaged_is_named_with_its_node_and_ir(thalweg, sabotaged):
    outcome = thalweg("compare", sabotaged, "--against=vmvx", "--device=local-sync")
    assert outcome.status == 1 and outcome.err == ""
    assert (
        "[DIFFERS] variant 'vmvx' against 'vmvx'\ndispatch 1 of 3: main_dispatch_1_reduce_window"
        in outcome.out
    )
    assert "[Pool -> q]" in outcome.out
    assert "result 0: element at index 0 (" in outcome.out and "12 of 12 elements differ" in outcome.out
    ir = outcome.out.partition("its IR:\n")[2]
    assert 'kind = "max"' in ir and ir.count("tw.reduce_window") == 1 and "tw.softmax" not in ir
    assert outcome.out.endswith("1 of 2 dispatches differ; 1 not run (--all runs them)\n")


def test_what_the_reference_computed_feeds_the_dispatches_that_follow(thalweg, sabotaged):
    outcome = thalweg("compare", sabotaged, "--against=vmvx", "--device=local-sync", "--all")
    assert outcome.status == 1
    assert outcome.out.count("[DIFFERS]") == 1  # the softmax after the pool is right
    assert outcome.out.endswith("1 of 3 dispatches differ\n")


def test_a_wide_tolerance_lets_the_difference_pass(thalweg, sabotaged):
    outcome = thalweg("compare", sabotaged, "--against=vmvx", "--device=local-sync", "--atol=10")
    assert (outcome.status, outcome.err) == (0, "")


def test_equal_targets_agree(thalweg, pooled):
    outcome = thalweg("compare", pooled("max"), "--against=vmvx", "--device=local-sync", "--input=3x8xf32=1")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == "all 3 dispatches of @main agree: local-sync:// and vmvx\n"


def test_packed_constants_are_unpacked_for_the_other_target(thalweg, require, mnist, tmp_path):
    require(target_backends="llvm-cpu", hal_drivers="local-sync")
    path = tmp_path / "mnist.twm"
    assert thalweg("compile", mnist, "-o", path, "--target-backend=llvm-cpu").status == 0
    (variant,) = read_module(path).variants
    assert b'"packings":{"' in variant.debug_info  # else this test shows nothing
    outcome = thalweg("compare", path, "--against=vmvx", "--device=local-sync")
    assert outcome.status == 0, outcome
    assert re.fullmatch(r"all \d+ dispatches of @main agree: local-sync:// and vmvx\n", outcome.out)


DYNAMIC = """
func.func @main(%x: tensor<?x8xf32, ["rows"]> {tw.name = "x"})
    -> (tensor<?x8xf32, ["rows"]> {tw.name = "y"}) {
  %p = tw.softmax %x {axis = 1 : i64} : (tensor<?x8xf32, ["rows"]>) -> tensor<?x8xf32, ["rows"]>
  %y = tw.softmax %p {axis = 0 : i64} : (tensor<?x8xf32, ["rows"]>) -> tensor<?x8xf32, ["rows"]>
  func.return %y : tensor<?x8xf32, ["rows"]>
}
"""


@pytest.fixture
def dynamic(thalweg, require, tmp_path):
    """A module with a dynamic dimension, for vmvx."""
    require(target_backends="vmvx", hal_drivers="local-sync")
    source, path = tmp_path / "dynamic.mlir", tmp_path / "dynamic.twm"
    source.write_text(DYNAMIC)
    assert thalweg("compile", source, "-o", path, "--target-backend=vmvx").status == 0
    return path


def test_dynamic_functions_are_compared_and_profiled_at_the_dimensions_of_the_call(thalweg, dynamic):
    common = ("--device=local-sync", "--dimension=rows=6")
    outcome = thalweg("compare", dynamic, "--against=vmvx", *common)
    assert outcome.status == 0 and outcome.out.startswith("all 2 dispatches"), outcome
    outcome = thalweg("benchmark", dynamic, "--profile", "--json", "--repetitions=2", *common)
    rows = json.loads(outcome.out)["profile"]
    assert [(row["bytes"], row["operations"]) for row in rows] == [(2 * 4 * 48, 5 * 48)] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against=vmvx", "--atol=-1"], "--atol and --rtol are not negative"),
        (["--against=vmx"], "vmx"),
        (["--against=vmvx", "--input=3x9xf32"], "expected 8 at dimension 1, got 9"),
    ],
)
def test_mistakes(mistake, pooled, options, message):
    assert message in mistake("compare", pooled("max"), "--device=local-sync", *options)


def test_comparing_needs_another_target_and_debug_info(thalweg, mistake, pooled):
    assert "--against NAME is needed" in thalweg("compare", pooled("max")).err
    stripped = pooled("sum", "--strip-debug-info")
    assert "compile the model again without --strip-debug-info" in mistake(
        "compare", stripped, "--against=vmvx", "--device=local-sync"
    )


# -- profiles and traces -----------------------------------------------------------------------------------


def test_a_profile_has_a_row_for_each_dispatch(thalweg, pooled):
    path = pooled("max")
    outcome = thalweg("benchmark", path, "--device=local-sync", "--profile", "--json", "--repetitions=3")
    report = json.loads(outcome.out)
    rows = report["profile"]
    assert [row["node"] for row in rows] == ["Softmax -> p", "Pool -> q", "Softmax -> y"]
    assert [row["dispatch"] for row in rows] == [0, 1, 2] and {row["calls"] for row in rows} == {3}
    assert [row["operations"] for row in rows] == [5 * 24, 2 * 12, 5 * 12]
    assert [row["bytes"] for row in rows] == [4 * 48, 4 * 36, 4 * 24]
    for row in rows:
        assert row["gflops"] == pytest.approx(row["operations"] / row["median_ms"] / 1e6)
        assert row["gbytes_per_s"] == pytest.approx(row["bytes"] / row["median_ms"] / 1e6)
        assert row["share"] == pytest.approx(row["median_ms"] / report["profile_sum_ms"])
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_the_table_of_a_profile_names_its_sum_and_the_calls_median(thalweg, pooled, tmp_path):
    picture = tmp_path / "graph.svg"
    arguments = ("--device=local-sync", "--profile", "--repetitions=3", f"--graph={picture}")
    lines = thalweg("benchmark", pooled("max"), *arguments).out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("dispatch"))
    assert lines[head].split() == "dispatch kernel node calls median ms GF/s GB/s share".split()  # noqa: SIM905
    assert sorted(line.split()[0] for line in lines[head + 1 : head + 4]) == ["0", "1", "2"]
    assert re.match(
        r"sum [\d.]+ ms of dispatches run one by one; a whole call takes [\d.]+ ms", lines[head + 4]
    )
    text = picture.read_text()
    ElementTree.fromstring(text)
    assert text.count(" ms  ") == 3 and "Pool -&gt; q" in text


def test_without_debug_info_a_profile_says_what_it_can(thalweg, pooled):
    path = pooled("max", "--strip-debug-info")
    outcome = thalweg("benchmark", path, "--device=local-sync", "--profile", "--json", "--repetitions=1")
    rows = json.loads(outcome.out)["profile"]
    assert [(row["node"], row["operations"], row["gflops"]) for row in rows] == [("", None, None)] * 3
    assert all(row["kernel"] and row["bytes"] for row in rows)


def test_a_graph_needs_a_profile(mistake, pooled, tmp_path):
    message = mistake("benchmark", pooled("max"), "--graph", tmp_path / "g.svg")
    assert message == "--graph draws what --profile measures; give both"


def test_a_trace_prints_each_dispatch_and_the_range_of_what_it_wrote(thalweg, pooled):
    path = pooled("max")
    traced = thalweg("run", path, "--device=local-sync", "--input=3x8xf32=2", "--trace-dispatches")
    plain = thalweg("run", path, "--device=local-sync", "--input=3x8xf32=2")
    assert traced.status == 0 and traced.out == plain.out
    assert traced.err.splitlines()[3:6] == [
        "dispatch 1 of 3: main_dispatch_1_reduce_window [Pool -> q], 1x1x1 workgroups, 144 bytes",
        "  r transient 3x8xf32, w transient 3x4xf32",
        "  -> binding 1: min 0.125, max 0.125, 0 NaN",
    ]


def test_a_trace_counts_what_is_no_number(thalweg, pooled, tmp_path):
    x = np.zeros((3, 8), np.float32)
    x[1, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    arguments = ("--device=local-sync", f"--input=@{tmp_path}/x.npy", "--trace-dispatches")
    first = thalweg("run", pooled("max"), *arguments).err.splitlines()[2]
    assert first == "  -> binding 1: min 0.125, max 0.125, 8 NaN"


# -- compiling ---------------------------------------------------------------------------------------------


def test_a_verbose_compilation_ends_with_a_table_of_phases(thalweg, pooled, tmp_path):
    pooled("max")
    options = ("-o", tmp_path / "out.twm", "--target-backend=vmvx", "-v", "--no-cache")
    lines = thalweg("compile", tmp_path / "max.mlir", *options).err.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("phase "))
    rows = {line.split()[0]: line.split()[1:] for line in lines[start + 1 :]}
    assert list(rows)[:12] == [
        "input", "abi", "preprocessing", "global-optimization", "dispatch-creation", "flow", "stream",
        "executable-sources", "executable-targets", "hal", "vm", "end",
    ]  # fmt: skip
    assert rows["abi"][1:] == ["4", "4", "0", "B", "0", "B", "-"]
    assert rows["stream"][-2:] == ["192", "B"]
    assert float(rows["sum"][0]) == pytest.approx(
        sum(float(r[0]) for n, r in rows.items() if n in list(rows)[:12]), abs=0.01
    )


def test_a_dump_holds_a_picture_of_each_variant(thalweg, pooled, tmp_path):
    pooled("max")
    for targets, names in (
        ("vmvx", ["graph.svg"]),
        ("vmvx,vmvx-inline", ["vmvx-inline.graph.svg", "vmvx.graph.svg"]),
    ):
        folder = tmp_path / targets
        options = ("-o", tmp_path / "out.twm", f"--target-backend={targets}", f"--dump-dir={folder}")
        assert thalweg("compile", tmp_path / "max.mlir", *options).status == 0
        assert sorted(path.name for path in folder.glob("*.svg")) == names
        for name in names:
            text = (folder / name).read_text()
            ElementTree.fromstring(text)
            assert "Pool -&gt; q" in text and "input x" in text


def test_debug_info_is_small_and_can_be_left_out(pooled):
    with_info, without = (read_module(pooled("max", *o)).variants[0] for o in ((), ("--strip-debug-info",)))
    assert 0 < len(with_info.debug_info) < 4000 and without.debug_info == b""
    assert replace(with_info, debug_info=b"") == without


GATHER = """
func.func @main(%x: tensor<4x2xf32> {tw.name = "x"}, %i: tensor<3xi32> {tw.name = "i"})
    -> (tensor<3x2xf32> {tw.name = "y"}) {
  %y = tw.gather %x[%i] {axis = 0 : i64, tw.source = "Gather -> y"}
      : (tensor<4x2xf32>, tensor<3xi32>) -> tensor<3x2xf32>
  func.return %y : tensor<3x2xf32>
}
"""


@pytest.fixture
def gather(thalweg, require, tmp_path):
    """A module whose kernel fails on an index out of range, and the inputs with which it does."""
    require(target_backends="vmvx", hal_drivers="local-sync")
    source, path = tmp_path / "gather.mlir", tmp_path / "gather.twm"
    source.write_text(GATHER)
    assert thalweg("compile", source, "-o", path, "--target-backend=vmvx").status == 0
    return path, ("--device=local-sync", "--input=4x2xf32=1", "--input=3xi32=0 9 1")


def test_a_trace_ends_with_the_dispatch_that_failed(thalweg, gather):
    path, inputs = gather
    outcome = thalweg("run", path, *inputs, "--trace-dispatches")
    dispatch, bindings, error = outcome.err.splitlines()
    assert outcome.status == 1
    assert dispatch == "dispatch 0 of 1: main_dispatch_0_gather [Gather -> y], 1x1x1 workgroups, 68 bytes"
    assert bindings == "  r input 4x2xf32, r input 3xi32, w output 3x2xf32"
    assert error.startswith("thalweg: error: kernel 'main_dispatch_0_gather'")


def test_a_dispatch_that_fails_on_both_sides_is_an_error_that_names_it(mistake, gather):
    path, inputs = gather
    message = mistake("compare", path, "--against=vmvx", *inputs)
    assert message.startswith("dispatch 0, main_dispatch_0_gather [Gather -> y], fails on both sides")
    assert message.endswith("give inputs that it takes (--input)")


def test_a_kernel_that_fails_where_the_reference_does_not_differs(thalweg, gather, tmp_path):
    path, _ = gather
    module = read_module(path)
    (variant,) = module.variants
    source = tmp_path / "other.mlir"
    source.write_text(GATHER.replace("4x2xf32", "1x2xf32"))  # a table of one row
    assert thalweg("compile", source, "-o", tmp_path / "other.twm", "--target-backend=vmvx").status == 0
    (other,) = read_module(tmp_path / "other.twm").variants
    write_module(replace(module, variants=(replace(variant, executables=other.executables),)), path)
    inputs = ("--device=local-sync", "--input=4x2xf32=1", "--input=3xi32=0 3 1")
    outcome = thalweg("compare", path, "--against=vmvx", *inputs)
    assert outcome.status == 1 and "  it failed: kernel 'main_dispatch_0_gather'" in outcome.out
