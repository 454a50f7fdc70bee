"""``thalweg plugins``: every plugin with its distribution, API version, and whether it can be used."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence

from thalweg.plugin.registry import PluginRecord, Registry


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg plugins``."""
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")


def run(options: argparse.Namespace) -> int:
    """Print the table, or JSON."""
    records = Registry.from_environment().records()
    if options.json:
        print(json.dumps([dataclasses.asdict(record) for record in records], indent=2))
    else:
        _print_table(records)
    return 0


def _print_table(records: Sequence[PluginRecord]) -> None:
    rows = [("NAME", "KIND", "DISTRIBUTION", "VERSION", "API", "STATE")]
    for record in records:
        state = "available" if record.available else f"not available: {record.reason}"
        source = record.distribution or record.module
        rows.append((record.name, record.kind, source, record.version or "-", record.api or "-", state))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[5]]))
