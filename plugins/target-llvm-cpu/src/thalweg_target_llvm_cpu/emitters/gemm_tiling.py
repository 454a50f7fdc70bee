"""Register and workgroup tiles of a matrix product.

A micro-kernel holds ``rows`` × ``vectors`` accumulators in registers and, for each step of the depth, loads
``vectors`` vectors and broadcasts ``rows`` scalars (Goto and van de Geijn, "Anatomy of high-performance
matrix multiplication", 2008). The choice minimises an estimate of the cycles of the whole problem, tails
included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thalweg_target_llvm_cpu.emitters.gemm_problem import Problem

WORKGROUP_FLOPS = 1 << 20
"""A workgroup is at least this much work, where the problem allows a split at all."""
WORKGROUPS = 16
"""How many workgroups a large problem is divided into, about."""


@dataclass(frozen=True)
class Tiling:
    """``rows`` × ``vectors`` accumulators of ``lanes``; a workgroup does ``panels`` column panels and
    ``blocks`` row blocks, of which there are ``panel_chunks`` × ``block_chunks`` for each matrix of the
    batch.
    """

    lanes: int
    rows: int
    vectors: int
    panels: int
    panel_chunks: int
    blocks: int
    block_chunks: int

    @property
    def panel_width(self) -> int:
        """Columns of a full panel."""
        return self.vectors * self.lanes


def choose_tiling(problem: Problem, settings: Mapping[str, Any]) -> Tiling:
    """Choose the tiles of ``problem`` for a processor with ``settings`` (vector_bits, vector_registers)."""
    width = 4 if problem.element == "f32" else 8
    lanes = max(1, int(settings["vector_bits"]) // (8 * width))
    registers = int(settings["vector_registers"])
    best = min(_candidates(registers), key=lambda tile: (_cycles(problem, lanes, *tile), -tile[0] * tile[1]))
    rows, vectors = best
    rows = min(rows, problem.rows)
    panels = -(-problem.columns // (vectors * lanes))
    blocks = -(-problem.rows // rows)
    panel_chunks, block_chunks = _split(problem, panels, blocks)
    return Tiling(
        lanes,
        rows,
        vectors,
        -(-panels // panel_chunks),
        panel_chunks,
        -(-blocks // block_chunks),
        block_chunks,
    )


def _candidates(registers: int) -> list[tuple[int, int]]:
    """Return (rows, vectors) with room for the loaded vectors and a broadcast beside the accumulators."""
    return [
        (rows, vectors)
        for vectors in (1, 2, 3, 4)
        for rows in range(1, 25)
        if rows * vectors + vectors + 1 <= registers
    ]


def _cycles(problem: Problem, lanes: int, rows: int, vectors: int) -> float:
    """Estimate the cycles of one step of the depth over the whole result: the slower of FMAs, loads and
    latency.
    """
    full, tail = divmod(problem.columns, vectors * lanes)
    widths = [(full, vectors), (1 if tail else 0, -(-tail // lanes))]
    blocks, rest = divmod(problem.rows, rows)
    heights = [(blocks, rows), (1 if rest else 0, rest)]
    total = 0.0
    for panels, wide in widths:
        for count, high in heights:
            if panels and count:
                total += panels * count * max(high * wide / 2, (high + wide) / 2, 4.0)
    if not problem.constant_columns:  # gathering the panels: each element once for all rows
        total += problem.columns / lanes * 2
    return total


def _split(problem: Problem, panels: int, blocks: int) -> tuple[int, int]:
    """Return how many chunks panels and row blocks are divided into: panels first, since each is gathered
    once.
    """
    wanted = max(1, min(WORKGROUPS, problem.flops // WORKGROUP_FLOPS))
    wanted = -(-wanted // problem.batch)
    panel_chunks = min(panels, wanted)
    block_chunks = min(blocks, -(-wanted // panel_chunks))
    panel_chunks = -(-panels // -(-panels // panel_chunks))
    block_chunks = -(-blocks // -(-blocks // block_chunks))
    return panel_chunks, block_chunks
