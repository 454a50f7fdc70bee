"""``thalweg run``: inputs, printed and written results, expected results, and its lines for mistakes."""

from __future__ import annotations

import numpy as np
import pytest


def test_prints_each_result_with_its_type(thalweg, compiled):
    outcome = thalweg("run", compiled, "--function=main", "--input=4xf32=1 2 3 4")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == "EXEC @main\nresult[0]: hal.buffer_view\n4xf32=2 4 6 8\n"


@pytest.mark.parametrize("spelling", ["--output_max_element_count", "--output-max-element-count"])
def test_cuts_long_results(thalweg, compiled, spelling):
    outcome = thalweg("run", compiled, "--input=4xf32=1 2 3 4", f"{spelling}=2")
    assert outcome.out.splitlines()[-1] == "4xf32=2 4 ..."


def test_inputs_by_name_and_from_a_file(thalweg, compiled, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(4, dtype=np.float32))
    outcome = thalweg("run", compiled, f"--input=x=@{tmp_path}/x.npy")
    assert outcome.out.splitlines()[-1] == "4xf32=0 2 4 6"


def test_expected_output_that_matches(thalweg, compiled):
    outcome = thalweg("run", compiled, "--input=4xf32=1 2 3 4", "--expected_output=4xf32=2 4 6 8")
    assert outcome.status == 0
    assert outcome.out == "EXEC @main\n[SUCCESS] all function outputs matched their expected values.\n"


def test_expected_output_that_differs(thalweg, compiled):
    outcome = thalweg("run", compiled, "--input=4xf32=1 2 3 4", "--expected-output=4xf32=2 4 6 9")
    assert outcome.status == 1
    lines = outcome.out.splitlines()
    assert lines[1] == (
        "[FAILED] result[0]: element at index 3 (8) does not match the expected (9); 1 of 4 elements differ"
    )
    assert lines[2:] == ["  expected:", "4xf32=2 4 6 9", "  actual:", "4xf32=2 4 6 8"]


def test_expected_output_of_another_type(thalweg, compiled):
    outcome = thalweg("run", compiled, "--input=4xf32=1", "--expected-output=2x2xf32=2")
    assert outcome.status == 1
    assert "[FAILED] result[0]: its type 4xf32 does not match the expected 2x2xf32\n" in outcome.out


@pytest.mark.parametrize(
    "options, passes",
    [
        ((), False),
        (("--expected-f32-threshold=0.02",), True),
        (("--expected_rtol=0.01",), True),
        (("--expected-f32-threshold=0.02", "--equality-mode=exact"), False),
        (("--expected-f64-threshold=1",), False),
    ],
)
def test_tolerances(thalweg, compiled, options, passes):
    outcome = thalweg("run", compiled, "--input=4xf32=1", "--expected-output=4xf32=2.01", *options)
    assert outcome.status == (0 if passes else 1)


def test_ignored_expected_output(thalweg, compiled):
    assert thalweg("run", compiled, "--input=4xf32=1", "--expected-output=(ignored)").status == 0


def test_results_to_files(thalweg, compiled, tmp_path):
    for number in (1, 2):
        for target in (f"+{tmp_path}/y.npy", f"@{tmp_path}/y.bin"):
            outcome = thalweg("run", compiled, f"--input=4xf32={number}", f"--output={target}")
            assert (outcome.status, outcome.out) == (0, "EXEC @main\n")
    with open(tmp_path / "y.npy", "rb") as stream:
        arrays = [np.load(stream), np.load(stream)]
    np.testing.assert_array_equal(arrays, [[2] * 4, [4] * 4])
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y.bin", np.float32), [4] * 4)


def test_an_empty_output_is_not_printed(thalweg, compiled):
    assert thalweg("run", compiled, "--input=4xf32=1", "--output=").out == "EXEC @main\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the function takes 1 input, 0 were given; missing: x (4xf32)"),
        (["--input=4xf32", "--input=4xf32"], "the function has 1 input; more were given"),
        (["--input=xy=4xf32"], "no input is named 'xy'; there are: x (did you mean 'x'?)"),
        (["--input=4xi32"], "input 'x' of main: expected float32, got int32"),
        (["--input=2x2xf32"], "input 'x' of main: expected 1 dimensions [4], got 2 [2, 2]"),
        (["--input=5xf32"], "input 'x' of main: expected 4 at dimension 0, got 5"),
        (["--input=4xf32", "--function=mian"], "no function 'mian'; it has: main (did you mean 'main'?)"),
        (["--input=4xf32", "--output=y.npy"], "--output 'y.npy': write - to print"),
        (
            ["--input=4xf32", "--output=@/nowhere/y.npy"],
            "cannot write '/nowhere/y.npy': there is no folder '/nowhere'",
        ),
        (["--input=4xf32", "--output=-", "--output=-"], "the function has 1 output; more were given"),
        (
            ["--input=4xf32", "--expected-output=4xf32", "--expected-output=4xf32"],
            "1 output; more were given",
        ),
        (["--input=4xf32", "--device=paperr"], "no HAL driver named 'paperr'; installed: none"),
        (["--input=4xf32", "--device=local/x"], "'local/x' is not a device"),
    ],
)
def test_mistakes_cost_one_line(thalweg, compiled, arguments, message):
    outcome = thalweg("run", compiled, *arguments)
    assert outcome.status == 1
    assert outcome.err.startswith("thalweg: error: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_file_that_is_not_there(thalweg, tmp_path):
    outcome = thalweg("run", tmp_path / "nothing.twm")
    assert (outcome.status, outcome.err) == (1, f"thalweg: error: no such file: {tmp_path}/nothing.twm\n")


def test_wrong_usage_has_status_2(thalweg):
    outcome = thalweg("run")
    assert (outcome.status, outcome.err) == (
        2,
        "thalweg: error: a MODULE is needed (see thalweg run --help)\n",
    )
    outcome = thalweg("run", "x.twm", "--inptu=4xf32")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
