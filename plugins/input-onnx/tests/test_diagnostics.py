"""What a model that cannot be imported says: one clear line, never a traceback."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from thalweg.api import CompileError, InvalidArgument
from thalweg_input_onnx.importer import OnnxImporter
from thalweg_input_onnx.options import OnnxOptions

SEED = 20261121

FLOAT = TensorProto.FLOAT


def small_model(nodes=None, inputs=(("x", FLOAT, [2, 3]),), constants=None, opset=17, outputs=("y",)):
    """A model of ``y = relu(x + w)``, or of the given nodes."""
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["sum"]), helper.make_node("Relu", ["sum"], ["y"])]
    constants = {"w": np.ones((2, 3), np.float32)} if constants is None else constants
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*info) for info in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def refusal(source, **options) -> str:
    """Return the message of the error that importing ``source`` raises."""
    with pytest.raises((InvalidArgument, CompileError)) as raised:
        OnnxImporter(OnnxOptions(**options)).import_model(source)
    return str(raised.value)


# -- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "has no IR version and no graph and no opset"),
        (b"\x89PNG\r\n\x1a\n not a model", "is not an ONNX model, or is truncated"),
        (b"def main():\n    pass\n", "is not an ONNX model, or is truncated"),
    ],
)
def test_files_that_are_no_model_are_refused(tmp_path, content, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    said = refusal(path)
    assert message in said
    assert str(path) in said


def test_a_path_that_is_missing_or_a_folder_is_refused(tmp_path):
    assert refusal(tmp_path / "none.onnx") == f"no such file: {tmp_path / 'none.onnx'}"
    assert "is a folder" in refusal(tmp_path)
    assert refusal(3) == "cannot import a int; give a path, a file's bytes, or an onnx.ModelProto"


def test_a_model_truncated_at_any_place_is_refused():
    data = small_model().SerializeToString()
    chooser = random.Random(SEED)
    for place in chooser.sample(range(len(data)), 30):
        with pytest.raises((InvalidArgument, CompileError)) as raised:
            OnnxImporter().import_model(data[:place])
        assert "\n" not in str(raised.value), f"seed {SEED}, place {place}"


def imports_or_is_refused(data: bytes, what: str) -> None:
    try:
        program = OnnxImporter().import_model(data)
    except (InvalidArgument, CompileError) as error:
        message = str(error)
        assert message, what
        assert "\n" not in message or "nodes are not supported" in message, f"{what}: {message}"
    else:
        program.module.verify()


def test_a_model_with_a_flipped_bit_imports_or_is_refused():
    data = small_model().SerializeToString()
    chooser = random.Random(SEED)
    for place in chooser.sample(range(len(data)), 50):
        damaged = bytearray(data)
        damaged[place] ^= 1 << chooser.randrange(8)
        imports_or_is_refused(bytes(damaged), f"seed {SEED}, place {place}")


@pytest.mark.full
@pytest.mark.parametrize("op", ["Conv", "Resize", "Pad", "Einsum", "Split", "Slice", "LayerNormalization"])
def test_node_cases_with_flipped_bits_import_or_are_refused(op):
    from thalweg_input_onnx.node_cases import node_cases, op_of  # collects onnx's cases, which takes seconds

    models = [case.model.SerializeToString() for case in node_cases().values() if op_of(case) == op]
    chooser = random.Random(SEED)
    for _ in range(400):
        damaged = bytearray(chooser.choice(models))
        place = chooser.randrange(len(damaged))
        damaged[place] ^= 1 << chooser.randrange(8)
        imports_or_is_refused(bytes(damaged), f"seed {SEED}, {op}, place {place}")


# -- what is not supported -----------------------------------------------------------------------------------


def test_all_unsupported_nodes_are_reported_at_once():
    model = small_model(
        nodes=[
            helper.make_node("NonZero", ["x"], ["places"], name="find"),
            helper.make_node("Relu", ["x"], ["positive"]),
            helper.make_node("Wave", ["positive"], ["waves"], name="wave", domain="com.example"),
            helper.make_node("Unique", ["x"], ["distinct"], name="distinct"),
            helper.make_node("Relu", ["positive"], ["y"]),
        ]
    )
    model.opset_import.append(helper.make_opsetid("com.example", 3))
    lines = refusal(model).splitlines()
    assert lines[0] == "input: this ONNX model cannot be compiled, 3 nodes are not supported:"
    assert lines[1].startswith("  node 'find': NonZero (domain ai.onnx, opset 17): this op is not supported")
    assert lines[2] == (
        "  node 'wave': Wave (domain com.example, opset 3): ops of this domain are not known; give the "
        "model a local function that defines the op, or replace it by standard ops"
    )
    assert lines[3].startswith("  node 'distinct': Unique (domain ai.onnx, opset 17)")
    assert len(lines) == 4


def test_an_op_that_onnx_cannot_inline_says_so():
    nodes = [
        helper.make_node("Attention", ["x", "x", "x", "", "past", "past"], ["y", "k", "v"], name="attend")
    ]
    inputs = (("x", FLOAT, [2, 3, 4, 8]), ("past", FLOAT, [2, 3, 3, 8]))
    said = refusal(small_model(nodes=nodes, inputs=inputs, opset=24))
    assert "node 'attend': Attention (domain ai.onnx, opset 24): onnx defines this op by simpler ones" in said
    assert "give the optional inputs between those that are used" in said


def test_an_op_that_the_opset_does_not_define_is_reported_with_the_others():
    nodes = [helper.make_node("Gelu", ["x"], ["g"]), helper.make_node("NonZero", ["g"], ["y"])]
    said = refusal(small_model(nodes=nodes))
    assert "Gelu (domain ai.onnx, opset 17): onnx " in said
    assert "defines no such op at this opset" in said
    assert "NonZero" in said


def test_a_form_that_is_not_supported_is_reported_with_what_would_help():
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"], name="shaper")]
    inputs = (("x", FLOAT, [2, 3]), ("shape", TensorProto.INT64, [2]))
    assert refusal(small_model(nodes=nodes, inputs=inputs)) == (
        "input: this ONNX model cannot be compiled: node 'shaper': Reshape (domain ai.onnx, opset 17): its "
        "shape is computed from the model's inputs; make the shape a constant of the model"
    )


def test_unsupported_dtypes_are_named():
    said = refusal(small_model(inputs=(("x", TensorProto.FLOAT8E4M3FN, [2, 3]),)))
    assert "input 'x': element type FLOAT8E4M3FN is not supported; use bool, int8" in said
    cast = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING, name="text")]
    assert "node 'text': Cast (domain ai.onnx, opset 17): element type STRING; use" in refusal(
        small_model(cast)
    )


def test_values_that_are_not_tensors_are_refused():
    model = small_model()
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", FLOAT, [2, 3]))
    assert "input 'x' is a sequence_type, not a tensor" in refusal(model)


# -- versions ------------------------------------------------------------------------------------------------


def test_an_opset_that_is_too_new_is_refused():
    newest = onnx.defs.onnx_opset_version()
    said = refusal(small_model(opset=newest + 1))
    assert (
        f"uses opset {newest + 1}; the installed onnx {onnx.__version__} knows opsets up to {newest}" in said
    )
    assert "convert the model with onnx.version_converter" in said


def test_an_ir_version_that_is_too_new_is_refused():
    model = small_model()
    model.ir_version = onnx.IR_VERSION + 1
    assert f"uses IR version {onnx.IR_VERSION + 1}" in refusal(model)


# -- form ----------------------------------------------------------------------------------------------------


def test_missing_attributes_are_named():
    said = refusal(small_model(nodes=[helper.make_node("Cast", ["x"], ["y"], name="c")]))
    assert "Required attribute 'to' is missing" in said


@pytest.mark.parametrize(
    "node, found",
    [
        (
            helper.make_node("Add", ["x"], ["y"], name="add"),
            "Node(add) with schema(::Add:14) has input size 1",
        ),
        (
            helper.make_node("Relu", ["x", "x"], ["y"], name="r"),
            "Node(r) with schema(::Relu:14) has input size 2",
        ),
        (
            helper.make_node("Relu", ["x"], ["y", "z"], name="r"),
            "Node(r) with schema(::Relu:14) has output size 2",
        ),
    ],
)
def test_wrong_numbers_of_inputs_and_outputs_are_named(node, found):
    said = refusal(small_model(nodes=[node]))
    assert found in said
    assert "\n" not in said


def test_nodes_in_a_cycle_are_named():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
        helper.make_node("Relu", ["b"], ["y"], name="third"),
    ]
    assert refusal(small_model(nodes=nodes)).endswith(
        "its nodes form a cycle: second -> first -> second"
    ) or (refusal(small_model(nodes=nodes)).endswith("its nodes form a cycle: first -> second -> first"))


def test_nodes_out_of_order_are_named():
    nodes = [
        helper.make_node("Relu", ["a"], ["y"], name="late"),
        helper.make_node("Abs", ["x"], ["a"], name="early"),
    ]
    said = refusal(small_model(nodes=nodes))
    assert said.endswith(
        "node 'late' (Relu) uses 'a', which node 'early' makes after it; sort the nodes topologically"
    )


def test_a_name_that_is_made_twice_is_refused():
    nodes = [
        helper.make_node("Relu", ["x"], ["y"], name="one"),
        helper.make_node("Abs", ["x"], ["y"], name="two"),
    ]
    assert "'y' is made by node 'two' (Abs) and is already made by node 'one'" in refusal(
        small_model(nodes=nodes)
    )
    nodes = [helper.make_node("Relu", ["x"], ["x"], name="one")]
    said = refusal(small_model(nodes=nodes, outputs=("x",)))
    assert "'x' is made by node 'one' (Relu) and is already made by an input or initializer" in said


def test_a_name_that_nothing_makes_is_refused():
    said = refusal(small_model(nodes=[helper.make_node("Add", ["x", "ghost"], ["y"], name="sum")]))
    assert "input 'ghost' of node 'sum' (Add) is made by no node and is no input or initializer" in said
    assert "output 'z' is made by no node" in refusal(small_model(outputs=("y", "z")))


def test_shapes_that_do_not_fit_name_the_node():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    said = refusal(small_model(nodes=nodes))
    assert said == "the model 'small': node 'product' (MatMul): cannot multiply [2, 3] by [2, 3]"
    said = refusal(small_model(nodes=[helper.make_node("Softmax", ["x"], ["y"], axis=7, name="s")]))
    assert "(op_type:Softmax, node name: s): [ShapeInferenceError] 'axis' must be in [-2 , 1]" in said
    assert "\n" not in said


def test_dtypes_that_do_not_fit_name_the_node():
    said = refusal(small_model(inputs=(("x", TensorProto.INT8, [2, 3]),), opset=13))
    assert "(Add): input 0 (A) is of type int8; version 13 of the op takes bfloat16, double, float," in said
    said = refusal(small_model(inputs=(("x", TensorProto.INT8, [2, 3]),)))
    assert "(Add): input 1 (B) is of type float and A of type int8; they must be of one type" in said


# -- shapes --------------------------------------------------------------------------------------------------

DYNAMIC = (("x", FLOAT, ["batch", None]),)


def test_dynamic_dimensions_stay_without_a_size():
    model = small_model(inputs=DYNAMIC, constants={"w": np.ones((), np.float32)})
    assert 'tensor<?x?xf32, ["batch", "x_1"]>' in OnnxImporter().import_model(model).text()
    options = OnnxOptions(dims=("batch=2",))
    assert 'tensor<2x?xf32, ["x_1"]>' in OnnxImporter(options).import_model(model).text()


def test_dynamic_dimensions_that_must_have_sizes_are_named_with_the_option_that_fixes_them():
    said = refusal(small_model(inputs=DYNAMIC))
    assert "node 'Add -> sum': Add" in said
    assert "shapes [batch, x_1], [2, 3] do not broadcast; fix the dynamic dimensions: " in said
    assert "--onnx-dim batch=VALUE --onnx-dim x:1=VALUE" in said


def test_sizes_fix_dynamic_dimensions():
    options = OnnxOptions(dims=("batch=2,x:1=3",))
    assert "tensor<2x3xf32>" in OnnxImporter(options).import_model(small_model(inputs=DYNAMIC)).text()


@pytest.mark.parametrize(
    "dims, message",
    [
        (("batch=2", "x:1=3", "time=4"), "has no dynamic dimension named 'time'; it has: batch, x:1"),
        (
            ("batch=two",),
            "--onnx-dim batch=two: 'two' is neither a positive integer nor another dynamic dimension of the "
            "model (batch, x:1)",
        ),
        (("batch=x:1", "x:1=batch"), "'x:1' is neither a positive integer nor another dynamic dimension"),
        (("batch=-1",), "--onnx-dim got 'batch=-1'; it takes NAME=VALUE with a positive integer"),
        (("batch=",), "--onnx-dim got 'batch='"),
        (("batch=0",), "--onnx-dim got 'batch=0'"),
        (("batch",), "--onnx-dim got 'batch'"),
    ],
)
def test_sizes_that_do_not_fit_are_named(dims, message):
    assert message in refusal(small_model(inputs=DYNAMIC), dims=dims)


def test_an_input_without_a_shape_is_refused():
    assert "input 'x' has no shape; give it one, whose dimensions may be names" in refusal(
        small_model(inputs=(("x", FLOAT, None),))
    )


# -- constants -----------------------------------------------------------------------------------------------


def test_initializers_that_are_listed_as_inputs_are_no_arguments():
    inputs = (("x", FLOAT, [2, 3]), ("w", FLOAT, [2, 3]))
    (main,) = OnnxImporter().import_model(small_model(inputs=inputs)).functions()
    assert len(main.body.block.args) == 1


def external_model(folder, location: str, change: Callable[[TensorProto], None] = lambda tensor: None):
    """Write a model whose one initializer lies in ``location``; returns the model's path."""
    model = small_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "4"), ("length", "24")):
        tensor.external_data.add(key=key, value=value)
    change(tensor)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_beside_the_model_are_read(tmp_path):
    weights = np.arange(6, dtype=np.float32)
    (tmp_path / "weights.bin").write_bytes(b"skip" + weights.tobytes())
    program = OnnxImporter().import_model(external_model(tmp_path, "weights.bin"))
    assert any(np.array_equal(np.ravel(array), weights) for array in program.resources.values()) or (
        "dense<[[0.000000e+00, 1.000000e+00" in program.text()
    )


