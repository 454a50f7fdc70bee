"""Device arrays: NumPy's and DLPack's protocols, with and without a copy."""

from __future__ import annotations

import ctypes
import gc
import weakref

import numpy as np
import pytest
from thalweg.errors import InvalidArgument
from thalweg.runtime import DeviceArray, load

from .fakes import make_registry
from .sample import bfloat16, make_module


@pytest.fixture
def values():
    return np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def array(program, values):
    return program.to_device(values)


@pytest.fixture
def in_host_memory(kind):
    return kind != "remote"


def test_it_says_what_it_is(array, program, kind):
    assert (array.shape, array.dtype, array.ndim, array.size, array.nbytes) == ((2, 3), np.float32, 2, 6, 24)
    assert len(array) == 2 and array.device is (None if kind == "inline" else program.device)
    where = {"inline": "host", "prepared": "fake://"}.get(kind, f"{kind}://")
    assert repr(array).startswith("DeviceArray(array([[0.") and f"device='{where}'" in repr(array)


def test_numpy_sees_the_same_memory_where_it_can(array, in_host_memory):
    view = np.asarray(array)
    view[0, 0] = 9
    assert (array[0, 0] == 9) is np.bool_(in_host_memory)
    assert np.shares_memory(np.asarray(array), np.asarray(array)) is in_host_memory


def test_a_copy_is_a_copy(array):
    copy = array.__array__(copy=True)
    copy[0, 0] = 9
    assert array[0, 0] == 0 and np.array(array)[0, 0] == 0


def test_no_copy_means_no_copy(array, in_host_memory):
    if in_host_memory:
        assert array.__array__(copy=False)[1, 2] == 5
    else:
        with pytest.raises(ValueError, match="a copy of this array is needed"):
            array.__array__(copy=False)
    with pytest.raises(ValueError, match="a copy of this array is needed"):
        array.__array__(np.float64, copy=False)


def test_a_dtype_is_converted_to(array, values):
    converted = np.asarray(array, np.float64)
    assert converted.dtype == np.float64
    np.testing.assert_array_equal(converted, values)


def test_dlpack_shares_memory_or_copies_when_asked(array, values, in_host_memory):
    if in_host_memory:
        assert array.__dlpack_device__() == (1, 0)
        view = np.from_dlpack(array)
        np.testing.assert_array_equal(view, values)
        np.asarray(array)[0, 0] = 7
        assert view[0, 0] == 7
        assert np.shares_memory(view, np.asarray(array))
    else:
        assert array.__dlpack_device__() == (12, 0)
        with pytest.raises(BufferError, match="device memory"):
            array.__dlpack__()
    capsule = array.__dlpack__(dl_device=(1, 0), copy=True)
    assert "dltensor" in repr(capsule)
    with pytest.raises(BufferError, match=r"asked for \(2, 0\)"):
        array.__dlpack__(dl_device=(2, 0))


def test_dlpack_keeps_the_memory_alive(program, values, in_host_memory):
    if not in_host_memory:
        pytest.skip("the host has no view of this memory")
    result = program.copy(np.arange(16, dtype=np.float32))
    view = np.from_dlpack(result)
    gone = weakref.ref(result)
    del result
    gc.collect()
    assert gone() is None
    np.testing.assert_array_equal(view, np.arange(16))


class DlpackOnly:
    """An array that speaks DLPack and nothing else."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **settings):
        return self._array.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_any_dlpack_object_is_an_input(program):
    x = np.arange(16, dtype=np.float32)
    np.testing.assert_array_equal(program.copy(DlpackOnly(x)).to_numpy(), x)


def test_a_read_only_dlpack_object_is_an_input(program):
    x = np.arange(16, dtype=np.float32)
    x.flags.writeable = False
    np.testing.assert_array_equal(program.copy(DlpackOnly(x)).to_numpy(), x)


class OnHost(DlpackOnly):
    """Shows any device array as one in host memory."""

    def __dlpack__(self, **settings):
        return self._array.__dlpack__(dl_device=(1, 0), **settings)

    def __dlpack_device__(self):
        return (1, 0)


class OfDlpack0(DlpackOnly):
    """A producer that knows no versions."""

    def __dlpack__(self, *, stream=None):
        return self._array.__dlpack__()


@pytest.mark.parametrize("producer", [OnHost, OfDlpack0])
def test_bfloat16_goes_through_dlpack(program, producer, in_host_memory):
    if producer is OfDlpack0 and not in_host_memory:
        return  # DLPack 0 has no way to ask for a copy on the host
    values = bfloat16([1, -2.5, 1e30])
    result = program.half(producer(program.to_device(values)))
    assert result.dtype == values.dtype
    np.testing.assert_array_equal(result.to_numpy(), values)


def test_a_capsule_s_bfloat16_has_dlpack_s_code():
    host = DeviceArray((3,), bfloat16([]).dtype, host=bfloat16([1, 2, 3]))
    for version, offset in ((None, 0), ((1, 0), 32)):
        capsule = host.__dlpack__(max_version=version)
        get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
        get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        name = b"dltensor" if version is None else b"dltensor_versioned"
        at = get_pointer(capsule, name) + offset + 20
        assert ctypes.string_at(at, 4) == bytes([4, 16, 1, 0]), "code kDLBfloat, 16 bits, 1 lane"


def test_a_dlpack_object_that_cannot_be_read_is_refused(program):
    class Elsewhere(DlpackOnly):
        def __dlpack__(self, **settings):
            raise BufferError("it is on the moon")

    with pytest.raises(
        InvalidArgument, match="input 'x' of copy: cannot read Elsewhere through DLPack: it is on the moon"
    ):
        program.copy(Elsewhere(np.zeros(16, np.float32)))


def test_operators_and_functions_give_numpy_arrays(array, values):
    for found, expected in [
        (array + 1, values + 1),
        (2 * array, 2 * values),
        (array == values, values == values),
        (np.exp(array), np.exp(values)),
        (np.sum(array, axis=0), values.sum(axis=0)),
        (np.stack([array, array]), np.stack([values, values])),
        (array[1, 1:], values[1, 1:]),
        (np.array(list(array)), values),
    ]:
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)
    assert array.tolist() == values.tolist()


def test_a_single_element_is_a_number(program):
    one = program.to_device(np.array(2.5, np.float32))
    assert (float(one), int(one), bool(one), one.item()) == (2.5, 2, True, 2.5)
    with pytest.raises(TypeError, match="without dimensions"):
        len(one)


def test_it_outlives_its_program(kind, device):
    program = load(make_module(inline=kind == "inline"), device, registry=make_registry())
    result = program.copy(np.arange(16, dtype=np.float32))
    program.close()
    del program
    gc.collect()
    np.testing.assert_array_equal(result.to_numpy(), np.arange(16))


def test_a_dtype_without_a_name_is_refused(program):
    with pytest.raises(InvalidArgument, match="no element type for NumPy dtype complex64"):
        program.to_device(np.zeros(3, np.complex64))
