"""Calling functions: every way to give inputs and take results, on every kind of device."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.errors import Aborted
from thalweg.runtime import DeviceArray

from .sample import WEIGHT, bfloat16


def expected(x, s):
    return x.astype(np.float64) * WEIGHT + float(s), int((x > 0).sum())


def assert_result(result, x, s):
    y, n = expected(x, s)
    np.testing.assert_allclose(np.asarray(result[0]), y, rtol=1e-6)
    assert np.asarray(result[0]).dtype == np.float32
    assert np.asarray(result[1]).shape == () and int(result[1]) == n


def test_positional_inputs_give_a_tuple_in_order(program, x, s):
    result = program.main(x, s)
    assert isinstance(result, tuple) and len(result) == 2
    assert_result(result, x, s)


def test_inputs_may_be_named_and_mixed(program, x, s):
    assert_result(program.main(x=x, s=s), x, s)
    assert_result(program.main(x, s=s), x, s)
    assert_result(program["main"](s=s, x=x), x, s)


def test_outputs_have_names(program, x, s):
    result = program.main(x, s)
    assert result["n"] is result[1] and result.names == ("y", "n")
    with pytest.raises(KeyError, match="no output 'z'; there are: y, n"):
        result["z"]


def test_a_single_result_is_an_array(program):
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(np.asarray(program.strict(x)), x)


def test_a_program_is_called_again_with_new_values(program, x, s):
    for factor in range(5):
        assert_result(program.main(x * np.float32(factor), s), x * np.float32(factor), s)


def test_results_go_where_out_says(program, x, s):
    y, n = np.zeros((2, 3), np.float32), np.zeros((), np.int64)
    result = program.main(x, s, out=(y, n))
    assert result[0] is y and result[1] is n
    assert_result((y, n), x, s)


def test_out_may_name_some_outputs(program, x, s):
    y = np.zeros((2, 3), np.float32)
    result = program.main(x, s, out={"y": y})
    assert result[0] is y
    assert_result(result, x, s)


def test_out_takes_an_array_of_a_program(program):
    x = np.arange(16, dtype=np.float32)
    target = program.to_device(np.zeros(16, np.float32))
    assert program.copy(x, out=target) is target
    np.testing.assert_array_equal(target.to_numpy(), x)


@pytest.mark.parametrize("form", ["strided", "transposed", "unaligned", "reversed"])
def test_arrays_of_any_layout_are_taken_and_filled(program, x, s, form):
    make = {
        "strided": lambda: np.zeros((2, 6), np.float32)[:, ::2],
        "transposed": lambda: np.zeros((3, 2), np.float32).T,
        "unaligned": lambda: np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3),
        "reversed": lambda: np.zeros((2, 3), np.float32)[::-1],
    }[form]
    source, target = make(), make()
    source[:] = x
    assert program.main(source, s, out={"y": target})[0] is target
    assert_result((target, program.main(source, s)[1]), x, s)


def test_read_only_inputs_are_taken(program, x, s):
    x.flags.writeable = False
    assert_result(program.main(x, s), x, s)


def test_numpy_scalars_and_subclasses_are_arrays(program, x, s):
    assert_result(program.main(x.view(np.matrix), np.float32(10)), x, s)


def test_another_spelling_of_a_dtype_is_the_same_dtype(program):
    x = np.arange(16, dtype=np.float32)
    same = x.view(np.dtype(np.float32, metadata={"from": "elsewhere"}))
    np.testing.assert_array_equal(np.asarray(program.copy(same)), x)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("empty", np.zeros((0, 4), np.float32)),
        ("half", bfloat16([1, -2.5, 1e30])),
        ("flags", np.array([[True, False], [False, True]])),
    ],
)
def test_every_dtype_and_no_elements_at_all(program, function, value):
    for result in (program[function](value), program[function](value, out=np.empty_like(value))):
        found = np.asarray(result)
        assert found.dtype == value.dtype and found.shape == value.shape
        np.testing.assert_array_equal(found, value)


def test_results_are_new_memory_each_time(program):
    x = np.arange(16, dtype=np.float32)
    first, second = program.copy(x), program.copy(x)
    before = first.to_numpy().copy()
    program.copy(x + 1)
    x[:] = -1
    np.testing.assert_array_equal(first.to_numpy(), before)
    np.testing.assert_array_equal(second.to_numpy(), before)


def test_results_feed_the_next_call(program):
    x = np.arange(16, dtype=np.float32)
    result = program.copy(program.copy(program.to_device(x)))
    assert isinstance(result, DeviceArray)
    np.testing.assert_array_equal(result.to_numpy(), x)


def test_a_kernel_s_failure_is_told_and_the_next_call_works(program):
    for _ in range(3):
        with pytest.raises(Aborted, match=r"refuse_negative.*a value is negative"):
            program.strict(np.array([1, 2, -3, 4], np.float32))
        x = np.ones(4, np.float32)
        np.testing.assert_array_equal(np.asarray(program.strict(x)), x)


def test_an_array_of_another_program_is_taken(program, x):
    from thalweg.runtime import load

    from .fakes import RemoteDevice, make_registry
    from .sample import make_module

    other = load(make_module(), RemoteDevice(), registry=make_registry())
    x = np.arange(16, dtype=np.float32)
    np.testing.assert_array_equal(np.asarray(program.copy(other.copy(x))), x)
    target = other.to_device(np.zeros(16, np.float32))
    program.copy(x, out=target)
    np.testing.assert_array_equal(target.to_numpy(), x)
