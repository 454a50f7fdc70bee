"""The emulator itself: it kills what its processor cannot do, and says so; absent, it is a reason to skip."""

from __future__ import annotations

import shutil
from types import MappingProxyType

import emulator
import numpy as np
import pytest
from emulator import EMULATED, REQUIRE, EmulatedKernel, Guest, GuestFailed, configuration
from kernel_harness import PROCESSORS, Kernel, dispatch_of
from thalweg.codegen.target import KernelSource
from thalweg.hal import kernel_abi
from thalweg.ir.dialects import tw
from thalweg.module.module import ExecutableRecord
from thalweg_target_llvm_cpu.options import LlvmCpuOptions
from thalweg_target_llvm_cpu.target import LlvmCpuBackend

X = np.linspace(-3, 3, 64, dtype=np.float32)


def _compiled_for(options: LlvmCpuOptions, dtype: str) -> ExecutableRecord:
    """Return an image that adds two arrays of 64 elements."""
    target = LlvmCpuBackend(options)
    config = target.configuration()
    add = lambda f, x, y: f.elementwise([x, y], lambda s, a, b: s.addf(a, b))
    dispatch = dispatch_of(add, [((64,), dtype)] * 2)
    plan = target.plan(dispatch, config)
    translated = target.translate(KernelSource(dispatch.name, dispatch.text(), plan.kernel, {}), config)
    linked = target.link([translated], config)
    return ExecutableRecord("test", linked.format, linked.data, linked.entries)


@pytest.mark.parametrize(
    "cpu, features, dtype",
    [
        ("riscv64", "+v", "f32"),
        ("aarch64", "+fullfp16", "f16"),
        ("emulated x86-64-v2", "+avx2", "f32"),
        ("emulated x86-64-v3", "+avx512bw,+avx512dq,+avx512vl", "f32"),
    ],
)
def test_a_kernel_that_uses_more_than_the_processor_has_is_killed(
    cpu: str, features: str, dtype: str
) -> None:
    configuration(cpu)
    options = LlvmCpuOptions(EMULATED[cpu].options.target_triple, "generic", features)
    kernel = EmulatedKernel(cpu, _compiled_for(options, dtype))
    x = X.astype({"f32": np.float32, "f16": np.float16}[dtype])
    memory = np.zeros(x.nbytes, np.uint8)
    with pytest.raises(GuestFailed, match="SIGILL"):
        kernel.run([x, x, memory.view(x.dtype)], memory, [], (1, 1, 1), 0)


@pytest.mark.parametrize("cpu", ["aarch64", "riscv64", "riscv64 +v of 128 bits"])
def test_a_foreign_kernel_refuses_an_index_out_of_range(cpu: str) -> None:
    build = lambda f, d, i: f.structured(tw.GatherOp, [d, i], (3, 3), axis=0)
    kernel = Kernel(dispatch_of(build, [((5, 3), "f32"), ((3,), "i64")]), cpu)
    data, indices = np.arange(15, dtype=np.float32).reshape(5, 3), np.array([0, 5, 1])
    status, _ = kernel.run([data, indices])
    assert status == kernel_abi.STATUS_INDEX_OUT_OF_RANGE
    status, output = kernel.run([data, np.array([4, -5, 1])])
    assert status == kernel_abi.STATUS_OK
    assert np.array_equal(output, data[[4, 0, 1]])


def test_no_emulated_processor_hides_one_that_runs_here() -> None:
    assert not set(EMULATED) & set(PROCESSORS)


@pytest.mark.parametrize("place", [-1, 1 << 16])
def test_memory_around_operands_cannot_be_touched(place: int) -> None:
    guest = Guest("aarch64")
    start = guest.map(1)
    guest.write(start, b"\1" * (1 << 16))
    assert guest.read(start + 5, 3) == b"\1" * 3
    with pytest.raises(GuestFailed, match="with status 1"):
        guest.write(start + place, b"\1")


def test_a_missing_emulator_skips_and_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv(REQUIRE, raising=False)
    with pytest.raises(
        pytest.skip.Exception, match=r"qemu-aarch64 is not installed .*apt-get install qemu-user"
    ):
        emulator.configuration.__wrapped__("aarch64")
    monkeypatch.setenv(REQUIRE, "something,qemu")
    with pytest.raises(pytest.fail.Exception, match="THALWEG_REQUIRE asks for qemu"):
        emulator.configuration.__wrapped__("aarch64")


def test_a_processor_that_the_emulator_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration("aarch64")
    monkeypatch.delenv(REQUIRE, raising=False)
    unknown = emulator.Processor(EMULATED["aarch64"].options, "qemu-aarch64", ("cortex-z1", "cortex-z2"))
    monkeypatch.setattr(emulator, "EMULATED", MappingProxyType({**EMULATED, "aarch64": unknown}))
    with pytest.raises(pytest.skip.Exception, match=r"does not emulate aarch64 .*cortex-z2"):
        emulator._command.__wrapped__("aarch64")
