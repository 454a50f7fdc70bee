"""The functions that LLVM's own code calls where the processor has no instruction: small, and linked when
called.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from thalweg_target_llvm_cpu import machine
from thalweg_target_llvm_cpu.builtins.sources import SOURCES

NAMES = frozenset(SOURCES)
"""The symbols that can be resolved."""


def compile_builtin(name: str, settings: Mapping[str, Any]) -> bytes | None:
    """Return the relocatable object that defines ``name``, or ``None`` if there is no such builtin."""
    if name not in SOURCES:
        return None
    return _compiled(name, tuple(sorted(settings.items())))


@cache
def _compiled(name: str, settings: tuple[tuple[str, Any], ...]) -> bytes:
    return machine.compile_to_object(SOURCES[name], dict(settings))
