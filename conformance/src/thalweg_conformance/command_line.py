"""``thalweg-conformance run`` and ``thalweg-conformance matrix``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from thalweg.api import ThalwegError

from thalweg_conformance.isolation import run_driver
from thalweg_conformance.outcomes import Outcome
from thalweg_conformance.report import Report, Result, worst_exit_status
from thalweg_conformance.report_formats import matrix, summary, write_reports
from thalweg_conformance.rules import Level
from thalweg_conformance.session import run_driver_in_process
from thalweg_conformance.settings import DEFAULT_TIME_LIMIT, RunSettings

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell's."""

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
    except OSError as error:
        print(f"thalweg-conformance: error: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("thalweg-conformance: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thalweg-conformance", description="Check a HAL driver against the rules that all of them keep."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run the suite against an installed driver",
        description="Run the suite against an installed driver. Exit status: 0 none failed; 1 a test failed;"
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
        "--in-process",
        action="store_true",
        help="run the tests in this process, for a debugger: a driver that ends the process ends the run",
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
    settings = RunSettings(
        level=Level.named(options.level),
        pattern=options.pattern,
        target=options.target,
        seed=options.seed,
        time_limit=options.time_limit,
    )
    run = run_driver_in_process if options.in_process else run_driver
    printer = _Printer(settings, options.verbose)
    reports = run(options.driver, settings, options.device, printer.start, printer.result)
    for report in reports:
        where = f"{report.device['uri']} ({report.device['runs_on']})"
        print(f"{where}: {summary(report)} in {report.seconds:.1f} s")
        if options.report is not None:
            folder = options.report
            write_reports(
                report, folder if len(reports) == 1 else folder / _folder_name(report.device["uri"])
            )
    return worst_exit_status(reports)


class _Printer:
    """Prints a run as it goes: each device, and each test that went wrong (``verbose``: each test)."""

    def __init__(self, settings: RunSettings, verbose: bool):
        self._settings = settings
        self._verbose = verbose
        self._obstacle = ""

    def start(self, uri: str) -> None:
        """Print the device."""
        self._obstacle = ""
        print(f"{uri}: level {self._settings.level.label}, seed {self._settings.seed}", flush=True)

    def result(self, result: Result) -> None:
        """Print one test; what blocks many tests is printed once."""
        blocked, failed = result.outcome is Outcome.BLOCKED, result.outcome is Outcome.FAILED
        if not self._verbose and not failed and not (blocked and result.reason != self._obstacle):
            return
        self._obstacle = result.reason if blocked else self._obstacle
        reason = f": {result.reason}" if result.reason else ""
        print(f"  {result.outcome.value:<16} {result.id} {result.area}/{result.name}{reason}", flush=True)
        if failed:
            print(f"  {'':<16} rule: {result.rule}\n  {'':<16} see: {result.reference}", flush=True)


def _matrix(options: argparse.Namespace) -> int:
    print(matrix([Report.read(path) for path in options.reports]), end="")
    return 0


def _folder_name(uri: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", uri).strip("-")


if __name__ == "__main__":
    sys.exit(main())
