"""Compiles one dispatch to an image, loads it and runs it by the kernel C ABI, for the emitters' tests."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType

import numpy as np
import pytest
from emulator import EMULATED, EmulatedKernel, configuration
from thalweg.codegen.target import DispatchPlan, KernelSource, TargetConfiguration
from thalweg.dtypes import dtype_name, numpy_dtype
from thalweg.extents import Extent, evaluate
from thalweg.hal import kernel_abi
from thalweg.hal.executable import NativeKernel
from thalweg.ir import Dispatch, FunctionBuilder, element_name, extents_of
from thalweg.ir.evaluate import evaluate_function
from thalweg.module.module import ExecutableRecord
from thalweg_driver_local.elf_loader import ElfLoader
from thalweg_target_llvm_cpu.options import LlvmCpuOptions
from thalweg_target_llvm_cpu.target import LlvmCpuBackend

PROCESSORS = (
    ("host", "generic", "x86-64-v2", "haswell", "skylake-avx512")
    if platform.machine() == "x86_64"
    else ("host", "generic")
)
"""What the kernels are compiled to: no vector math instructions at all, 128, 256 and 512 bits."""

FLOATS = ("f16", "bf16", "f32", "f64")
INTEGERS = ("i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64")
TOLERANCES = {"f16": 2e-3, "bf16": 1.5e-2, "f32": 1e-6, "f64": 1e-14}
"""Relative errors by dtype; integers and booleans are exact."""

GUARD = 64
"""Bytes around the result that a kernel must not touch."""


class _Dispatch(ctypes.Structure):
    _fields_ = (
        ("bindings", ctypes.POINTER(ctypes.c_void_p)),
        ("constants", ctypes.c_void_p),
        ("workgroup_count", ctypes.c_uint32 * 3),
        ("binding_count", ctypes.c_uint32),
        ("constant_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class _Workgroup(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint32 * 3),
        ("worker", ctypes.c_uint32),
        ("local_memory", ctypes.c_void_p),
        ("local_memory_size", ctypes.c_uint64),
    )


_KERNEL = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.POINTER(_Dispatch), ctypes.POINTER(_Workgroup))


@cache
def backend(cpu: str) -> tuple[LlvmCpuBackend, TargetConfiguration]:
    """Return the backend and configuration for a processor, an emulated one perhaps; skip what
    cannot be run here.
    """
    if cpu in EMULATED:
        return configuration(cpu)
    target = LlvmCpuBackend(LlvmCpuOptions(target_cpu=cpu))
    config = target.configuration()
    missing = set(config.predicate["features"]) - ElfLoader().machine_features()
    if missing:
        pytest.skip(f"this machine lacks {', '.join(sorted(missing))}")
    return target, config


def dispatch_of(build: Callable, inputs: Sequence[tuple[Sequence[Extent], str]], constants=()) -> Dispatch:
    """Return the dispatch that ``build(f, *operands)`` writes for operands of (shape, dtype).

    :param constants: indices of the operands that are constants.
    """
    f = FunctionBuilder("kernel", [(f"x{i}", shape, dtype) for i, (shape, dtype) in enumerate(inputs)])
    result = build(f, *f.arguments)
    return Dispatch(f.finish([("y", result)]), frozenset(constants))


class NativeKernelRunner:
    """The kernel of an image, loaded into this process."""

    def __init__(self, record: ExecutableRecord):
        self._library = ElfLoader().load(record)
        (kernel,) = self._library.kernels
        assert isinstance(kernel, NativeKernel)
        self._function = _KERNEL(kernel.address)

    def run(
        self,
        arrays: Sequence[np.ndarray],
        guarded: np.ndarray,
        constants: Sequence[int],
        counts: Sequence[int],
        local_memory: int,
    ) -> int:
        """Run all workgroups; returns the first failing status, or 0.

        :param arrays: the operands, then the result, which is a part of ``guarded``.
        :param constants: push constants.
        :param counts: workgroups [x, y, z].
        :param local_memory: bytes.
        """
        table = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        words = (ctypes.c_uint32 * len(constants))(*constants)
        address = ctypes.cast(words, ctypes.c_void_p) if constants else None
        record = _Dispatch(table, address, tuple(counts), len(arrays), len(constants), 0)
        local = np.full(local_memory + 64, 0xFF, np.uint8)
        base = local.ctypes.data + -local.ctypes.data % 64
        for z, y, x in np.ndindex(*reversed(counts)):
            group = _Workgroup((x, y, z), 0, base, local_memory)
            status = self._function(ctypes.byref(record), ctypes.byref(group))
            if status != kernel_abi.STATUS_OK:
                return status
        return kernel_abi.STATUS_OK


class Kernel:
    """A dispatch compiled for the processor ``cpu`` and loaded, here or into an emulator."""

    def __init__(self, dispatch: Dispatch, cpu: str = "host"):
        target, config = backend(cpu)
        self.dispatch = dispatch
        self.plan: DispatchPlan = target.plan(dispatch, config)
        packed = {index: packing.shape for index, packing in self.plan.packings.items()}
        source = KernelSource(dispatch.name, dispatch.text(), self.plan.kernel, packed)
        self.translated = target.translate(source, config)
        linked = target.link([self.translated], config)
        record = ExecutableRecord("test", linked.format, linked.data, linked.entries)
        self._runner = EmulatedKernel(cpu, record) if cpu in EMULATED else NativeKernelRunner(record)

    @property
    def assembly(self) -> str:
        """The kernel's assembly."""
        return self.translated.dumps[".s"].decode()

    def run(
        self, inputs: Sequence[np.ndarray], dimensions: Mapping[str, int] = MappingProxyType({})
    ) -> tuple[int, np.ndarray]:
        """Run all workgroups; returns the first failing status (or 0) and the result.

        :param dimensions: the value of each dynamic dimension.
        """
        result = self.dispatch.results[0]
        shape = [evaluate(extent, dimensions) for extent in extents_of(result)]
        dtype = numpy_dtype(element_name(result.type))
        size = int(np.prod(shape)) * dtype.itemsize
        memory = np.full(size + 2 * GUARD, 0xA5, np.uint8)
        output = memory[GUARD : GUARD + size].view(dtype).reshape(shape)
        arrays = [self._packed(index, np.asarray(x)) for index, x in enumerate(inputs)]
        constants = [dimensions[name] for name in self.dispatch.dimensions]
        plan = self.plan.kernel
        counts = tuple(evaluate(count, dimensions) for count in plan.workgroup_count)
        status = self._runner.run([*arrays, output], memory, constants, counts, plan.local_memory)
        assert (memory[:GUARD] == 0xA5).all(), "wrote before the result"
        assert (memory[GUARD + size :] == 0xA5).all(), "wrote behind the result"
        return status, output

    def _packed(self, index: int, array: np.ndarray) -> np.ndarray:
        """Return the operand, packed as planned, no better aligned than the kernel ABI promises.

        That is 64 bytes for constants, the element's size for others.
        """
        packing = self.plan.packings.get(index)
        array = array if packing is None else packing.apply(array)
        memory = np.empty(array.nbytes + 64 + array.itemsize, np.uint8)
        constant = index in self.dispatch.constant_operands
        start = -memory.ctypes.data % 64 + (0 if constant else array.itemsize)
        placed = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        placed[...] = array
        return placed


