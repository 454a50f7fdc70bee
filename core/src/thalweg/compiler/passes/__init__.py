"""Passes on programs, one idea a file; ``PASSES`` is what ``thalweg opt`` runs by name."""

from __future__ import annotations

from thalweg.compiler.passes.batch_norm_folding import FOLD_BATCH_NORMS
from thalweg.compiler.passes.canonicalize import CANONICALIZE, COMMON_SUBEXPRESSIONS, DEAD_CODE
from thalweg.compiler.passes.constant_folding import FOLD_CONSTANTS
from thalweg.compiler.passes.decompose import DECOMPOSE
from thalweg.compiler.passes.dispatch_creation import CREATE_DISPATCHES
from thalweg.compiler.passes.elementwise_fusion import FUSE_ELEMENTWISE
from thalweg.compiler.passes.reshape_propagation import PROPAGATE_RESHAPES
from thalweg.compiler.passes.rewriting import Pass

PASSES: dict[str, Pass] = {
    item.name: item
    for item in (
        CANONICALIZE,
        DEAD_CODE,
        COMMON_SUBEXPRESSIONS,
        FOLD_CONSTANTS,
        FOLD_BATCH_NORMS,
        FUSE_ELEMENTWISE,
        PROPAGATE_RESHAPES,
        DECOMPOSE,
        CREATE_DISPATCHES,
    )
}

__all__ = ["PASSES", "Pass"]
