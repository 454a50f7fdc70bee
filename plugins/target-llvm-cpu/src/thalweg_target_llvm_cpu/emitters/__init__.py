"""Kernel emitters: one file per family. An emitter plans a dispatch it recognises and writes its LLVM IR."""

from __future__ import annotations

from thalweg_target_llvm_cpu.emitters.select import emit, plan

__all__ = ["emit", "plan"]
