"""Own vector math: LLVM IR of exp, log, tanh, … on vectors of any length, to at most 2 ulp in float32."""

from __future__ import annotations

from thalweg_target_llvm_cpu.vector_math.catalogue import SUPPORTED, library

__all__ = ["SUPPORTED", "library"]
