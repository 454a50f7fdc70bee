"""A small module whose constants can stand outside."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from thalweg.module.module import Module, Variant
from thalweg.module.program import (
    CopyCommand,
    FunctionSignature,
    HostFunction,
    Slot,
    SlotKind,
    Span,
    TensorSignature,
)

SIGNATURE = FunctionSignature("main", (), (TensorSignature("y", (16,), "f32"),))


def sample(name: str = "sample", seed: int = 5) -> Module:
    """Return a module of six constants, three of more than a kilobyte, which ``main`` copies none of."""
    generator = np.random.default_rng(seed)
    constants = {
        "small": np.arange(16, dtype=np.float32),
        "weight": np.random.default_rng(1).standard_normal((64, 48)).astype(np.float32),
        "flat": generator.standard_normal(3072).astype(np.float32),
        "half": generator.standard_normal((33, 21)).astype(ml_dtypes.bfloat16),
        "scalar": np.array(7),
    }
    slots = (Slot(SlotKind.CONSTANT, 0, 64), Slot(SlotKind.OUTPUT, 0, 64))
    function = HostFunction("main", slots, (CopyCommand(Span(0, 0, 64), Span(1, 0, 64)),))
    variant = Variant("v", "b", {}, (), (function,), tuple(constants))
    return Module(name, "tests", (SIGNATURE,), (variant,), constants)
