"""Mistakes in a call: one clear line each, on every kind of device."""

from __future__ import annotations

import re

import numpy as np
import pytest
from thalweg.errors import InvalidArgument, UnknownName

Y = np.zeros((2, 3), np.float32)
X = np.zeros((2, 3), np.float32)
S = np.zeros((), np.float32)


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((X,), {}, "input 's' of main missing; main takes 2 inputs (x, s); got 1"),
        ((), {}, "inputs 'x', 's' of main missing; main takes 2 inputs (x, s); got 0"),
        ((X, S, S), {}, "main takes 2 inputs (x, s); got 3 positional"),
        ((X,), {"ss": S}, "main has no input 'ss' (did you mean 's'?); it takes 2 inputs (x, s)"),
        ((X,), {"weird": S}, "main has no input 'weird'; it takes 2 inputs (x, s)"),
        ((X,), {"x": X, "s": S}, "input 'x' of main is given by position and by name"),
        (
            (X.astype(np.float64), S),
            {},
            "expected float32, got float64; convert it, for example with x.astype(np.float32)",
        ),
        ((X.astype(">f4"), S), {}, "input 'x' of main: expected float32, got >f4; convert it"),
        ((X, np.int32(1)), {}, "input 's' of main: expected float32, got int32; convert it"),
        ((X[0], S), {}, "input 'x' of main: expected 2 dimensions [2, 3], got 1 [3]"),
        ((X[:, :2], S), {}, "input 'x' of main: expected 3 at dimension 1, got 2 (shape [2, 3], got [2, 2])"),
        ((X.T, S), {}, "input 'x' of main: expected 2 at dimension 0, got 3 (shape [2, 3], got [3, 2])"),
        (([1, 2], S), {}, "input 'x' of main: expected an array (NumPy, DLPack or DeviceArray), got list"),
        ((X, 1.0), {}, "input 's' of main: expected an array (NumPy, DLPack or DeviceArray), got float"),
        ((X, None), {}, "got NoneType; convert it, for example with np.asarray(x, np.float32)"),
    ],
)
def test_wrong_inputs_are_refused(program, arguments, named, message):
    with pytest.raises(InvalidArgument, match=re.escape(message)) as caught:
        program.main(*arguments, **named)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (Y, "main has 2 outputs (y, n); out= gives 1"),
        ((Y, Y, Y), "main has 2 outputs (y, n); out= gives 3"),
        ({"z": Y}, "main has no output 'z'; its outputs are: y, n"),
        ({"y": Y.astype(np.float64)}, "output 'y' of main: expected float32, got float64"),
        ({"y": Y[:1]}, "output 'y' of main: expected 2 at dimension 0, got 1"),
        ({"y": [0.0]}, "output 'y' of main: out= takes NumPy arrays and DeviceArrays, got list"),
        ({"y": np.broadcast_to(np.float32(0), (2, 3))}, "the array given as out= is read-only"),
    ],
)
def test_wrong_targets_are_refused(program, x, s, out, message):
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        program.main(x, s, out=out)


def test_a_device_array_is_checked_as_others_are(program):
    array = program.to_device(np.zeros(16, np.float64))
    with pytest.raises(InvalidArgument, match="input 'x' of copy: expected float32, got float64"):
        program.copy(array)


def test_bfloat16_is_recommended_by_its_name(program):
    with pytest.raises(InvalidArgument, match=r"x\.astype\(ml_dtypes\.bfloat16\)"):
        program.half(np.zeros(3, np.float32))


@pytest.mark.parametrize("shift", [0, 1, 15])
def test_out_that_shares_memory_with_an_input_is_refused(program, shift):
    memory = np.zeros(32, np.float32)
    message = "output 'y' of copy: the array given as out= shares memory with input 'x' of copy"
    with pytest.raises(InvalidArgument, match=message):
        program.copy(memory[:16], out=memory[shift : shift + 16])
    with pytest.raises(InvalidArgument, match=message):
        program.copy(memory[shift : shift + 16], out=memory[:16])
    with pytest.raises(InvalidArgument, match=message):
        program.copy(memory[:16], out=memory[15::-1])
    program.copy(memory[:16], out=memory[16:])


def test_out_that_is_the_input_s_device_array_is_refused(program):
    array = program.to_device(np.zeros(16, np.float32))
    with pytest.raises(InvalidArgument, match="shares memory with input 'x'"):
        program.copy(array, out=array)


def test_an_unknown_function_is_refused_by_name(program):
    message = "no function 'mian' in module 'sample'; it has: main, strict, .* \\(did you mean 'main'\\?\\)"
    with pytest.raises(UnknownName, match=message):
        program["mian"]
    with pytest.raises(AttributeError, match=message):
        program.mian  # noqa: B018  (the access is what is tested)
    assert not hasattr(program, "__dlpack__")
