"""The program ``thalweg``: picks a subcommand, and turns errors into one line and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from types import ModuleType

from thalweg.errors import ThalwegError
from thalweg.tools.arguments import Parser, normalize_long_options
from thalweg.tools.log import configure_logging

COMMANDS: dict[str, str] = {
    "compile": "compile a model into a module",
    "run": "run a function of a module; list drivers and devices",
    "benchmark": "measure a function of a module",
    "compare": "run a module dispatch by dispatch beside another target; name the first that differs",
    "inspect": "show what a module holds",
    "cache": "show or empty the compile cache",
    "opt": "run compiler passes on MLIR text",
    "plugins": "show the installed plugins",
    "new": "write a package to start a plugin from",
}
"""Subcommand → its line in the help. ``thalweg.tools.<name>_command`` is imported when it is chosen."""

INTERRUPTED, BROKEN_PIPE = 130, 141
"""Exit statuses, as a shell reports SIGINT and SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    words = normalize_long_options(sys.argv[1:] if arguments is None else arguments)
    try:
        configure_logging(os.environ.get("THALWEG_LOG", ""))
        status = _run_command(words)
        sys.stdout.flush()
    except ThalwegError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("thalweg: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    return status


def _run_command(words: list[str]) -> int:
    parser = Parser(prog="thalweg", description="Compile machine-learning models and run them.")
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
        )
        if name == chosen:
            command = _command_module(name)
            command.configure(subparser, words[words.index(name) + 1 :])
            subparser.set_defaults(command=command, parser=subparser)
    options: Namespace = parser.parse_args(words)
    if options.version:
        from thalweg import __version__  # reads package metadata

        print(f"thalweg {__version__}")
        return 0
    if not hasattr(options, "command"):
        parser.error(f"a command is needed: {', '.join(COMMANDS)}")
    return options.command.run(options)


def _command_module(name: str) -> ModuleType:
    return importlib.import_module(f"thalweg.tools.{name}_command")


def _fail(message: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"thalweg: error: {message}\n")
    return 1
