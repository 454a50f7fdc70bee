"""How the compiler's errors say where they come from: the model's node, the kernel and the phase."""

from __future__ import annotations

from thalweg.compiler.dumping import Dumper
from thalweg.errors import CompileError, NotSupported


def describe_kernel(kernel: str, node: str) -> str:
    """Return how messages call a kernel: by the nodes it computes, where they are known."""
    return f"node {node!r} (kernel {kernel})" if node else f"a computed op (kernel {kernel})"


def explain(error: CompileError | NotSupported, phase: str, dumper: Dumper) -> CompileError | NotSupported:
    """Return ``error`` with the phase it was raised in; what the importer raises names its node already.

    A refusal by a pass becomes a ``CompileError`` that says how to see what the pass was given.
    """
    if phase == "input":
        return error
    if isinstance(error, CompileError):
        return CompileError(f"{error} (phase {phase})")
    hint = "see the last file of --dump-dir" if dumper.enabled else "--dump-dir DIR shows the program before"
    return CompileError(f"{error} (phase {phase}; {hint})")
