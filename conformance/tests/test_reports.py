"""Reports: JSON that reads back, JUnit that counts right, Markdown that is a table, and the matrix."""

from __future__ import annotations

import json
import xml.etree.ElementTree as xml
from dataclasses import replace
from pathlib import Path

import pytest
from thalweg.api import InvalidArgument
from thalweg_conformance import Level, Outcome, Report, RunSettings, run_suite
from thalweg_conformance.report import worst_exit_status
from thalweg_conformance.report_formats import junit, markdown, matrix, summary, write_reports

from .processor_mutants import LosesKernelFailures
from .reference_driver import subject

OPT_OUTS = """
[[not-applicable]]
tests = "HAL-DSP-13"
reason = "One workgroup | only."
"""


@pytest.fixture(scope="module")
def report() -> Report:
    tested = subject(LosesKernelFailures, OPT_OUTS)
    return run_suite(tested, RunSettings(level=Level.STANDARD, pattern="HAL-DSP", seed=3))


def test_a_report_has_every_test_with_what_came_of_it(report: Report):
    data = json.loads(report.to_json())
    assert len(data["tests"]) == len(report.results) > 130
    assert len({test["id"] for test in data["tests"]}) == len(data["tests"])
    fields = {
        "id",
        "name",
        "area",
        "capability",
        "level",
        "rule",
        "reference",
        "outcome",
        "reason",
        "seconds",
    }
    assert all(set(test) == fields for test in data["tests"])
    assert sum(data["totals"].values()) == len(data["tests"])
    assert data["totals"] == {"supported": 14, "refused": 1, "not-applicable": 1, "failed": 1, "not-run": 123}
    assert (data["level"], data["seed"], data["target"]) == ("standard", 3, "")
    assert data["plugin"] == {"driver": "reference", "distribution": "reference", "version": "1.0"}
    assert data["device"]["runs_on"] == "interpreter"
    assert data["kernels"] == "the reference driver's own"
    assert {"system", "processor", "cores", "python"} == set(data["machine"])


def test_a_report_reads_back(report: Report, tmp_path: Path):
    write_reports(report, tmp_path / "new" / "folder")
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["junit.xml", "report.json", "report.md"]
    assert Report.read(tmp_path / "new" / "folder").to_json() == report.to_json()
    assert Report.read(tmp_path / "new" / "folder" / "report.json") == replace(report)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 99}', '{"version": 1}'])
def test_what_is_not_a_report_is_refused(text: str, tmp_path: Path):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InvalidArgument, match=r"report\.json is (not a report|a report of version 99)"):
        Report.read(tmp_path)


def test_a_missing_report_is_one_line(tmp_path: Path):
    with pytest.raises(InvalidArgument, match=r"cannot read report .*: No such file or directory"):
        Report.read(tmp_path / "nowhere")


def test_junit_counts_what_it_holds(report: Report):
    suite = xml.fromstring(junit(report))
    assert suite.tag == "testsuite"
    cases = suite.findall("testcase")
    held = {
        kind: sum(case.find(kind) is not None for case in cases) for kind in ("failure", "error", "skipped")
    }
    said = (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"])
    assert said == (str(len(cases)), str(held["failure"]), str(held["error"]), str(held["skipped"]))
    assert held == {"failure": 1, "error": 0, "skipped": 124}
    (failure,) = suite.findall("testcase/failure")
    assert "wait for 'gather'" in failure.attrib["message"]
    assert {case.attrib["classname"] for case in cases} >= {"dispatch", "binding table"}


def test_junit_survives_what_xml_cannot_hold(report: Report):
    odd = replace(report.results[0], outcome=Outcome.FAILED, reason="\x00\x1b[31m<&>\ud800")
    suite = xml.fromstring(junit(replace(report, results=(odd,))))
    assert suite.findall("testcase/failure")[0].attrib["message"] == "\ufffd\ufffd[31m<&>\ufffd"


def test_markdown_has_tables_with_as_many_cells_in_each_row(report: Report):
    text = markdown(report)
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    tables = {row.count("|") for row in rows}
    assert tables == {len(Outcome) + 2, 6}
    assert text.startswith("# Conformance of reference (reference 1.0)\n")
    assert "| HAL-DSP-13 `numbers_workgroups` |" in text and "One workgroup \\| only." in text
    assert "**failed**" in text
    assert "Runs on: interpreter" in text


def test_the_summary_counts_outcomes(report: Report):
    assert summary(report) == "14 supported, 1 refused, 1 not-applicable, 1 failed, 123 not-run"


def test_the_matrix_has_a_column_for_each_report(report: Report):
    lines = matrix([report, replace(report, plugin={**report.plugin, "driver": "other"})]).splitlines()
    assert lines[0] == "| area | reference (`reference://`) | other (`reference://`) |"
    assert "| dispatch | 13 of 15, 1 refused, 1 failed | 13 of 15, 1 refused, 1 failed |" in lines
    assert "| semaphore | not run | not run |" in lines
    assert "| runs on | interpreter | interpreter |" in lines


def test_the_exit_status_says_what_is_worst(report: Report):
    passing = tuple(r for r in report.results if r.outcome is Outcome.SUPPORTED)
    blocked = replace(passing[0], outcome=Outcome.BLOCKED)
    good = replace(report, results=passing)
    stuck = replace(report, results=(*passing, blocked))
    assert (good.exit_status, stuck.exit_status, report.exit_status) == (0, 3, 1)
    assert replace(report, results=()).exit_status == 3
    assert worst_exit_status([good, stuck]) == 3
    assert worst_exit_status([stuck, report, good]) == 1
