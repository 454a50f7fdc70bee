"""``thalweg-conformance run`` and ``thalweg-conformance matrix``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thalweg.api import Registry, ThalwegError
from thalweg.hal.driver import Device

from thalweg_conformance.kernels import KernelLibrary, choose_library
from thalweg_conformance.outcomes import Outcome
from thalweg_conformance.report import Report, Result
from thalweg_conformance.report_formats import matrix, summary, write_reports
from thalweg_conformance.rules import Level
from thalweg_conformance.session import DEFAULT_TIME_LIMIT, run_suite
from thalweg_conformance.subject import subjects_of

USAGE_ERROR = 2
"""Exit status for a mistake of the user's, or of the plugin's profile."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns 0 only if nothing failed; see ``Report.exit_status``."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except ThalwegError as error:
        print(f"thalweg-conformance: error: {error}", file=sys.stderr)
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thalweg-conformance", description="Check a HAL driver against the rules that all of them keep."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run the suite against an installed driver",
        description="Run the suite against an installed driver. Exit status: 0 nothing failed; 1 a test failed;"
        " 2 wrong usage or opt-outs; 3 none failed, but some tests could not run.",
    )
    run.set_defaults(command=_run)
    run.add_argument("--driver", required=True, metavar="NAME", help="the installed HAL driver to test")
    run.add_argument(
        "--device", default="", metavar="URI", help="one device; default: those of the driver's profile"
    )
    run.add_argument(
        "--target", default="", metavar="NAME", help="make the kernels with this installed target backend"
    )
    run.add_argument("--level", default="core", choices=[level.label for level in Level])
    run.add_argument(
        "--report", type=Path, metavar="DIR", help="write report.json, report.md and junit.xml there"
    )
    run.add_argument(
        "-k", dest="pattern", default="", metavar="PATTERN", help="run tests whose id, area or name match"
    )
    run.add_argument("--seed", type=int, default=0, help="of the tests' random data (default 0)")
    run.add_argument(
        "--time-limit",
        type=float,
        default=DEFAULT_TIME_LIMIT,
        metavar="SECONDS",
        help="for one test (default 30)",
    )
    run.add_argument(
        "-v", "--verbose", action="store_true", help="print every test, not only those that went wrong"
    )
    table = commands.add_parser("matrix", help="print the status table of several reports, as Markdown")
    table.set_defaults(command=_matrix)
    table.add_argument(
        "reports", nargs="+", type=Path, metavar="REPORT", help="a report.json or the folder that holds one"
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    registry = Registry.from_environment()
    status = 0
    subjects = subjects_of(registry, options.driver, _kernels(registry, options.target), options.device)
    for subject in subjects:
        print(f"{subject.uri}: level {options.level}, seed {options.seed}", flush=True)
        report = run_suite(
            subject,
            level=Level.named(options.level),
            pattern=options.pattern,
            target=options.target,
            seed=options.seed,
            time_limit=options.time_limit,
            on_result=lambda result: _print_result(result, options.verbose),
        )
        print(
            f"{subject.uri} ({report.device['runs_on']}): {summary(report)} in {report.seconds:.1f} s",
            flush=True,
        )
        if options.report is not None:
            folder = options.report
            write_reports(report, folder if len(subjects) == 1 else folder / _folder_name(str(subject.uri)))
        status = _worse(status, report.exit_status)
    return status


def _kernels(
    registry: Registry, target: str
) -> Callable[[Mapping[str, Any]], Callable[[Device], KernelLibrary]]:
    if not target:
        return lambda extra: lambda device: choose_library(device, extra)
    registry.entry("thalweg.target_backends", target)
    made: list[KernelLibrary] = []

    def compiled(_: Device) -> KernelLibrary:
        if not made:
            from thalweg_conformance.compiled_kernels import compile_library  # needs the compiler

            made.append(compile_library(registry, target))
        return made[0]

    return lambda _: compiled


def _print_result(result: Result, verbose: bool) -> None:
    wrong = result.outcome in (Outcome.FAILED, Outcome.BLOCKED)
    if wrong or verbose:
        reason = f": {result.reason}" if result.reason else ""
        print(f"  {result.outcome.value:<16} {result.id} {result.area}/{result.name}{reason}", flush=True)
    if result.outcome is Outcome.FAILED:
        print(f"  {'':<16} rule: {result.rule}\n  {'':<16} see: {result.reference}", flush=True)


def _matrix(options: argparse.Namespace) -> int:
    print(matrix([Report.read(path) for path in options.reports]), end="")
    return 0


def _worse(first: int, second: int) -> int:
    """A failure outweighs what could not run."""
    return 1 if 1 in (first, second) else max(first, second)


def _folder_name(uri: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", uri).strip("-")


if __name__ == "__main__":
    sys.exit(main())
