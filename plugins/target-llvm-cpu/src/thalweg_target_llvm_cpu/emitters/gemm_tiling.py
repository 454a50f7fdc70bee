"""Register and workgroup tiles of a matrix product.

A micro-kernel holds ``rows`` × ``vectors`` accumulators in registers and, for each step of the depth, loads
``vectors`` vectors and broadcasts ``rows`` scalars (Goto and van de Geijn, "Anatomy of high-performance
matrix multiplication", 2008). The choice minimises an estimate of the cycles of the whole problem, tails
included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import index
from typing import Any

from thalweg.extents import Extent, as_json, ceil_divide, from_json, is_static, maximum, minimum

from thalweg_target_llvm_cpu.emitters.gemm_problem import Problem
from thalweg_target_llvm_cpu.emitters.nest import typical

WORKGROUP_FLOPS = 1 << 20
"""A workgroup is at least this much work, where the problem allows a split at all."""
FLOPS_PER_COLUMN_ELEMENT = 40
"""What reading an element of the columns' side costs where few rows share it: memory is that much slower than
arithmetic.
"""
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
    panels: Extent
    panel_chunks: Extent
    blocks: Extent
    block_chunks: Extent

    def parameters(self) -> dict[str, int | str]:
        """Return it as JSON."""
        return {field.name: as_json(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Tiling:
        """Read what ``parameters`` wrote."""
        lanes, rows, vectors = (int(parameters[name]) for name in ("lanes", "rows", "vectors"))
        counts = (
            from_json(parameters[name]) for name in ("panels", "panel_chunks", "blocks", "block_chunks")
        )
        return cls(lanes, rows, vectors, *counts)

    @property
    def panel_width(self) -> int:
        """Columns of a full panel."""
        return self.vectors * self.lanes


def choose_tiling(problem: Problem, settings: Mapping[str, Any]) -> Tiling:
    """Choose the tiles of ``problem`` for a processor with ``settings`` (vector_bits, vector_registers)."""
    width = 4 if problem.element == "f32" else 8
    lanes = max(1, int(settings["vector_bits"]) // (8 * width))
    registers = int(settings["vector_registers"])
    shape = (typical(problem.rows), typical(problem.columns))
    gathered = not problem.constant_columns
    best = min(
        _candidates(registers),
        key=lambda tile: (_cycles(*shape, gathered, lanes, *tile), -tile[0] * tile[1]),
    )
    rows, vectors = best
    if isinstance(problem.rows, int):
        rows = min(rows, problem.rows)
    panels = ceil_divide(problem.columns, vectors * lanes)
    blocks = ceil_divide(problem.rows, rows)
    panel_chunks, block_chunks = _split(problem, panels, blocks)
    return Tiling(
        lanes,
        rows,
        vectors,
        ceil_divide(panels, panel_chunks),
        panel_chunks,
        ceil_divide(blocks, block_chunks),
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


def _cycles(height: int, width: int, gathered: bool, lanes: int, rows: int, vectors: int) -> float:
    """Estimate the cycles of one step of the depth over a result [height, width]: the slower of FMAs, loads
    and latency.
    """
    full, tail = divmod(width, vectors * lanes)
    widths = [(full, vectors), (1 if tail else 0, -(-tail // lanes))]
    blocks, rest = divmod(height, rows)
    heights = [(blocks, rows), (1 if rest else 0, rest)]
    total = 0.0
    for panels, wide in widths:
        for count, high in heights:
            if panels and count:
                total += panels * count * max(high * wide / 2, (high + wide) / 2, 4.0)
    if gathered:  # each element of the panels once for all rows
        total += width / lanes * 2
    return total


def _split(problem: Problem, panels: Extent, blocks: Extent) -> tuple[Extent, Extent]:
    """Return how many chunks panels and row blocks are divided into: panels first, since each is gathered
    once.
    """
    if not is_static((problem.flops, panels, blocks)):
        wanted = maximum(1, ceil_divide(WORKGROUPS, problem.batch))
        panel_chunks = maximum(1, minimum(panels, wanted))
        return panel_chunks, maximum(1, minimum(blocks, ceil_divide(wanted, panel_chunks)))
    work = max(index(problem.flops), FLOPS_PER_COLUMN_ELEMENT * index(problem.depth * problem.columns))
    wanted = max(1, min(WORKGROUPS, work // WORKGROUP_FLOPS))
    wanted = ceil_divide(wanted, problem.batch)
    panel_chunks = minimum(panels, wanted)
    block_chunks = minimum(blocks, ceil_divide(wanted, panel_chunks))
    panel_chunks = ceil_divide(panels, ceil_divide(panels, panel_chunks))
    block_chunks = ceil_divide(blocks, ceil_divide(blocks, block_chunks))
    return panel_chunks, block_chunks
