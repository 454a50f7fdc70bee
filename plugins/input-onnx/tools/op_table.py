"""Writes the table of ops into the README, from the table that the importer itself uses.

python plugins/input-onnx/tools/op_table.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx.defs
import thalweg_input_onnx.ops  # noqa: F401  (fills the table)
from thalweg_input_onnx.registry import OPS

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- ops: written by tools/op_table.py -->\n", "<!-- end of ops -->\n"


def opset_ranges(domain: str, op: str) -> str:
    """Return the opsets at which the op is imported: ``7 to 28``, with gaps left out by a comma."""
    newest = onnx.defs.onnx_opset_version()
    reviewed = OPS.versions(domain, op)
    opsets = [opset for opset in range(1, newest + 1) if _version_at(domain, op, opset) in reviewed]
    runs: list[list[int]] = []
    for opset in opsets:
        if runs and runs[-1][-1] == opset - 1:
            runs[-1][-1] = opset
        else:
            runs.append([opset, opset])
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in runs)


def _version_at(domain: str, op: str, opset: int) -> int:
    try:
        schema = onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return 0
    return 0 if schema.deprecated else schema.since_version


def functions() -> list[str]:
    """Return the standard ops outside the table that are imported by the body that onnx defines for them."""
    kinds = ("has_function", "has_context_dependent_function")  # by name: onnx's type stubs leave them out
    return sorted(
        schema.name
        for schema in onnx.defs.get_all_schemas()
        if not schema.domain
        and not OPS.versions("", schema.name)
        and not schema.deprecated
        and any(getattr(schema, kind) for kind in kinds)
    )


def table() -> str:
    """Return the table in Markdown: one op a row."""
    rows = [f"| {op} | {opset_ranges(domain, op)} |" for domain, op in OPS.names() if not domain]
    head = f"{len(rows)} ops of the domain `ai.onnx`, of onnx {onnx.__version__}'s opsets up to "
    lines = [f"{head}{onnx.defs.onnx_opset_version()}:", "", "| op | opsets |", "| --- | --- |", *rows, ""]
    lines += ["By the function bodies that onnx defines for them, as far as the ops in those are imported:"]
    lines += [", ".join(functions()) + "."]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """Return the README's text with the table of today."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}{table()}{END}{after}"


def main() -> int:
    """Write the table, or say with ``--check`` whether it is current; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if the table is out of date"
    )
    check = parser.parse_args().check
    old = README.read_text()
    new = with_table(old)
    if check and new != old:
        print(f"the table of ops is out of date; run: python {Path(__file__).name}", file=sys.stderr)
        return 1
    if not check:
        README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
