"""Reports for people and for other programs: Markdown, JUnit XML, and the matrix of several reports."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path

from thalweg_conformance.outcomes import Outcome
from thalweg_conformance.report import Report, Result


def write_reports(report: Report, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``junit.xml`` into ``folder``, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.to_json(), "utf-8")
    (folder / "report.md").write_text(markdown(report), "utf-8")
    (folder / "junit.xml").write_bytes(junit(report))


def summary(report: Report) -> str:
    """Return ``61 supported, 4 refused, 1 failed``."""
    return ", ".join(f"{count} {outcome}" for outcome, count in report.totals.items()) or "no tests"


def areas(report: Report) -> list[str]:
    """Return the areas in the order of the tests."""
    return list(dict.fromkeys(result.area for result in report.results))


def markdown(report: Report) -> str:
    """Return the report as Markdown: where it ran, a table of areas, then every test."""
    device, machine, plugin = report.device, report.machine, report.plugin
    package = f"{plugin['distribution']} {plugin['version']}".strip() or "no distribution"
    lines = [
        f"# Conformance of {plugin['driver']} ({package})",
        "",
        f"{summary(report)}.",
        "",
        f"- Device: `{device['uri']}` ({device['name']})",
        f"- Runs on: {device['runs_on']}; {machine['processor']}, {machine['system']}, {machine['python']}",
        f"- Declared capabilities: {', '.join(device['capabilities']) or 'none'}",
        f"- Level {report.level}, seed {report.seed}; kernels: {report.kernels}",
        f"- thalweg-conformance {report.suite_version}, thalweg {report.thalweg_version},"
        f" plugin API {'.'.join(map(str, report.api_version))}",
        "",
        *_table(
            ["area", *(outcome.value for outcome in Outcome)], [_area_row(report, a) for a in areas(report)]
        ),
        "",
        *_table(
            ["test", "rule", "capability", "outcome", "reason"],
            [[f"{r.id} `{r.name}`", r.rule, r.capability, _emphasized(r), r.reason] for r in report.results],
        ),
    ]
    return "\n".join(lines) + "\n"


def junit(report: Report) -> bytes:
    """Return the report as JUnit XML. A blocked test is an error; what did not run is skipped."""
    suite = xml.Element(
        "testsuite",
        name=f"thalweg-conformance {report.plugin['driver']}",
        tests=str(len(report.results)),
        failures=str(report.count(Outcome.FAILED)),
        errors=str(report.count(Outcome.BLOCKED)),
        skipped=str(sum(_is_skipped(result) for result in report.results)),
        time=f"{report.seconds:.3f}",
    )
    properties = xml.SubElement(suite, "properties")
    for name, value in {
        "device": report.device["uri"],
        "runs_on": report.device["runs_on"],
        **report.machine,
    }.items():
        xml.SubElement(properties, "property", name=name, value=str(value))
    for result in report.results:
        case = xml.SubElement(
            suite,
            "testcase",
            classname=result.area,
            name=f"{result.id} {result.name}",
            time=f"{result.seconds:.3f}",
        )
        if result.outcome is Outcome.FAILED:
            xml.SubElement(case, "failure", message=_printable(result.reason)).text = result.rule
        elif result.outcome is Outcome.BLOCKED:
            xml.SubElement(case, "error", message=_printable(result.reason))
        elif _is_skipped(result):
            xml.SubElement(case, "skipped", message=_printable(f"{result.outcome.value}: {result.reason}"))
    xml.indent(suite)
    return xml.tostring(suite, encoding="utf-8", xml_declaration=True)


def matrix(reports: Sequence[Report]) -> str:
    """Return the status table of several reports: a row for each area, a column for each device."""
    names = list(dict.fromkeys(area for report in reports for area in areas(report)))
    header = ["area", *(f"{report.plugin['driver']} (`{report.device['uri']}`)" for report in reports)]
    rows = [[name, *(_cell(report, name) for report in reports)] for name in names]
    rows.append(["runs on", *(str(report.device["runs_on"]) for report in reports)])
    rows.append(["level", *(report.level for report in reports)])
    return "\n".join(_table(header, rows)) + "\n"


def _cell(report: Report, area: str) -> str:
    """``12 of 14``: supported, of what applies; then how the others came out."""
    results = [result for result in report.results if result.area == area]
    counts = {outcome: sum(r.outcome is outcome for r in results) for outcome in Outcome}
    applying = len(results) - counts[Outcome.NOT_APPLICABLE] - counts[Outcome.NOT_RUN]
    if not applying:
        return "not run" if counts[Outcome.NOT_RUN] else ("not applicable" if results else "")
    parts = [f"{counts[Outcome.SUPPORTED]} of {applying}"]
    for outcome in (Outcome.REFUSED, Outcome.EXPECTED_FAILURE, Outcome.FAILED, Outcome.BLOCKED):
        if counts[outcome]:
            parts.append(f"{counts[outcome]} {outcome.value}")
    return ", ".join(parts)


def _area_row(report: Report, area: str) -> list[str]:
    results = [result for result in report.results if result.area == area]
    counts = [sum(result.outcome is outcome for result in results) for outcome in Outcome]
    return [area, *(str(count) if count else "" for count in counts)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(header), line(["---"] * len(header)), *map(line, rows)]


def _emphasized(result: Result) -> str:
    value = result.outcome.value
    return f"**{value}**" if result.outcome in (Outcome.FAILED, Outcome.BLOCKED) else value


def _is_skipped(result: Result) -> bool:
    return result.outcome in (Outcome.NOT_RUN, Outcome.NOT_APPLICABLE, Outcome.EXPECTED_FAILURE)


def _printable(text: str) -> str:
    """XML has no control characters."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