def error(output: np.ndarray, reference: np.ndarray) -> float:
    """Return ‖output − reference‖ / ‖reference‖; infinite when NaN and infinities are not in
    the same places.
    """
    assert output.shape == reference.shape, f"shape {output.shape}, but should be {reference.shape}"
    assert output.dtype == reference.dtype, f"dtype {output.dtype}, but should be {reference.dtype}"
    if dtype_name(output.dtype) not in FLOATS:
        return 0.0 if np.array_equal(output, reference) else np.inf
    out, ref = output.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(ref)
    if not (np.isfinite(out) == finite).all():
        return np.inf
    if not np.array_equal(out[~finite], ref[~finite], equal_nan=True):
        return np.inf
    distance, norm = np.linalg.norm((out - ref)[finite]), np.linalg.norm(ref[finite])
    return float(distance / norm) if norm else float(distance)


def check(
    build: Callable,
    inputs: Sequence[np.ndarray],
    cpu: str = "host",
    constants: Sequence[int] = (),
    tolerance: float | None = None,
    emitter: str = "",
) -> Kernel:
    """Compile and run ``build`` on ``inputs``; compare with core's meaning, computed by NumPy in float64.

    :param emitter: the emitter that has to take the dispatch, where the test means one.
    """
    inputs = [np.asarray(x) for x in inputs]
    dispatch = dispatch_of(build, [(x.shape, dtype_name(x.dtype)) for x in inputs], constants)
    kernel = Kernel(dispatch, cpu)
    took = kernel.plan.kernel.parameters["emitter"]
    assert emitter in ("", took), f"taken by {took}, but should be by {emitter}"
    status, output = kernel.run(inputs)
    assert status == kernel_abi.STATUS_OK, f"kernel returned {status}"
    (reference,) = evaluate_function(dispatch.function, inputs, {})
    if tolerance is None:
        # The coarsest float of the computation decides, an operand's or the result's.
        dtypes = {dtype_name(x.dtype) for x in [*inputs, output]}
        tolerance = max((TOLERANCES.get(dtype, 0.0) for dtype in dtypes), default=0.0)
    found = error(output, reference)
    assert found <= tolerance, (
        f"relative error {found:.3g} > {tolerance:g}, by {took} for {cpu}\n{dispatch.text()}"
        f"\ngot {output.ravel()[:8]}, but should be {reference.ravel()[:8]}"
    )
    return kernel
