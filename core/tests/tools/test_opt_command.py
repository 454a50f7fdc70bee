"""``thalweg opt``: named passes on MLIR text."""

from __future__ import annotations

import io

import pytest


def test_lists_passes_with_their_summaries(thalweg):
    lines = thalweg("opt", "--list-passes").out.splitlines()
    names = [line.split()[0] for line in lines]
    assert "canonicalize" in names
    assert names == sorted(names)
    assert all(len(line.split()) > 2 for line in lines)


def test_without_passes_it_prints_what_parses_back(thalweg, model, tmp_path):
    first = thalweg("opt", model)
    assert first.status == 0
    again = tmp_path / "again.mlir"
    again.write_text(first.out)
    assert thalweg("opt", again).out == first.out


def test_runs_passes_in_order_from_standard_input(thalweg, model, monkeypatch, tmp_path):
    dead = model.read_text().replace("  %two =", "  %dead = arith.constant 3.0 : f32\n  %two =")
    monkeypatch.setattr("sys.stdin", io.StringIO(dead))
    out = tmp_path / "out.mlir"
    outcome = thalweg("opt", "-", "--pass=canonicalize,eliminate-dead-code", "-o", out)
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert "3.0" not in out.read_text()
    assert "linalg.generic" in out.read_text()


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["{model}", "--pass=canonicalise"], 1, "no pass named 'canonicalise'; there are: canonicalize, "),
        (["{model}", "--pass=canonicalise"], 1, "(did you mean 'canonicalize'?)"),
        (["{folder}/no.mlir"], 1, "cannot read {folder}/no.mlir: No such file or directory"),
        (["{folder}/bad.mlir"], 1, "bad.mlir is not valid IR: "),
        ([], 2, "a FILE is needed; - is standard input"),
    ],
)
def test_mistakes(thalweg, model, tmp_path, arguments, status, message):
    (tmp_path / "bad.mlir").write_text("module { this is not IR }")
    outcome = thalweg("opt", *(text.format(model=model, folder=tmp_path) for text in arguments))
    assert outcome.status == status
    assert message.format(folder=tmp_path) in outcome.err
    assert "Traceback" not in outcome.err
