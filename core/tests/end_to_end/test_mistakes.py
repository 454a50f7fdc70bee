"""Bad input through the command line: one clear line, a non-zero exit, no traceback, nothing left behind."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys

import pytest
from thalweg.module.segments import archive_comment

SEED = random.SystemRandom().randrange(1 << 32)
COUNT = 50
ZEROS = "--input=1x1x28x28xf32=0"


@pytest.fixture
def chance() -> random.Random:
    print(f"seed {SEED}")
    return random.Random(SEED)


# Models


def test_no_such_model(mistake, require, tmp_path):
    require(inputs="onnx", target_backends="vmvx")
    assert mistake("compile", "none.onnx", "-o", tmp_path / "o.twm") == "no such file: none.onnx"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(64), b"func.func @main()\n", bytes(4096)]
)
def test_a_file_that_is_no_onnx_model(mistake, require, tmp_path, content):
    require(inputs="onnx", target_backends="vmvx")
    model = tmp_path / "picture.onnx"
    model.write_bytes(content)
    line = mistake("compile", model, "-o", tmp_path / "o.twm")
    assert line.startswith(f"{model} is not an ONNX model")
    assert list(tmp_path.iterdir()) == [model]


def test_a_truncated_onnx_file(mistake, require, mnist, tmp_path, chance):
    require(target_backends="vmvx")
    data = mnist.read_bytes()
    model = tmp_path / "cut.onnx"
    for length in chance.sample(range(len(data)), 10):
        model.write_bytes(data[:length])
        line = mistake("compile", model, "-o", tmp_path / "o.twm")
        assert line.startswith(f"{model} ") and "ONNX" in line, f"length {length}, seed {SEED}"
    assert list(tmp_path.iterdir()) == [model]


def test_unsupported_ops_are_reported_all_at_once(thalweg, require, tmp_path):
    require(inputs="onnx", target_backends="vmvx")
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="good"),
        helper.make_node("Flarb", ["a"], ["b"], name="first", domain="com.example"),
        helper.make_node("Quux", ["b"], ["y"], name="second", domain="com.example"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, [4])],
        [helper.make_tensor_value_info("y", kind, [4])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 3)]
    model = tmp_path / "strange.onnx"
    model.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    outcome = thalweg("compile", model, "-o", tmp_path / "o.twm")
    head, *lines = outcome.err.splitlines()
    assert outcome.status == 1
    assert head == "thalweg: error: input: this ONNX model cannot be compiled, 2 nodes are not supported:"
    assert lines[0].startswith("  node 'first': Flarb (domain com.example, opset 3): ")
    assert lines[1].startswith("  node 'second': Quux (domain com.example, opset 3): ")
    assert len(lines) == 2
    assert list(tmp_path.iterdir()) == [model]


# Names


@pytest.mark.parametrize(
    "options, message",
    [
        (["--target-backend=vmxv"], "no target backend named 'vmxv'"),
        (["--target-backend=vmvx", "--compile-to=strem"], "no phase 'strem'"),
        (["--target-device=local-tsk"], "local-tsk"),
        (["--target-backend=vmvx", "--target-cpuu=host"], "unrecognized arguments: --target-cpuu=host"),
    ],
)
def test_unknown_names_when_compiling(mistake, require, mnist, tmp_path, options, message):
    require(target_backends="vmvx")
    assert message in mistake("compile", mnist, "-o", tmp_path / "o.twm", *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "the function takes 1 input, 0 were given; missing: input (1x1x28x28xf32)"),
        ([ZEROS, ZEROS], "the function has 1 input; more were given"),
        (["--input=inptu=1x1x28x28xf32=0"], "no input is named 'inptu'; there are: input (did you mean 'in"),
        (["--input=1x1x28x28xi32=0"], "input 'input' of main: expected float32, got int32"),
        (["--input=28x28xf32=0"], "input 'input' of main: expected 4 dimensions [1, 1, 28, 28], got 2 [28"),
        (["--input=1x1x28x29xf32=0"], "input 'input' of main: expected 28 at dimension 3, got 29"),
        ([ZEROS, "--function=mian"], "no function 'mian'; it has: main (did you mean 'main'?)"),
        ([ZEROS, "--device=local-snyc"], "no HAL driver named 'local-snyc'; installed: "),
        ([ZEROS, "--device=local-sync://nowhere"], "local-sync has no device 'nowhere'"),
        ([ZEROS, "--device=local-sync://?threads"], "are malformed; write them as ?KEY=VALUE"),
    ],
)  # fmt: skip
def test_what_does_not_fit_when_running(mistake, vmvx_module, options, message):
    assert message in mistake("run", vmvx_module, *options)


# Modules


def test_a_module_truncated_anywhere(mistake, vmvx_module, tmp_path, chance):
    data = vmvx_module.read_bytes()
    path = tmp_path / "cut.twm"
    for length in chance.sample(range(len(data)), COUNT):
        path.write_bytes(data[:length])
        line = mistake("run", path, ZEROS)
        assert line.startswith(f"{path} is "), f"length {length}, seed {SEED}: {line}"


def test_a_module_with_a_byte_flipped_anywhere_under_full_verification(
    mistake, vmvx_module, tmp_path, chance
):
    data = vmvx_module.read_bytes()
    path = tmp_path / "flipped.twm"
    for at in chance.sample(range(len(data)), COUNT):
        path.write_bytes(data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :])
        line = mistake("run", path, ZEROS, "--verify=full")
        assert line.startswith((f"{path} ", f"{path}:")), f"byte {at}, seed {SEED}: {line}"


def test_a_module_with_a_byte_flipped_outside_the_constants_by_default(
    mistake, vmvx_module, tmp_path, chance
):
    data = vmvx_module.read_bytes()
    size = int.from_bytes(data[18:22], "little")
    constants = set()
    for row in json.loads(data[64 : 64 + size])["segments"]:
        if row["kind"] == "constant":
            start = 64 + size + row["offset"]
            constants.update(range(start, start + row["size"]))
    assert constants
    path = tmp_path / "flipped.twm"
    for at in chance.sample([at for at in range(len(data)) if at not in constants], COUNT):
        path.write_bytes(data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :])
        line = mistake("run", path, ZEROS)
        assert line.startswith((f"{path} ", f"{path}:")), f"byte {at}, seed {SEED}: {line}"


def test_a_module_of_a_newer_format(mistake, vmvx_module, tmp_path):
    manifest = json.dumps({"format": [7, 3], "whatever": {}}).encode()
    manifest += b"\n" * (-len(manifest) % 64)
    sizes = len(manifest).to_bytes(4, "little") * 2
    header = vmvx_module.read_bytes()[:64]
    path = tmp_path / "newer.twm"
    path.write_bytes(header[:18] + sizes + header[26:] + manifest + archive_comment(manifest))
    assert "module format 7.3, newer than" in mistake("run", path, ZEROS)


# Outputs


@pytest.mark.parametrize(
    "output, message",
    [
        ("{folder}/none/o.twm", "No such file or directory"),
        ("{folder}", "it is a folder"),
        ("{folder}/file/o.twm", "Not a directory"),
        ("/proc/o.twm", "cannot write '/proc/o.twm'"),
    ],
)
def test_an_output_that_cannot_be_written(mistake, require, mnist, tmp_path, output, message):
    require(target_backends="vmvx")
    (tmp_path / "file").write_text("in the way")
    for options in (["--target-backend=vmvx"], ["--compile-to=flow"]):
        assert message in mistake("compile", mnist, "-o", output.format(folder=tmp_path), *options)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("old", [None, b"an older module"])
def test_a_full_disk_leaves_nothing_half_written(require, mnist, tmp_path, old):
    require(target_backends="vmvx")
    output = tmp_path / "o.twm"
    if old is not None:
        output.write_bytes(old)
    done = subprocess.run(
        [sys.executable, "-m", "thalweg", "compile", mnist, "-o", output, "--target-backend=vmvx"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("thalweg: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ([] if old is None else ["o.twm"])
    assert old is None or output.read_bytes() == old


@pytest.mark.parametrize("output", ["@{folder}/none/y.npy", "@{folder}/none/y.bin", "+{folder}/none/y.npy"])
def test_a_result_that_cannot_be_written(mistake, vmvx_module, tmp_path, output):
    line = mistake("run", vmvx_module, ZEROS, f"--output={output.format(folder=tmp_path)}")
    assert f"there is no folder '{tmp_path}/none'" in line
    assert list(tmp_path.iterdir()) == []
