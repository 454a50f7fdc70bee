"""Linked images of every architecture, read back; relocations, decoded; what the linker refuses."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from kernel_harness import dispatch_of
from thalweg.api import CompileError, ThalwegError
from thalweg.codegen.target import KernelSource, LinkedExecutable
from thalweg.ir import Dispatch, FunctionBuilder
from thalweg.ir.dialects import tw
from thalweg.module.module import ExecutableRecord
from thalweg_driver_local.elf import FORMAT_MACHINES, parse_elf
from thalweg_target_llvm_cpu import linker, machine
from thalweg_target_llvm_cpu.linking.elf_object import parse_object
from thalweg_target_llvm_cpu.linking.relocate import EM_AARCH64, EM_RISCV, EM_X86_64, RELOCATIONS, Place
from thalweg_target_llvm_cpu.options import LlvmCpuOptions
from thalweg_target_llvm_cpu.target import LlvmCpuBackend

TARGETS = {
    "x86_64 generic": LlvmCpuOptions("x86_64-unknown-linux-gnu", "generic"),
    "x86_64 haswell": LlvmCpuOptions("x86_64-unknown-linux-gnu", "haswell"),
    "x86_64 znver4": LlvmCpuOptions("x86_64-unknown-linux-gnu", "znver4"),
    "x86_64 haswell without fma": LlvmCpuOptions("x86_64-unknown-linux-gnu", "haswell", "-fma"),
    "aarch64 generic": LlvmCpuOptions("aarch64-unknown-linux-gnu", "generic"),
    "aarch64 neoverse-n2": LlvmCpuOptions("aarch64-unknown-linux-gnu", "neoverse-n2"),
    "riscv64 generic": LlvmCpuOptions("riscv64-unknown-linux-gnu", "generic"),
    "riscv64 with vectors": LlvmCpuOptions("riscv64-unknown-linux-gnu", "generic", "+v"),
}


def _all_scalars() -> Callable:
    def body(s, x):
        value = s.addf(s.exp(x), s.addf(s.log(x), s.addf(s.tanh(x), s.erf(x))))
        value = s.addf(value, s.addf(s.sin(x), s.addf(s.cos(x), s.powf(x, x))))
        return s.addf(value, s.addf(s.floor(x), s.addf(s.ceil(x), s.roundeven(x))))

    return lambda f, x: f.elementwise([x], body)


def _cast(dtype: str) -> Callable:
    name = "extf" if dtype == "f64" else "truncf"
    return lambda f, x: f.elementwise([x], lambda s, v: getattr(s, name)(v, dtype), dtype)


def _table(f: FunctionBuilder, x):
    """A constant of the kernel itself, in read-only memory."""
    return f.elementwise([x, f.constant(np.arange(8, dtype=np.float32))], lambda s, a, b: s.mulf(a, b))


WINDOW = {"strides": [1, 1], "dilations": [1, 1], "pads_low": [1, 1], "pads_high": [1, 1]}
KERNELS: dict[str, tuple[Callable, list[tuple[tuple[int, ...], str]], list[int]]] = {
    **{f"scalars_{d}": (_all_scalars(), [((37,), d)], []) for d in ("f16", "bf16", "f32", "f64")},
    **{f"cast_{a}_{b}": (_cast(b), [((37,), a)], [])
       for a, b in (("f32", "f16"), ("f64", "f16"), ("f64", "bf16"), ("f32", "f64"))},
    "to_bits": (lambda f, x: f.elementwise([x], lambda s, v: s.fptosi(v, "i1"), "i1"), [((37,), "f32")], []),
    "table": (_table, [((8,), "f32")], []),
    "transpose": (lambda f, x: f.transpose(x, [1, 0]), [((37, 41), "f32")], []),
    "reduce": (lambda f, x: f.reduce([x], [1], 0.0, lambda s, e, a: s.addf(e, a)), [((5, 67), "f32")], []),
    "softmax": (lambda f, x: f.structured(tw.SoftmaxOp, [x], (5, 67), axis=1), [((5, 67), "f32")], []),
    "norm": (lambda f, x, s, b: f.structured(tw.LayerNormOp, [x, s, b], (5, 67), axis=1, epsilon=1e-5),
             [((5, 67), "f32"), ((67,), "f32"), ((67,), "f32")], []),
    "gather": (lambda f, x, i: f.structured(tw.GatherOp, [x, i], (7, 67), axis=0),
               [((5, 67), "f32"), ((7,), "i64")], []),
    "pad": (lambda f, x: f.structured(tw.PadOp, [x], (9, 99), low=[2, 30], high=[2, 2], value=0.0),
            [((5, 67), "f32")], []),
    "gemm": (lambda f, a, b: f.structured(tw.MatmulOp, [a, b], (33, 65)),
             [((33, 37), "f32"), ((37, 65), "f32")], [1]),
    "product": (lambda f, a, b: f.structured(tw.MatmulOp, [a, b], (3, 33, 65)),
                [((3, 33, 37), "f32"), ((3, 37, 65), "f32")], []),
    "bytes": (lambda f, a, b: f.structured(tw.MatmulOp, [a, b], (3, 5), "i32"),
              [((3, 7), "i8"), ((7, 5), "i8")], []),
    "conv": (lambda f, x, w: f.structured(tw.ConvOp, [x, w], (1, 17, 13, 13), groups=1, **WINDOW),
             [((1, 8, 13, 13), "f32"), ((17, 8, 3, 3), "f32")], [1]),
    "depthwise": (lambda f, x, w: f.structured(tw.ConvOp, [x, w], (1, 8, 13, 13), groups=8, **WINDOW),
                  [((1, 8, 13, 13), "f32"), ((8, 1, 3, 3), "f32")], [1]),
}  # fmt: skip
"""Name → (what it computes, operands, constants): at least one kernel of every emitter."""


def _named(name: str) -> Dispatch:
    build, inputs, constants = KERNELS[name]
    dispatch = dispatch_of(build, inputs, constants)
    return Dispatch.parse(dispatch.text().replace("@kernel(", f"@{name}("))


@cache
def objects(target: str) -> dict[str, bytes]:
    """Return kernel → relocatable object."""
    backend = LlvmCpuBackend(TARGETS[target])
    config = backend.configuration()
    found = {}
    for name in KERNELS:
        dispatch = _named(name)
        plan = backend.plan(dispatch, config)
        packed = {index: packing.shape for index, packing in plan.packings.items()}
        source = KernelSource(dispatch.name, dispatch.text(), plan.kernel, packed)
        found[name] = backend.translate(source, config).payload
    return found


def _image(target: str) -> bytes:
    settings = LlvmCpuBackend(TARGETS[target]).configuration().settings
    return linker.link(list(objects(target).items()), list(KERNELS), settings)


def _symbols(image: bytes) -> dict[str, tuple[int, int]]:
    """Return name → (section number, address) of the dynamic symbols, from the section headers."""
    table, entry, count = struct.unpack_from("<Q10xHH", image, 40)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, table + entry * i) for i in range(count)]
    (symbols,) = [header for header in headers if header[1] == 11]
    names = headers[symbols[6]]
    found = {}
    for place in range(symbols[4] + 24, symbols[4] + symbols[5], 24):
        name, _, _, section, address, _ = struct.unpack_from("<IBBHQQ", image, place)
        start = names[4] + name
        found[image[start : image.index(b"\0", start)].decode()] = (section, address)
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_exports_its_kernels_and_needs_nothing(target: str) -> None:
    image = _image(target)
    symbols = _symbols(image)
    assert set(symbols) == set(KERNELS)
    assert all(section != 0 for section, _ in symbols.values()), f"undefined: {symbols}"
    config = LlvmCpuBackend(TARGETS[target]).configuration()
    parsed = parse_elf(image, FORMAT_MACHINES[config.executable_format])
    executable = [s for s in parsed.segments if s.flags & 1]
    assert len(executable) == 1
    assert not any(s.flags & 1 and s.flags & 2 for s in parsed.segments)
    for name, (_, address) in symbols.items():
        assert executable[0].holds(address, 4), f"{name} is not code"


@pytest.mark.parametrize("target", TARGETS)
def test_every_relocation_was_applied(target: str) -> None:
    """The objects do have relocations: what is tested above was not for want of them."""
    kinds = {
        relocation.kind
        for name, data in objects(target).items()
        for section in parse_object(name, data).sections.values()
        for relocation in section.relocations
    }
    wanted = {"x86_64": {2}, "aarch64": {275, 277}, "riscv64": {23, 24}}[target.split()[0]]
    assert wanted <= kinds, f"relocations {sorted(kinds)}"


@pytest.mark.parametrize("target", ["x86_64 haswell", "aarch64 generic", "riscv64 generic"])
def test_linking_twice_gives_the_same_bytes(target: str) -> None:
    assert _image(target) == _image(target)


PROGRAM = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import test_linker
test_linker.KERNELS = {k: test_linker.KERNELS[k] for k in ("scalars_f32", "softmax", "conv", "table")}
print(hashlib.sha256(test_linker._image("x86_64 generic")).hexdigest())
"""