def test_external_data_that_are_missing_or_too_short_are_named(tmp_path):
    path = external_model(tmp_path, "weights.bin")
    assert refusal(path) == (
        f"{path}: initializer 'w' is external data in 'weights.bin', which is not beside the model"
    )
    (tmp_path / "weights.bin").write_bytes(bytes(20))
    assert "needs 24 bytes of external data at offset 4 of 'weights.bin', which holds 16 there" in refusal(
        path
    )


@pytest.mark.parametrize(
    "key, value", [("offset", "-8"), ("offset", "1000"), ("length", "9999"), ("offset", "no")]
)
def test_external_data_out_of_bounds_are_refused(tmp_path, key, value):
    def change(tensor: TensorProto) -> None:
        for entry in tensor.external_data:
            entry.value = value if entry.key == key else entry.value

    (tmp_path / "weights.bin").write_bytes(bytes(28))
    said = refusal(external_model(tmp_path, "weights.bin", change))
    assert "'w'" in said
    assert "\n" not in said


@pytest.mark.parametrize("place", ["../secret.bin", "a/../../secret.bin", "ABSOLUTE", "link.bin"])
def test_external_data_outside_the_models_folder_are_refused(tmp_path, place):
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(100))
    (folder / "link.bin").symlink_to(secret)
    location = str(secret) if place == "ABSOLUTE" else place
    assert "which is outside the model's folder" in refusal(external_model(folder, location))


