"""A module made by hand over the fake kernels."""

from __future__ import annotations

import ml_dtypes
import numpy as np
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

from .fakes import FORMAT, KERNELS

WEIGHT = np.array([[1, 2, 3], [-1, -2, -3]], np.float32)


def _tensor(name, shape, dtype="f32"):
    return TensorSignature(name, shape, dtype)


def _main() -> tuple[FunctionSignature, HostFunction]:
    """(x, s) → y = x * weight + s, n = how many of x are positive."""
    slots = (
        Slot(SlotKind.INPUT, 0, 24),
        Slot(SlotKind.INPUT, 1, 4),
        Slot(SlotKind.CONSTANT, 0, 24),
        Slot(SlotKind.TRANSIENT, 0, 128),
        Slot(SlotKind.OUTPUT, 1, 8),
        Slot(SlotKind.OUTPUT, 0, 24),
    )
    x, s, w, product, zeros = Span(0, 0, 24), Span(1, 0, 4), Span(2, 0, 24), Span(3, 0, 24), Span(3, 64, 24)
    commands = (
        FillCommand(zeros, b"\0"),
        DispatchCommand(0, 0, (1, 1, 1), (), (x, w, product)),
        DispatchCommand(0, 2, (1, 1, 1), (), (x, Span(4, 0, 8))),
        BarrierCommand(),
        DispatchCommand(0, 1, (1, 1, 1), (), (product, s, zeros, Span(5, 0, 24))),
    )
    signature = FunctionSignature(
        "main", (_tensor("x", (2, 3)), _tensor("s", ())), (_tensor("y", (2, 3)), _tensor("n", (), "i64"))
    )
    return signature, HostFunction("main", slots, commands)


def _copying(name: str, shape: tuple[int, ...], dtype: str, size: int):
    slots = (Slot(SlotKind.INPUT, 0, size), Slot(SlotKind.OUTPUT, 0, size))
    commands = (CopyCommand(Span(0, 0, size), Span(1, 0, size)),)
    signature = FunctionSignature(name, (_tensor("x", shape, dtype),), (_tensor("y", shape, dtype),))
    return signature, HostFunction(name, slots, commands)


def _strict() -> tuple[FunctionSignature, HostFunction]:
    """x → x, failing where it is negative."""
    slots = (Slot(SlotKind.INPUT, 0, 16), Slot(SlotKind.OUTPUT, 0, 16))
    commands = (DispatchCommand(0, 3, (1, 1, 1), (), (Span(0, 0, 16), Span(1, 0, 16))),)
    return (
        FunctionSignature("strict", (_tensor("x", (4,)),), (_tensor("y", (4,)),)),
        HostFunction("strict", slots, commands),
    )


def make_module(inline: bool = False, **predicate) -> Module:
    """Return the module; by default for local devices and the fake format."""
    pairs = [
        _main(),
        _strict(),
        _copying("empty", (0, 4), "f32", 0),
        _copying("half", (3,), "bf16", 6),
        _copying("flags", (2, 2), "i1", 4),
        _copying("copy", (16,), "f32", 64),
    ]
    entries = tuple(
        EntryPoint(name, len(dtypes), binding_access=accesses)
        for name, (_, dtypes, accesses) in KERNELS.items()
    )
    predicate = predicate or {"device_kind": "local", "executable_format": FORMAT, "features": ["numpy"]}
    variant = Variant(
        name="fake",
        backend="fake",
        predicate=predicate,
        executables=(ExecutableRecord("kernels", FORMAT, b"", entries),),
        functions=tuple(function for _, function in pairs),
        constants=("weight",),
        inline=inline,
    )
    signatures = tuple(signature for signature, _ in pairs)
    return Module("sample", "tests", signatures, (variant,), {"weight": WEIGHT})


def bfloat16(values) -> np.ndarray:
    """Return an array of bfloat16."""
    return np.array(values, ml_dtypes.bfloat16)
