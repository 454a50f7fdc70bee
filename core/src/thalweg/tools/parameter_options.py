"""``--parameters`` and ``--parameters-out``: constants that stand outside a module."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.errors import InvalidArgument
from thalweg.tools.output_file import replacing

if TYPE_CHECKING:
    from thalweg.parameters import ParameterIndex
    from thalweg.parameters.writing import Writer

Move = Callable[[Path], None]
"""Moves the constants of a module file out of it."""


def add_parameters_option(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add ``--parameters``, for ``purpose``."""
    parser.add_argument(
        "--parameters",
        action="append",
        default=[],
        metavar="[SCOPE=]FILE",
        help=f"{purpose} (.safetensors, .gguf, .irpa); repeatable",
    )


def add_outside_options(parser: argparse.ArgumentParser) -> None:
    """Add the options by which ``thalweg compile`` leaves constants outside the module."""
    add_parameters_option(parser, "leave constants outside that this parameter file already holds")
    parser.add_argument(
        "--parameters-out",
        metavar="[SCOPE=]FILE",
        help="write the constants to this parameter file (.safetensors, .irpa) and leave them outside",
    )


@contextmanager
def moving_outside(options: argparse.Namespace) -> Iterator[Move | None]:
    """Yield what moves the constants of the module out, as the options ask; ``None`` if they do not.

    Everything that can be wrong with the options is told when the block starts, before the compilation. The
    parameter file takes its place when the block ends, and is not written if it raises.

    :raises InvalidArgument: a file that cannot be read or written, or a format that is not written.
    :raises ParameterError: a file that is damaged.
    """
    if not options.parameters and options.parameters_out is None:
        yield None
        return
    from thalweg.parameters import open_parameters, parse_parameter_option, writer_for  # import NumPy

    if options.compile_to != "end":
        raise InvalidArgument(
            f"--parameters and --parameters-out are for modules; --compile-to={options.compile_to} makes MLIR"
        )
    if os.path.exists(options.output) and not os.path.isfile(options.output):
        raise InvalidArgument(f"cannot write {options.output!r}: a module with parameters goes to a file")
    existing = open_parameters(options.parameters)
    if options.parameters_out is None:
        yield lambda module_file: _move(module_file, existing)
        return
    scope, path = parse_parameter_option(options.parameters_out)
    write = writer_for(path)
    if os.path.realpath(path) == os.path.realpath(options.output):
        raise InvalidArgument(f"the module and its parameters cannot both be {path!r}")
    with replacing(path) as target:
        yield lambda module_file: _move(module_file, existing, scope, target, write)


def _move(
    module_file: Path,
    existing: ParameterIndex,
    scope: str | None = None,
    target: Path | None = None,
    write: Writer | None = None,
) -> None:
    from thalweg.module.file import module_bytes, read_module  # imports NumPy
    from thalweg.parameters import move_outside
    from thalweg.tools.compile_report import copy_report

    module, tensors = move_outside(read_module(module_file), existing=existing, scope=scope)
    if target is not None and write is not None:
        with open(target, "wb") as file:
            write(tensors, file)
    content = module_bytes(
        module
    )  # whole in memory before the file that its constants are mapped from changes
    with copy_report(module_file):
        module_file.write_bytes(content)
