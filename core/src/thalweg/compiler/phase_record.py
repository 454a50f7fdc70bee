"""What each phase of a compilation did to the program, in numbers: the table of ``thalweg compile -v``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thalweg.ir.program import Program


@dataclass(frozen=True)
class ProgramSize:
    """``operations`` stand directly in functions, kernels' among them; ``constant_bytes``: the resources'."""

    operations: int
    constant_bytes: int

    @classmethod
    def of(cls, program: Program) -> ProgramSize:
        """Measure a program."""
        blocks = [block for op in program.module.ops for region in op.regions for block in region.blocks]
        operations = sum(1 for block in blocks for _ in block.ops)
        return cls(operations, sum(array.nbytes for array in program.resources.values()))


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of one variant (``""``: of all). Sizes are ``None`` where the phase has no program;
    ``arena_bytes`` is known from ``stream`` on.
    """

    name: str
    variant: str
    seconds: float
    before: ProgramSize | None = None
    after: ProgramSize | None = None
    arena_bytes: int | None = None


def add_record(records: list[PhaseRecord], record: PhaseRecord) -> None:
    """Append a record, or add it to the last one where that is of the same phase and variant."""
    last = records[-1] if records else None
    if last is None or (last.name, last.variant) != (record.name, record.variant):
        records.append(record)
        return
    seconds, before = last.seconds + record.seconds, last.before or record.before
    records[-1] = replace(record, seconds=seconds, before=before)
