"""``thalweg opt``: run compiler passes, by name, on MLIR text."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from thalweg.errors import InvalidArgument, UnknownName
from thalweg.tools.arguments import comma_list, required
from thalweg.tools.output_file import replacing


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg opt``."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="MLIR text; - is standard input")
    parser.add_argument(
        "--pass",
        dest="passes",
        action="append",
        default=[],
        metavar="NAME",
        help="a pass to run, in the order given; repeatable, or a comma list",
    )
    parser.add_argument("--list-passes", action="store_true", help="print the passes there are")
    parser.add_argument("-o", "--output", default="-", metavar="OUT", help="default: -, standard output")


def run(options: argparse.Namespace) -> int:
    """Run the passes and print the program."""
    from thalweg.python_api import import_compiler

    import_compiler()
    from thalweg.compiler.passes import PASSES  # needs the compiler's dependencies, which may be missing
    from thalweg.ir.program import Program

    if options.list_passes:
        width = max(map(len, PASSES))
        for name in sorted(PASSES):
            print(f"{name:<{width}}  {PASSES[name].summary}")
        return 0
    file = required(options, "file", "a FILE is needed; - is standard input")
    names = [name for value in options.passes for name in comma_list([value])]
    for name in names:
        if name not in PASSES:
            nearest = difflib.get_close_matches(name, PASSES, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise UnknownName(f"no pass named {name!r}; there are: {', '.join(sorted(PASSES))}{hint}")
    program = Program.parse(_read(file), name=file)
    for name in names:
        PASSES[name].run(program)
        program.module.verify()
    if options.output == "-":
        sys.stdout.write(program.text())
    else:
        with replacing(options.output) as temporary:
            temporary.write_text(program.text(), "utf-8")
    return 0


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text("utf-8")
    except OSError as error:
        raise InvalidArgument(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{name} is not text: {error}") from error
