"""Compiles one dispatch to object code and runs it by the kernel C ABI, for the emitters' tests."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llvmlite.binding as llvm
import numpy as np
from thalweg.codegen.target import KernelSource, TargetConfiguration
from thalweg.dtypes import numpy_dtype
from thalweg.ir import Dispatch, FunctionBuilder, element_name, shape_of
from thalweg.ir.evaluate import evaluate_function
from thalweg_target_llvm_cpu import emitters

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


class DispatchStruct(ctypes.Structure):
    _fields_ = [
        ("bindings", ctypes.POINTER(ctypes.c_void_p)),
        ("constants", ctypes.c_void_p),
        ("workgroup_count", ctypes.c_uint32 * 3),
        ("binding_count", ctypes.c_uint32),
        ("constant_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class WorkgroupStruct(ctypes.Structure):
    _fields_ = [
        ("id", ctypes.c_uint32 * 3),
        ("worker", ctypes.c_uint32),
        ("local_memory", ctypes.c_void_p),
        ("local_memory_size", ctypes.c_uint64),
    ]


def features(bits):
    if bits == 512:
        return "+avx512f,+avx512dq,+avx512bw,+avx512vl,+avx2,+fma,+f16c,-prefer-256-bit"
    if bits == 256:
        return "+avx2,+fma,+f16c"
    return "+sse4.2"


def config(bits):
    return TargetConfiguration(
        "llvm-cpu",
        "thalweg-elf-x86_64-1",
        settings={
            "vector_bits": bits,
            "vector_registers": 32 if bits == 512 else 16,
            "features": features(bits),
            "triple": "x86_64-unknown-linux-gnu",
            "cpu": "generic",
        },
    )


def dispatch_of(build, inputs):
    """inputs: list of (shape, dtype); build(f, *args) -> value"""
    f = FunctionBuilder("kernel", [(f"x{i}", s, d) for i, (s, d) in enumerate(inputs)])
    y = build(f, *f.arguments)
    return Dispatch(f.finish([("y", y)]))


class Compiled:
    def __init__(self, dispatch, bits=512):
        self.dispatch = dispatch
        cfg = config(bits)
        self.plan = emitters.plan(dispatch, cfg)
        packed = {i: p.shape for i, p in self.plan.packings.items()}
        self.ir = emitters.emit(KernelSource(dispatch.name, dispatch.text(), self.plan.kernel, packed), cfg)
        mod = llvm.parse_assembly(self.ir)
        mod.verify()
        tm = llvm.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine(
            cpu="x86-64", features=features(bits), opt=3, codemodel="default"
        )
        pto = llvm.create_pipeline_tuning_options(speed_level=3)
        pto.loop_vectorization = False
        pto.slp_vectorization = False
        pb = llvm.create_pass_builder(tm, pto)
        pm = pb.getModulePassManager()
        pm.run(mod, pb)
        self.optimised = str(mod)
        self.asm = tm.emit_assembly(llvm.parse_assembly(self.optimised))
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(self.optimised), tm)
        self.engine.finalize_object()
        address = self.engine.get_function_address(dispatch.name)
        self.function = ctypes.CFUNCTYPE(
            ctypes.c_int32, ctypes.POINTER(DispatchStruct), ctypes.POINTER(WorkgroupStruct)
        )(address)

    def run(self, inputs: Sequence[np.ndarray]):
        result = self.dispatch.results[0]
        shape, dtype = shape_of(result), numpy_dtype(element_name(result.type))
        guard = 64
        size = int(np.prod(shape))
        raw = np.full(size * dtype.itemsize + 2 * guard, 0xA5, np.uint8)
        out = raw[guard : guard + size * dtype.itemsize].view(dtype).reshape(shape)
        arrays = [np.ascontiguousarray(x).reshape(x.shape) for x in inputs] + [out]
        table = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        count = self.plan.kernel.workgroup_count
        record = DispatchStruct(table, None, count, len(arrays), 0, 0)
        local = np.zeros(self.plan.kernel.local_memory + 64, np.uint8)
        base = -(-local.ctypes.data // 64) * 64
        status = 0
        for z in range(count[2]):
            for y in range(count[1]):
                for x in range(count[0]):
                    group = WorkgroupStruct((x, y, z), 0, base, self.plan.kernel.local_memory)
                    status = status or self.function(ctypes.byref(record), ctypes.byref(group))
        assert (raw[:guard] == 0xA5).all() and (raw[guard + size * dtype.itemsize :] == 0xA5).all(), (
            "wrote outside"
        )
        self.status = status
        return out


def check(build, inputs, bits=512, tol=1e-6, reference=None):
    d = dispatch_of(build, [(a.shape, _name(a)) for a in inputs])
    k = Compiled(d, bits)
    out = k.run(inputs)
    assert k.status == 0, k.status
    ref = reference if reference is not None else evaluate_function(d.function, inputs, {})[0]
    a, r = out.astype(np.float64), np.asarray(ref).astype(np.float64)
    assert a.shape == r.shape, (a.shape, r.shape)
    finite = np.isfinite(r)
    assert ((a == r) | (np.isnan(a) & np.isnan(r)) | finite).all()
    err = np.linalg.norm((a - r)[finite]) / max(np.linalg.norm(r[finite]), 1e-30)
    assert err <= tol, err
    return k


def _name(a):
    from thalweg.dtypes import dtype_name

    return dtype_name(a.dtype)
