"""Kernels with dimensions: the format, what is refused at loading and at the call, and what is kept."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from thalweg.api import Aborted, InvalidArgument, ModuleFormatError
from thalweg.extents import Extent, dimension
from thalweg.hal.executable import HostKernel
from thalweg.ir import Dispatch, FunctionBuilder
from thalweg.ir.dialects import tw
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import EntryPoint
from thalweg.semantics import GenericForm, ScalarStep
from thalweg_target_vmvx import machine
from thalweg_target_vmvx.bytecode import Function, Generic, Instruction, Splat, Structured, TensorType
from thalweg_target_vmvx.encoding import (
    DYNAMIC,
    Writer,
    decode_executable,
    decode_function,
    encode_executable,
    encode_function,
)
from thalweg_target_vmvx.listing import listing
from thalweg_target_vmvx.loader import VmvxLoader
from thalweg_target_vmvx.translation import translate_dispatch
from thalweg_target_vmvx.verification import verify

SEED = 8
B, T = dimension("batch"), dimension("tokens")


def sample_text() -> str:
    """Every kind of extent: types, a slice's offsets, a splat, a body, a generic's space."""
    f = FunctionBuilder("sample", [("x", (B, T), "f32"), ("y", (T, 3), "f32")])
    x, y = f.arguments
    y = f.structured(tw.SliceOp, [y], (T, 2), offsets=(0, 1), strides=(1, 1))
    last = f.structured(tw.SliceOp, [x], (B, 1), offsets=(0, T - 1), strides=(1, 1))
    product = f.structured(tw.MatmulOp, [x, y], (B, 2))
    total = f.reduce([x], [1], 0.5, lambda s, v, acc: s.addf(acc, v), keepdims=True)
    z = f.elementwise(
        [product, last, total], lambda s, a, b, c: s.addf(s.mulf(a, b), s.divf(c, s.count(T * B, "f32")))
    )
    wide = f.structured(tw.ConcatOp, [[z, f.splat(2, (B, T), "f32")]], (B, T + 2), axis=1)
    return str(f.finish([("z", wide)]))


def sample() -> Function:
    return translate_dispatch(Dispatch.parse(sample_text()))


def reference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x.astype(float), y.astype(float)
    z = x @ y[:, 1:] * x[:, -1:] + (x.sum(1, keepdims=True) + 0.5) / x.size
    return np.concatenate([z, np.full_like(x, 2)], 1)


def inputs_at(batch: int, tokens: int) -> list[np.ndarray]:
    generator = np.random.default_rng([SEED, batch, tokens])
    return [generator.standard_normal(shape).astype(np.float32) for shape in ((batch, tokens), (tokens, 3))]


def record_of(
    function: Function, data: bytes | None = None, constants: int | None = None
) -> ExecutableRecord:
    bindings = len(function.operands) + len(function.results)
    count = len(function.dimensions) if constants is None else constants
    data = encode_executable([encode_function(function)]) if data is None else data
    return ExecutableRecord("sample", "thalweg-vmvx-1", data, (EntryPoint(function.name, bindings, count),))


def kernel_of(function: Function) -> HostKernel:
    (kernel,) = VmvxLoader().load(record_of(function)).kernels
    assert isinstance(kernel, HostKernel)
    return kernel


def call(kernel: HostKernel, constants: tuple[int, ...], inputs: list[np.ndarray], shape) -> np.ndarray:
    target = np.zeros(shape, np.float32)
    views = [memoryview(x.tobytes()) for x in inputs]
    kernel.function(
        [*views, memoryview(target.reshape(-1).view(np.uint8).data)], constants, (0, 0, 0), (1, 1, 1)
    )
    return target


def call_sample(kernel: HostKernel, batch: int, tokens: int) -> None:
    inputs = inputs_at(batch, tokens)
    result = call(kernel, (batch, tokens), inputs, (batch, tokens + 2))
    expected = reference(*inputs)
    assert np.linalg.norm(result - expected) <= 1e-6 * np.linalg.norm(expected), (batch, tokens)


def test_against_the_evaluator_and_float64(run_kernel):
    for batch, tokens in [(1, 1), (2, 7), (5, 300)]:
        inputs = inputs_at(batch, tokens)
        (result,) = run_kernel(sample_text(), inputs)
        expected = reference(*inputs)
        assert np.linalg.norm(result - expected) <= 1e-6 * np.linalg.norm(expected)


def test_a_function_survives_the_round_trip():
    function = sample()
    assert function.dimensions == ("batch", "tokens")
    encoded = encode_function(function)
    assert encoded.startswith(DYNAMIC) and len(encoded) < 320
    decoded = decode_function(encoded, "sample")
    verify(decoded)
    assert encode_function(decoded) == encoded
    assert replace(decoded, instructions=()) == replace(function, instructions=())
    for before, after in zip(function.instructions, decoded.instructions, strict=True):
        if isinstance(before, Splat):
            assert isinstance(after, Splat) and after.result == before.result
            assert after.element == before.element
        else:
            assert before == after


def test_the_listing_names_dimensions():
    text = listing(sample())
    assert text.startswith("function sample batch=c0 tokens=c1\n  r0 = operand batchxtokensxf32\n")
    assert "slice r0 offsets=[0, tokens-1] strides=[1, 1] : batchx1xf32" in text
    assert "= extent batch*tokens" in text
    assert "result 0" in text and "batchxtokens+2xf32" in text


def test_every_truncation_and_every_flipped_byte_is_refused():
    function = sample()
    data = encode_executable([encode_function(function)])
    for length in range(1, len(data)):
        with pytest.raises(ModuleFormatError):
            VmvxLoader().load(record_of(function, data[:length]))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        with pytest.raises(ModuleFormatError):
            VmvxLoader().load(record_of(function, bytes(damaged)))


def test_mutations_behind_the_checksum_are_refused_or_run_within_their_bindings():
    encoded = encode_function(sample())
    generator = np.random.default_rng(SEED)
    refused = ran = 0
    for trial in range(3000):
        mutated = bytearray(encoded)
        for _ in range(generator.integers(1, 4)):
            mutated[generator.integers(len(mutated))] = generator.integers(256)
        try:
            (function,) = decode_executable(encode_executable([bytes(mutated)]), "sample")
            verify(function)
        except ModuleFormatError as error:
            assert "\n" not in str(error), f"seed {SEED} trial {trial}"
            refused += 1
            continue
        bindings = [
            memoryview(bytearray(4096)) for _ in range(len(function.operands) + len(function.results))
        ]
        kernel = machine.Kernel(function)
        for constants in [(2, 3), (1, 1), (7, 2)]:
            try:
                kernel.run(bindings, constants[: len(function.dimensions)], (0, 0, 0), (1, 1, 1))
                ran += 1
            except (Aborted, InvalidArgument) as error:
                assert "\n" not in str(error), f"seed {SEED} trial {trial}"
            except MemoryError:
                pass  # a program may ask for much
    assert refused > 1000 and ran > 100


def head(names: list[str], expressions: list[str]) -> bytes:
    """Return the start of a function: its dimensions and expressions, then its name."""
    out = Writer()
    out.data += DYNAMIC
    for texts in (names, expressions):
        out.uint(len(texts))
        for text in texts:
            out.text(text)
    out.text("bad")
    return bytes(out.data)


def identity(shape: bytes) -> bytes:
    """Return the rest of a function that returns its operand, an f32 tensor."""
    return b"\x01\x0b" + shape + b"\x01\x0b" + shape + b"\x00\x00"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (head([], []), "dimensions []"),
        (head(["n", "n"], []), "dimensions ['n', 'n']"),
        (head(["n-1"], []), "'n-1' cannot name a dimension"),
        (head(["max"], []), "'max' cannot name a dimension"),
        (head(["n"], ["m"]), "the dimension 'm', which is not one of n,"),
        (head(["n"], ["n*"]), "'n*' is not an extent"),
        (head(["n"], ["n//(n-1)"]), "cannot divide by n-1"),
        (head(["n"], ["(" * 40 + "n" + ")" * 40]), "is not an extent"),
        (head(["n"], ["*".join(["(a+b+c+d+e+f)"] * 200)]), "terms"),
        (head(["n"], ["n" * 5000]), "count 5000 too large"),
        (head([f"n{i}" for i in range(65)], []), "count 65 too large"),
        (head(["n"], ["n"]) + identity(b"\x01\x03"), "expression 1 of 1"),
        (head(["n"], ["-n"]) + identity(b"\x01\x01"), "has a tensor with extent -n"),
        (head(["n"], ["-1"]) + identity(b"\x01\x01"), "impossible shape (-1,)"),
        (head(["n"], ["n"]) + b"\x00\x00\x01\x00\x0b\x01\x01", "elements of a nxf32"),
    ],
)
def test_damaged_dimensions_are_refused_at_loading(data, message):
    with pytest.raises(ModuleFormatError) as caught:
        verify(decode_function(data, "e"))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def tensor(*shape: Extent) -> TensorType:
    return TensorType("f32", shape)


def unary(instruction: Instruction, operand: TensorType, result: TensorType | None = None) -> Function:
    result = operand if result is None else result
    return Function("bad", (operand,), (result,), (instruction,), (1,), ("batch", "tokens"))


def negate(extents: tuple[Extent, ...], step: ScalarStep) -> Generic:
    form = GenericForm(extents, (), ((0,),), ((0,),), ("f32",), (step,), (2,))
    return Generic(form, (0,), (None,))


NEGATE = ScalarStep("negf", (0,))


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (unary(Structured("softmax", (0,), {"axis": 0}, tensor(T + 1)), tensor(T)), "the result"),
        (unary(Structured("softmax", (0,), {"axis": 0}, tensor(T)), tensor(T), tensor(T + 1)), "result 0"),
        (unary(Structured("softmax", (0,), {"axis": 1}, tensor(T)), tensor(T)), "axis 1 of tokensxf32"),
        (unary(Structured("softmax", (1,), {"axis": 0}, tensor(T)), tensor(T)), "register 1"),
        (unary(Structured("reshape", (0,), {}, tensor(2, T)), tensor(T), tensor(2, T)), "reshape of"),
        (
            unary(
                Structured("slice", (0,), {"offsets": (T,), "strides": (1,)}, tensor(1)), tensor(T), tensor(1)
            ),
            "slice from tokens to tokens by 1 of a dimension of tokens",
        ),
        (unary(negate((T + 1,), NEGATE), tensor(T)), "map"),
        (unary(negate((T,), ScalarStep("absi", (0,))), tensor(T)), "absi of f32"),
        (unary(negate((T,), ScalarStep("extent", (), "i32", extent=T)), tensor(T)), "extent"),
        (unary(negate((T,), ScalarStep("extent", (), "i64", extent=T)), tensor(T)), "yielded"),
        (unary(Splat(np.array(1.0), tensor(T)), tensor(T)), "a splat repeats"),
    ],
)  # fmt: skip
def test_what_is_wrong_for_every_call_is_refused_at_loading(function, rule):
    with pytest.raises(ModuleFormatError, match=rule):
        verify(function)


def slice_from(offset: Extent, size: Extent) -> Function:
    op = Structured("slice", (0,), {"offsets": (offset,), "strides": (1,)}, tensor(size))
    return Function("part", (tensor(T),), (tensor(size),), (op,), (1,), ("batch", "tokens"))


@pytest.mark.parametrize(
    ("function", "constants", "message"),
    [
        (
            slice_from(B, 2), (2, 3),
            "part at batch=2, tokens=3: vmvx function 'part', instruction 0:"
            " slice from 2 to 3 by 1 of a dimension of 3",
        ),
        (slice_from(0, T - B), (4, 3), "part at batch=4, tokens=3: -batch+tokens is -1"),
        (slice_from(0, T - B), (3,), "part takes 2 constants (batch, tokens); got 1"),
        (slice_from(0, T - B), (0, 3), "part at batch=0, tokens=3: a dimension is at least 1"),
        (
            slice_from(0, B * T * B * T), (2**32 - 1, 2**32 - 1),
            "part at batch=4294967295, tokens=4294967295: batch*batch*tokens*tokens is",
        ),
        (slice_from(0, T - B), (1, 1000), "part: a binding of 64 bytes for a tensor of 4000"),
    ],
)  # fmt: skip
def test_what_is_wrong_for_a_call_is_refused_at_the_call(function, constants, message):
    kernel = kernel_of(function)
    bindings = [memoryview(bytearray(64)), memoryview(bytearray(64))]
    with pytest.raises(InvalidArgument) as caught:
        kernel.function(bindings, constants, (0, 0, 0), (1, 1, 1))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_slice_of_nothing_is_nothing():
    kernel = kernel_of(slice_from(B, T - B))
    result = call(kernel, (3, 3), [np.zeros(3, np.float32)], (0,))
    assert result.shape == (0,)
    np.testing.assert_array_equal(call(kernel, (1, 3), [np.arange(3, dtype=np.float32)], (2,)), [1, 2])


def test_entry_points_must_state_the_dimensions():
    with pytest.raises(
        ModuleFormatError, match="has 3 bindings and 1 constants; function sample has 3 and 2"
    ):
        VmvxLoader().load(record_of(sample(), constants=1))


def test_functions_are_kept_for_the_dimensions_used_last(monkeypatch):
    monkeypatch.setattr(machine, "CACHE_SIZE", 3)
    made: list[dict[str, int]] = []
    plain = machine.specialize
    monkeypatch.setattr(
        machine, "specialize", lambda f, values: made.append(dict(values)) or plain(f, values)
    )
    kernel = kernel_of(sample())
    for tokens in (1, 2, 3, 1, 4, 1, 2):
        call_sample(kernel, 2, tokens)
    assert [values["tokens"] for values in made] == [1, 2, 3, 4, 2]


def test_threads_at_dimensions_of_their_own(monkeypatch):
    monkeypatch.setattr(machine, "CACHE_SIZE", 2)
    kernel = kernel_of(sample())

    def work(number: int) -> None:
        for turn in range(20):
            call_sample(kernel, 1 + number, 1 + (number + turn) % 5)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, number) for number in range(4)]:
            future.result()


def test_dynamic_kernels_run_without_a_compiler(tmp_path):
    path = tmp_path / "code"
    path.write_bytes(encode_executable([encode_function(sample())]))
    program = (
        "import sys; from pathlib import Path; from thalweg.module.module import ExecutableRecord as R;"
        "from thalweg.module.program import EntryPoint as E;"
        "from thalweg_target_vmvx.loader import VmvxLoader;"
        "r = R('sample', 'thalweg-vmvx-1', Path(sys.argv[1]).read_bytes(), (E('sample', 3, 2),));"
        "k = VmvxLoader().load(r).kernels[0]; b = [memoryview(bytearray(4 * n)) for n in (6, 9, 10)];"
        "k.function(b, (2, 3), (0, 0, 0), (1, 1, 1));"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('xdsl', 'llvmlite')"
        " or m.startswith('thalweg.ir')];"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)
