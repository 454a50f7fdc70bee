"""A small module made by hand, with its file."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from thalweg.module.file import module_bytes
from thalweg.module.module import ExecutableRecord, Module, Variant
from thalweg.module.program import (
    BarrierCommand,
    CopyCommand,
    DispatchCommand,
    EntryPoint,
    FillCommand,
    FunctionSignature,
    HostFunction,
    Slot,
    SlotKind,
    Span,
    TensorSignature,
)

MAIN = FunctionSignature(
    "main", (TensorSignature("x", (4, 4), "f32"),), (TensorSignature("y", (4, 4), "f32"),)
)

FUNCTION = HostFunction(
    "main",
    (
        Slot(SlotKind.CONSTANT, 0, 64),
        Slot(SlotKind.INPUT, 0, 64),
        Slot(SlotKind.OUTPUT, 0, 64),
        Slot(SlotKind.TRANSIENT, 0, 128),
    ),
    (
        FillCommand(Span(3, 0, 64), b"\0"),
        CopyCommand(Span(1, 0, 64), Span(3, 64, 64)),
        BarrierCommand(),
        DispatchCommand(0, 0, (1, 1, 1), (7,), (Span(0, 0, 64), Span(3, 64, 64), Span(2, 0, 64))),
    ),
)

ENTRY = EntryPoint("add", 3, constant_count=1, local_memory=256, binding_access=("r", "r", "w"))


def sample_module(large: int = (1 << 18) + 5) -> Module:
    """Return a module with two variants and six constants: one of ``large`` floats, two of them equal."""
    generator = np.random.default_rng(2)
    weight = generator.standard_normal((4, 4)).astype(np.float32)
    constants = {
        "weight": weight,
        "same": weight.copy(),
        "half": np.arange(7).astype(ml_dtypes.bfloat16),
        "large": generator.standard_normal(large).astype(np.float32),
        "scalar": np.array(True),
        "nothing": np.zeros((0, 3), np.int64),
    }
    record = ExecutableRecord("kernels", "thalweg-elf-x86_64-1", bytes(range(256)) * 5, (ENTRY,))
    portable = ExecutableRecord("kernels", "thalweg-vmvx-1", b"bytecode", (ENTRY,))
    variants = (
        Variant(
            name="avx512",
            backend="llvm-cpu",
            predicate={"device_kind": "local", "executable_format": "thalweg-elf-x86_64-1", "features":
            ["avx512f"]}, executables=(record,), functions=(FUNCTION,), constants=("weight", "large"),
            statistics={"transient_bytes": 128, "ratio": 0.1},
        ),
        Variant(
            name="portable",
            backend="vmvx",
            predicate={"executable_format": "thalweg-vmvx-1"},
            executables=(portable,),
            functions=(FUNCTION,),
            constants=("same", "half"),
            inline=True,
        ),
    )  # fmt: skip
    return Module("sample", "thalweg tests", (MAIN,), variants, constants)


@pytest.fixture(scope="session")
def module() -> Module:
    """The sample module."""
    return sample_module()


@pytest.fixture(scope="session")
def data(module: Module) -> bytes:
    """The sample module's file."""
    return module_bytes(module)