def test_processes_with_other_hash_seeds_give_the_same_bytes() -> None:
    digests = set()
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        digests.add(result.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == len(hashlib.sha256().hexdigest())


# -- relocations
# ----------------------------------------------------------------------------------------------------


def _apply(machine_number: int, kind: int, word: int, address: int, target: int, size: int = 4) -> int:
    """Return the bytes at ``address`` after one relocation, as an integer."""
    image = bytearray(0x6000)
    image[address : address + size] = word.to_bytes(size, "little")
    RELOCATIONS[machine_number][kind](Place(image, address, target, "kernel 'k', section .text"))
    return int.from_bytes(image[address : address + size], "little")


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


@pytest.mark.parametrize("target", [0x10, 0x1FF8, 0x5000])
def test_x86_64_distances(target: int) -> None:
    for kind in (2, 4):
        assert _signed(_apply(EM_X86_64, kind, 0, 0x2000, target), 32) == target - 0x2000
    assert _signed(_apply(EM_X86_64, 24, 0, 0x2000, target, 8), 64) == target - 0x2000


@pytest.mark.parametrize("target", [0x10, 0x1FF0, 0x5670, 0x12345670])
def test_aarch64_page_and_low_part_make_the_address(target: int) -> None:
    adrp = _apply(EM_AARCH64, 275, 0x90000000, 0x2004, target)
    assert adrp & 0x9F00001F == 0x90000000
    pages = _signed((adrp >> 5 & 0x7FFFF) << 2 | adrp >> 29 & 3, 21)
    add = _apply(EM_AARCH64, 277, 0x91000000, 0x2008, target)
    assert (0x2004 & ~0xFFF) + pages * 4096 + (add >> 10 & 0xFFF) == target
    for kind, scale in ((278, 1), (284, 2), (285, 4), (286, 8), (299, 16)):
        load = _apply(EM_AARCH64, kind, 0xF9400000, 0x2008, target)
        assert (load >> 10 & 0xFFF) * scale == target & 0xFFF
        assert load & ~(0xFFF << 10) == 0xF9400000


@pytest.mark.parametrize("target", [0x10, 0x2FFC, 0x5000])
@pytest.mark.parametrize(
    "kind, bits, shift", [(282, 26, 0), (283, 26, 0), (280, 19, 5), (279, 14, 5), (273, 19, 5)]
)
def test_aarch64_branches(kind: int, bits: int, shift: int, target: int) -> None:
    word = _apply(EM_AARCH64, kind, 0, 0x2000, target)
    assert 4 * _signed(word >> shift & ((1 << bits) - 1), bits) == target - 0x2000


def _riscv_branch(w: int) -> int:
    return _signed((w >> 31) << 12 | (w >> 7 & 1) << 11 | (w >> 25 & 63) << 5 | (w >> 8 & 15) << 1, 13)


def _riscv_jump(w: int) -> int:
    return _signed((w >> 31) << 20 | (w >> 12 & 255) << 12 | (w >> 20 & 1) << 11 | (w >> 21 & 1023) << 1, 21)


def _riscv_compressed_branch(w: int) -> int:
    return _signed(
        (w >> 12 & 1) << 8 | (w >> 5 & 3) << 6 | (w >> 2 & 1) << 5 | (w >> 10 & 3) << 3 | (w >> 3 & 3) << 1, 9
    )


def _riscv_compressed_jump(w: int) -> int:
    return _signed(
        (w >> 12 & 1) << 11 | (w >> 8 & 1) << 10 | (w >> 9 & 3) << 8 | (w >> 6 & 1) << 7 | (w >> 7 & 1) << 6
        | (w >> 2 & 1) << 5 | (w >> 11 & 1) << 4 | (w >> 3 & 7) << 1, 12,
    )  # fmt: skip


@pytest.mark.parametrize("distance", [-254, -2, 2, 84, 170, 254])
@pytest.mark.parametrize(
    "kind, size, decode",
    [
        (16, 4, _riscv_branch),
        (17, 4, _riscv_jump),
        (44, 2, _riscv_compressed_branch),
        (45, 2, _riscv_compressed_jump),
    ],
)
def test_riscv_branches(kind: int, size: int, decode: Callable[[int], int], distance: int) -> None:
    assert decode(_apply(EM_RISCV, kind, 0, 0x2000, 0x2000 + distance, size)) == distance


@pytest.mark.parametrize("distance", [-0x1804, -0x800, 0x7FE, 0x800, 0x12345678])
def test_riscv_calls(distance: int) -> None:
    both = _apply(EM_RISCV, 19, 0, 0x2000, 0x2000 + distance, 8)
    high, low = both & 0xFFFFFFFF, both >> 32
    assert _signed(high & 0xFFFFF000, 32) + _signed(low >> 20, 12) == distance


@pytest.mark.parametrize(
    "machine_number, kind, target", [(EM_X86_64, 2, 1 << 40), (EM_AARCH64, 283, 1 << 40)]
)
def test_a_distance_that_does_not_fit_is_refused(machine_number: int, kind: int, target: int) -> None:
    with pytest.raises(
        CompileError, match=r"kernel 'k', section \.text: a distance of \d+ bytes does not fit"
    ):
        _apply(machine_number, kind, 0, 0x2000, target)


# -- what is refused
# -------------------------------------------------------------------------------------------------

SETTINGS = LlvmCpuBackend(TARGETS["x86_64 generic"]).configuration().settings


def _object(text: str) -> bytes:
    return machine.compile_to_object(text, SETTINGS)


def test_an_undefined_function_is_named_with_its_kernel() -> None:
    text = "declare double @fmod(double, double)\ndefine double @k(double %x) {\n"
    data = _object(text + "  %y = call double @fmod(double %x, double 2.0)\n  ret double %y\n}\n")
    with pytest.raises(
        CompileError, match=r"^kernel 'k' calls 'fmod', which nothing defines: .*x86_64.*memset"
    ):
        linker.link([("k", data)], ["k"], SETTINGS)


def test_a_function_defined_twice_is_named_with_both() -> None:
    data = _object("define void @k() {\n  ret void\n}\n")
    with pytest.raises(CompileError, match="the function 'k' is defined by 'a' and by 'b'"):
        linker.link([("a", data), ("b", data)], ["k"], SETTINGS)


def test_an_export_that_is_not_there_is_named() -> None:
    with pytest.raises(CompileError, match="no object defines the function 'other'"):
        linker.link([("k", _object("define void @k() {\n  ret void\n}\n"))], ["other"], SETTINGS)


def test_objects_of_two_machines_are_refused() -> None:
    foreign = LlvmCpuBackend(TARGETS["aarch64 generic"]).configuration().settings
    text = "define void @{}() {{\n  ret void\n}}\n"
    mine = machine.compile_to_object(text.format("a"), SETTINGS)
    other = machine.compile_to_object(text.format("b"), foreign)
    with pytest.raises(CompileError, match="the object of 'b' is for machine 183, not 62"):
        linker.link([("a", mine), ("b", other)], ["a"], SETTINGS)


def test_text_that_llvm_does_not_accept_gives_its_complaint_in_one_line() -> None:
    with pytest.raises(CompileError, match="LLVM does not accept the code of this kernel: ") as caught:
        _object("define i32 @k() {\n  ret i64 0\n}\n")
    assert "\n" not in str(caught.value)


WRONG_OPTIONS = {
    ("", "haswel", ""): "LLVM knows no processor 'haswel' for x86_64; the nearest are haswell",
    ("", "cortex-a76", ""): "LLVM knows no processor 'cortex-a76' for x86_64",
    ("x86-64-linux", "", ""): "no code can be made for the triple 'x86-64-linux'.*did you mean 'x86_64'",
    (
        "sparc-unknown-linux-gnu",
        "",
        "",
    ): "no code can be made for the triple 'sparc-unknown-linux-gnu'; known: x86_64",
    ("x86_64-pc-windows-msvc", "", ""): "is not one of a Linux system; write x86_64-unknown-linux-gnu",
    ("aarch64-unknown-linux-gnu", "host", ""): "--target-cpu=host is this machine's processor",
    ("", "generic", "avx2"): "processor feature 'avx2' needs a sign: write \\+avx2 to add it or -avx2",
    ("", "generic", "+avx3"): "LLVM knows no processor feature 'avx3' for x86_64; the nearest are avx",
    ("", "generic", "+sha"): "processor feature 'sha' makes no difference to Thalweg's code for x86_64",
    ("aarch64-unknown-linux-gnu", "", "-neon"): "processor feature 'neon' cannot be taken away",
}
"""(triple, processor, features) → the one line."""


@pytest.mark.parametrize("options, message", WRONG_OPTIONS.items(), ids=lambda value: str(value)[:40])
def test_names_that_are_not_known_give_one_clear_line(options: tuple[str, str, str], message: str) -> None:
    triple, cpu, features = options
    triple = triple or "x86_64-unknown-linux-gnu"
    with pytest.raises(ThalwegError, match=message) as caught:
        LlvmCpuBackend(LlvmCpuOptions(triple, cpu, features)).configuration()
    assert "\n" not in str(caught.value)


def test_features_taken_away_take_those_that_need_them() -> None:
    config = LlvmCpuBackend(LlvmCpuOptions("x86_64-unknown-linux-gnu", "znver4", "-avx2")).configuration()
    assert not {"avx2", "avx512f", "avx512vl"} & set(config.predicate["features"])
    assert config.settings["vector_bits"] == 256
    assert "avx" in config.predicate["features"]


def test_features_added_bring_those_they_need() -> None:
    config = LlvmCpuBackend(LlvmCpuOptions("x86_64-unknown-linux-gnu", "generic", "+avx512f")).configuration()
    assert {"avx", "avx2", "fma", "sse4.2"} <= set(config.predicate["features"])


def test_the_linked_executable_lists_its_entries() -> None:
    backend = LlvmCpuBackend(TARGETS["x86_64 generic"])
    config = backend.configuration()
    dispatch = _named("reduce")
    plan = backend.plan(dispatch, config)
    translated = backend.translate(KernelSource("reduce", dispatch.text(), plan.kernel, {}), config)
    linked: LinkedExecutable = backend.link([translated], config)
    record = ExecutableRecord("test", linked.format, linked.data, linked.entries)
    assert record.format == "thalweg-elf-x86_64-1"
    assert [entry.name for entry in linked.entries] == ["reduce"]
    assert set(translated.dumps) == {".ll", ".optimized.ll", ".s", ".o"}
