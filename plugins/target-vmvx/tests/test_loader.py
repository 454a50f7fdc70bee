"""The bytecode and its loader: round trips, damage, the rules of the verifier, what a kernel refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from thalweg.api import Aborted, InvalidArgument, ModuleFormatError, NotSupported
from thalweg.extents import static
from thalweg.hal.executable import HostKernel
from thalweg.ir import Dispatch, FunctionBuilder
from thalweg.ir.dialects import tw
from thalweg.module.module import ExecutableRecord
from thalweg.semantics import GenericForm, ScalarStep
from thalweg_target_vmvx.backend import VmvxBackend
from thalweg_target_vmvx.bytecode import Constant, Function, Generic, Structured, TensorType
from thalweg_target_vmvx.encoding import (
    decode_executable,
    decode_function,
    encode_executable,
    encode_function,
)
from thalweg_target_vmvx.loader import VmvxLoader
from thalweg_target_vmvx.translation import translate_dispatch
from thalweg_target_vmvx.verification import verify

SEED = 5


def sample() -> Function:
    """A function with every kind of instruction."""
    f = FunctionBuilder(
        "sample", [("x", (1, 3, 6, 6), "f32"), ("w", (4, 3, 3, 3), "f32"), ("i", (2,), "i64")]
    )
    x, w, i = f.arguments
    window = {"strides": (1, 1), "dilations": (1, 1), "pads_low": (1, 1), "pads_high": (0, 0)}
    y = f.structured(tw.ConvOp, [x, w], (1, 4, 5, 5), None, groups=1, **window)
    bias = f.constant(np.arange(4, dtype=np.float32).reshape(4, 1, 1))
    y = f.elementwise([y, bias], lambda s, v, b: s.maximumf(s.addf(v, b), s.constant(0.25, "f32")))
    y = f.reduce([y], [2, 3], 0, lambda s, v, acc: s.addf(acc, v))
    y = f.structured(tw.PadOp, [y], (2, 5), low=(1, 0), high=(0, 1), value=0.5)
    y = f.elementwise([y], lambda s, v: s.mulf(v, s.sitofp(s.index(1), "f32")))
    y = f.structured(tw.GatherOp, [y, i], (2, 2), axis=1)
    return translate_dispatch(Dispatch(f.finish([("y", y)])))


def record_of(function: Function, data: bytes | None = None) -> ExecutableRecord:
    from thalweg.module.program import EntryPoint

    entry = EntryPoint(function.name, len(function.operands) + len(function.results))
    return ExecutableRecord(
        "sample", "thalweg-vmvx-1", data or encode_executable([encode_function(function)]), (entry,)
    )


def kernel_of(function: Function) -> HostKernel:
    """Load an executable of one function; returns its kernel."""
    (kernel,) = VmvxLoader().load(record_of(function)).kernels
    assert isinstance(kernel, HostKernel)
    return kernel


def bindings_of(function: Function) -> list[memoryview]:
    """Return zeroed bindings of the sizes that a function of static shapes takes."""
    sizes = [static((type_.size,))[0] for type_ in (*function.operands, *function.results)]
    return [memoryview(bytearray(size)) for size in sizes]


def test_a_function_survives_the_round_trip():
    function = sample()
    encoded = encode_function(function)
    decoded = decode_function(encoded, "sample")
    verify(decoded)
    assert encode_function(decoded) == encoded
    assert (decoded.operands, decoded.results, decoded.returned) == (
        function.operands, function.results, function.returned,
    )  # fmt: skip
    for before, after in zip(function.instructions, decoded.instructions):
        if isinstance(before, Constant):
            assert isinstance(after, Constant)
            np.testing.assert_array_equal(before.array, after.array)
        else:
            assert before == after


def test_a_splat_takes_one_element():
    array = np.full((1000, 1000), np.float32(-1.5))
    type_ = TensorType("f32", array.shape)
    encoded = encode_function(Function("splat", (), (type_,), (Constant(array),), (0,)))
    assert len(encoded) < 40
    decoded = decode_function(encoded, "splat")
    verify(decoded)
    (instruction,) = decoded.instructions
    assert isinstance(instruction, Constant)
    np.testing.assert_array_equal(instruction.array, array)


def test_encoding_is_compact():
    assert len(encode_function(sample())) < 400


def test_every_truncation_and_every_flipped_byte_is_refused():
    function = sample()
    data = encode_executable([encode_function(function)])
    for length in range(len(data)):
        with pytest.raises(ModuleFormatError):
            VmvxLoader().load(record_of(function, data[:length] or b"\0"))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        with pytest.raises(ModuleFormatError):
            VmvxLoader().load(record_of(function, bytes(damaged)))


def test_mutations_behind_the_checksum_are_refused_or_run_within_their_bindings():
    encoded = encode_function(sample())
    rng = np.random.default_rng(SEED)
    refused = 0
    for trial in range(3000):
        mutated = bytearray(encoded)
        for _ in range(rng.integers(1, 4)):
            mutated[rng.integers(len(mutated))] = rng.integers(256)
        try:
            (function,) = decode_executable(encode_executable([bytes(mutated)]), "sample")
            verify(function)
        except ModuleFormatError as error:
            assert "\n" not in str(error), f"seed {SEED} trial {trial}"
            refused += 1
            continue
        run_verified(function)
    assert refused > 1500


def run_verified(function: Function) -> None:
    """Run what the verifier passed; data may be refused, nothing else may go wrong."""
    if sum(type_.size for type_ in (*function.operands, *function.results)) > 1 << 20:
        return
    kernel = kernel_of(function)
    bindings = bindings_of(function)
    try:
        kernel.function(bindings, (), (0, 0, 0), (1, 1, 1))
    except (Aborted, MemoryError):
        return


VECTOR = TensorType("f32", (4,))


def unary(form: GenericForm, initial=None) -> Function:
    return Function("bad", (VECTOR,), (VECTOR,), (Generic(form, (0,), (initial,)),), (1,))


GOOD = GenericForm((4,), (), ((0,),), ((0,),), ("f32",), (ScalarStep("negf", (0,)),), (2,))
TWICE = Structured("softmax", (0,), {"axis": 0}, VECTOR)


def test_the_good_form_is_accepted():
    verify(unary(GOOD))


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (unary(replace(GOOD, extents=(5,))), "map"),
        (unary(replace(GOOD, input_maps=((1,),))), "map"),
        (unary(replace(GOOD, extents=(4, 2))), "output map"),
        (unary(replace(GOOD, reductions=(0,))), "output map"),
        (unary(replace(GOOD, reductions=(3,))), "reduction dimensions"),
        (unary(replace(GOOD, steps=(ScalarStep("negf", (7,)),))), "of value 7"),
        (unary(replace(GOOD, steps=(ScalarStep("absi", (0,)),))), "absi of f32"),
        (unary(replace(GOOD, steps=(ScalarStep("fptosi", (0,), "f64"),))), "fptosi"),
        (unary(replace(GOOD, steps=(ScalarStep("fptosi", (0,), "i32"),))), "yielded"),
        (unary(replace(GOOD, steps=(ScalarStep("cmpf", (0, 0), predicate=16),))), "cmpf"),
        (unary(replace(GOOD, steps=(ScalarStep("index", (), "i64", dimension=1),))), "index"),
        (unary(replace(GOOD, yields=(9,))), "yielded"),
        (unary(replace(GOOD, steps=(ScalarStep("negf", (1,)),))), "initial"),
        (Function("bad", (VECTOR,), (VECTOR,), (replace(TWICE, operands=(1,)),), (1,)), "register 1"),
        (Function("bad", (VECTOR,), (VECTOR,), (replace(TWICE, operands=(-1,)),), (1,)), "register -1"),
        (Function("bad", (VECTOR,), (VECTOR,), (replace(TWICE, operands=(0, 0)),), (1,)), "takes 1 operands"),
        (Function("bad", (VECTOR,), (VECTOR,), (replace(TWICE, parameters={"axis": 1}),), (1,)), "axis 1"),
        (Function("bad", (VECTOR,), (VECTOR,), (TWICE,), (2,)), "register 2"),
        (Function("bad", (VECTOR,), (TensorType("f32", (5,)),), (TWICE,), (1,)), "result 0"),
        (Function("bad", (TensorType("f32", (1 << 50,)),), (), (), ()), "tensor of"),
    ],
)  # fmt: skip
def test_the_verifier_names_the_rule(function, rule):
    with pytest.raises(ModuleFormatError, match=rule):
        verify(function)


STRUCTURED = [
    ("matmul", [(2, 3), (4, 5)], {}, (2, 5), "multiply"),
    ("matmul", [(2, 3), (3, 5)], {}, (2, 6), "the result is"),
    ("slice", [(4,)], {"offsets": (2,), "strides": (1,)}, (3,), "slice from 2 to 4"),
    ("slice", [(4,)], {"offsets": (3,), "strides": (-2,)}, (3,), "slice from 3 to -1"),
    ("pad", [(4,)], {"low": (-1,), "high": (0,), "value": 0.0}, (3,), "pad"),
    ("reshape", [(4,)], {}, (5,), "reshape"),
    ("concat", [], {"axis": 0}, (4,), "nothing"),
    ("reduce_window", [(4,)], {"kind": "min", "window": (1,), "strides": (1,), "dilations": (1,),
                               "pads_low": (0,), "pads_high": (0,)}, (4,), "kind"),
    ("reduce_window", [(4,)], {"kind": "max", "window": (2,), "strides": (0,), "dilations": (1,),
                               "pads_low": (0,), "pads_high": (0,)}, (4,), "stride"),
    ("gather", [(4,), (2,)], {"axis": 0}, (2,), "indices of f32"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shapes", "parameters", "result", "rule"), STRUCTURED)
def test_the_verifier_checks_structured_ops(name, shapes, parameters, result, rule):
    types = tuple(TensorType("f32", shape) for shape in shapes)
    op = Structured(name, tuple(range(len(types))), parameters, TensorType("f32", result))
    with pytest.raises(ModuleFormatError, match=rule):
        verify(Function("bad", types, (op.result,), (op,), (len(types),)))


def test_entry_points_must_match_the_functions():
    record = record_of(sample())
    with pytest.raises(ModuleFormatError, match="lists 0 entry points; its bytecode has 1"):
        VmvxLoader().load(replace(record, entries=()))
    with pytest.raises(ModuleFormatError, match="has 9 bindings"):
        VmvxLoader().load(replace(record, entries=(replace(record.entries[0], binding_count=9),)))


def test_a_gather_out_of_range_aborts_naming_the_kernel():
    function = sample()
    kernel = kernel_of(function)
    bindings = bindings_of(function)
    kernel.function(bindings, (), (0, 0, 0), (1, 1, 1))
    np.frombuffer(bindings[2], np.int64)[1] = 5
    with pytest.raises(Aborted, match="sample: gather index 5 is outside a dimension of 5"):
        kernel.function(bindings, (), (0, 0, 0), (1, 1, 1))


def test_short_or_missing_bindings_are_refused():
    function = sample()
    kernel = kernel_of(function)
    bindings = bindings_of(function)
    with pytest.raises(InvalidArgument, match="takes 4 bindings"):
        kernel.function(bindings[:3], (), (0, 0, 0), (1, 1, 1))
    bindings[0] = bindings[0][:-4]
    with pytest.raises(InvalidArgument, match="428 bytes for a tensor of 432"):
        kernel.function(bindings, (), (0, 0, 0), (1, 1, 1))


def test_plan_refuses_what_has_no_bytecode():
    text = """
    func.func @k(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = "tensor.cast"(%x) : (tensor<4xf32>) -> tensor<4xf32>
      func.return %y : tensor<4xf32>
    }"""
    backend = VmvxBackend("vmvx")
    with pytest.raises(NotSupported, match=r"dispatch k has an op without bytecode: tensor\.cast"):
        backend.plan(Dispatch.parse(text), backend.configuration())


def test_configurations():
    config = VmvxBackend("vmvx").configuration()
    assert (
        config.predicate == {"device_kind": "local", "executable_format": "thalweg-vmvx-1"}
        and not config.inline
    )
    inline = VmvxBackend("vmvx-inline", inline=True).configuration()
    assert inline.inline and inline.predicate == {} and inline.executable_format == config.executable_format


def test_the_loader_needs_no_compiler_and_listing_needs_no_numpy():
    program = (
        "import sys, thalweg_target_vmvx.plugin as p; s = p.thalweg_executable_loader('vmvx');"
        "assert 'numpy' not in sys.modules, 'numpy'; s.create();"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('xdsl', 'llvmlite')"
        " or m.startswith('thalweg.ir')];"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
