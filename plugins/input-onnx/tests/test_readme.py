"""The README says what the importer does today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from thalweg_input_onnx.registry import OPS

FOLDER = Path(__file__).parents[1]


def op_table(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "tools" / "op_table.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_table_of_ops_is_current():
    text = (FOLDER / "README.md").read_text()
    if f"of onnx {onnx.__version__}'s opsets" not in text:
        pytest.skip(f"the table is of another onnx than the installed {onnx.__version__}")
    done = op_table("--check")
    assert done.returncode == 0, done.stderr
    for _, op in OPS.names():
        assert f"\n| {op} | " in text


def test_every_reviewed_version_is_a_version_of_the_op():
    known = {(s.domain, s.name, s.since_version) for s in onnx.defs.get_all_schemas_with_history()}
    for domain, op in OPS.names():
        assert {(domain, op, version) for version in OPS.versions(domain, op)} <= known, op