def test_external_data_of_a_model_in_memory_say_what_to_do(tmp_path):
    data = external_model(tmp_path, "weights.bin").read_bytes()
    assert "a model in memory has no folder; pass the path of the .onnx file" in refusal(data)


# -- the command line ----------------------------------------------------------------------------------------


def compile_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "thalweg", "compile", *arguments, "--target-backend", "vmvx"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    "name, message",
    [
        ("text", "is not an ONNX model, or is truncated"),
        ("unsupported", "node 'find': NonZero (domain ai.onnx, opset 17): this op is not supported"),
        ("dynamic", "--onnx-dim batch=VALUE --onnx-dim x:1=VALUE"),
    ],
)
def test_the_command_ends_with_one_message_and_writes_nothing(tmp_path, name, message):
    models = {
        "text": b"hello",
        "unsupported": small_model(
            [helper.make_node("NonZero", ["x"], ["y"], name="find")]
        ).SerializeToString(),
        "dynamic": small_model(inputs=DYNAMIC).SerializeToString(),
    }
    path, output = tmp_path / "model.onnx", tmp_path / "model.twm"
    path.write_bytes(models[name])
    done = compile_command(str(path), "-o", str(output))
    assert done.returncode != 0
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not output.exists()


def test_the_command_takes_sizes_of_dynamic_dimensions(tmp_path):
    path, output = tmp_path / "model.onnx", tmp_path / "model.twm"
    path.write_bytes(small_model(inputs=DYNAMIC).SerializeToString())
    done = compile_command(str(path), "-o", str(output), "--onnx-dim", "batch=2", "--onnx_dim", "x:1=3")
    assert done.returncode == 0, done.stderr
    assert output.exists()
