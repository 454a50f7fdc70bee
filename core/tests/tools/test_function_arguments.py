"""``--input``, ``--output`` and ``--expected-output`` against a signature."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from thalweg.errors import InvalidArgument, NotSupported
from thalweg.module.program import TensorSignature
from thalweg.tools.function_arguments import OutputTarget, parse_expected, parse_inputs, parse_outputs

X = TensorSignature("x", (2, 2), "f32")
SCALAR = TensorSignature("scalar", (), "f64")
IDS = TensorSignature("a/b:0", (3,), "i64")
HALF = TensorSignature("half", (2,), "bf16")


def parse_one(text: str, signature: TensorSignature) -> np.ndarray:
    (array,) = parse_inputs([text], [signature])
    return array


def test_typed_values_splats_and_zeros():
    np.testing.assert_array_equal(parse_one("2x2xf32=1 2 3 4", X), np.array([[1, 2], [3, 4]], np.float32))
    np.testing.assert_array_equal(parse_one("2x2xf32=5", X), np.full((2, 2), 5, np.float32))
    np.testing.assert_array_equal(parse_one("2x2xf32", X), np.zeros((2, 2), np.float32))


def test_a_plain_number_has_the_inputs_type():
    array = parse_one("3.14", SCALAR)
    assert (array.shape, array.dtype, float(array)) == ((), np.float64, 3.14)


def test_names_in_front():
    arrays = parse_inputs(["a/b:0=3xi64=1 2 3", "2x2xf32=1", "scalar=2"], [X, SCALAR, IDS])
    assert [array.shape for array in arrays] == [(2, 2), (), (3,)]
    assert float(arrays[1]) == 2


def test_chains_of_arrays_in_npy_files(tmp_path):
    path = tmp_path / "chain.npy"
    with open(path, "wb") as stream:
        for number in range(4):
            np.save(stream, np.full((2, 2), number, np.float32))
    signatures = [TensorSignature(name, (2, 2), "f32") for name in "abcdef"]
    arrays = parse_inputs([f"@{path}", f"+{path}", f"@{path}", f"*{path}"], signatures)
    assert [int(array[0, 0]) for array in arrays] == [0, 1, 0, 1, 2, 3]


def test_raw_bytes(tmp_path):
    path = tmp_path / "raw.bin"
    np.arange(8, dtype=np.float32).tofile(path)
    first, second = parse_inputs(
        [f"2x2xf32=@{path}", f"2x2xf32=+{path}"], [X, TensorSignature("z", (2, 2), "f32")]
    )
    np.testing.assert_array_equal(first, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(second, [[4, 5], [6, 7]])


def test_bfloat16_survives_npy(tmp_path):
    path = tmp_path / "half.npy"
    np.save(path, np.array([1.5, 2], ml_dtypes.bfloat16))
    array = parse_one(f"@{path}", HALF)
    assert array.dtype == ml_dtypes.bfloat16
    assert array.tolist() == [1.5, 2]


def write_files(folder):
    np.save(folder / "one.npy", np.zeros((2, 2), np.float32))
    np.save(folder / "objects.npy", np.array([{}], object), allow_pickle=True)
    (folder / "text.npy").write_text("not an array")
    (folder / "short.bin").write_bytes(bytes(12))


@pytest.mark.parametrize(
    "texts, message",
    [
        (["@{folder}/none.npy"], "cannot read {folder}/none.npy: No such file or directory"),
        (["@{folder}/text.npy"], "{folder}/text.npy is not a .npy file of numbers"),
        (
            ["@{folder}/objects.npy"],
            "{folder}/objects.npy is not a .npy file of numbers: Object arrays cannot",
        ),
        (["@{folder}/one.npy", "+{folder}/one.npy"], "{folder}/one.npy holds no further array"),
        (["@{folder}/short.bin"], "raw bytes need a type in front, as 2x2xf32=@{folder}/short.bin"),
        (["2x2xf32=@{folder}/short.bin"], "{folder}/short.bin has 12 bytes left; a 2x2xf32 takes 16"),
        (["2x2xf32=@{folder}/one.npy"], "a .npy file has its own type; write '@{folder}/one.npy'"),
        (
            ["hello"],
            "'hello' is no tensor for x: 'hello' is not a value of type f32; write a type and values",
        ),
        (["2x2xf32"], "the function takes 2 inputs, 1 were given; missing: z (2x2xf32)"),
        (["2x2xf32"] * 3, "the function has 2 inputs; more were given"),
        (["x=2x2xf32", "2x2xf32"], "input 'x' was given twice"),
        (["y=2x2xf32"], "no input is named 'y'; there are: x, z"),
        (["2x2xf32", "x=2x2xf32"], "input 'x' was given twice"),
        (["2x2xf32=1 2"], "2x2xf32 has 4 elements; 2 were given"),
    ],
)
def test_mistakes(tmp_path, texts, message):
    write_files(tmp_path)
    texts, message = [text.format(folder=tmp_path) for text in texts], message.format(folder=tmp_path)
    with pytest.raises(InvalidArgument) as error:
        parse_inputs(texts, [X, TensorSignature("z", (2, 2), "f32")])
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["(null)", "&2x2xf32", "&2x2xf32=1 2 3 4"])
def test_forms_that_no_function_takes(text):
    with pytest.raises(NotSupported):
        parse_one(text, X)


def test_expected_outputs():
    given = parse_expected(["(ignored)", "2x2xf32=1"], [IDS, X])
    assert given[0] is None
    np.testing.assert_array_equal(given[1], np.ones((2, 2), np.float32))
    by_name = parse_expected(["x=2x2xf32=1", "a/b:0=(ignored)"], [IDS, X])
    assert by_name[0] is None
    with pytest.raises(InvalidArgument, match="has 2 outputs, 1 were expected"):
        parse_expected(["(ignored)"], [IDS, X])


def test_output_targets(tmp_path):
    assert parse_outputs([], [X, IDS]) == [OutputTarget("-"), OutputTarget("-")]
    path = str(tmp_path / "y.npy")
    assert parse_outputs(["", f"+{path}"], [X, IDS]) == [OutputTarget(""), OutputTarget(path, append=True)]
    assert parse_outputs([f"a/b:0=@{path}", "x=-"], [X, IDS]) == [OutputTarget("-"), OutputTarget(path)]


@pytest.mark.parametrize(
    "texts, message",
    [
        (["-"], "the function has 2 outputs, --output was given 1 times"),
        (["-", "y.npy"], "--output 'y.npy': write - to print, @FILE to create"),
        (["-", "@"], "--output '@': write - to print, @FILE to create"),
        (["-", "@{folder}"], "it is a folder"),
        (["-", "@{folder}/no/y.npy"], "there is no folder '{folder}/no'"),
        (["-", "-", "-"], "the function has 2 outputs; more were given"),
    ],
)
def test_output_mistakes(tmp_path, texts, message):
    with pytest.raises(InvalidArgument) as error:
        parse_outputs([text.format(folder=tmp_path) for text in texts], [X, IDS])
    assert message.format(folder=tmp_path) in str(error.value)
