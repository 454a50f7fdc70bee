"""``thalweg compile -v``: what each phase took, and what it did to the program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from thalweg.tools.text_table import format_table

if TYPE_CHECKING:
    from thalweg.compiler.phase_record import PhaseRecord, ProgramSize

HEAD = ("phase", "seconds", "ops before", "after", "constants before", "after", "arena")


def phase_table(records: Sequence[PhaseRecord]) -> str:
    """Return the phases in order, and the sum of their times; ``ops`` are those directly in functions."""
    rows = [
        (
            f"{record.variant}.{record.name}" if record.variant else record.name,
            f"{record.seconds:.3f}",
            _operations(record.before),
            _operations(record.after),
            _constants(record.before),
            _constants(record.after),
            "-" if record.arena_bytes is None else size_text(record.arena_bytes),
        )
        for record in records
    ]
    total = sum(record.seconds for record in records)
    return format_table(HEAD, [*rows, ("sum", f"{total:.3f}", "", "", "", "", "")], left=(0,))


def _operations(size: ProgramSize | None) -> str:
    return "-" if size is None else f"{size.operations}"


def _constants(size: ProgramSize | None) -> str:
    return "-" if size is None else size_text(size.constant_bytes)


def size_text(count: int) -> str:
    """Return a size as ``13.6 MiB``, ``1.5 KiB`` or ``12 B``."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
