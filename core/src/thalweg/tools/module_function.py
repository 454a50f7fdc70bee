"""What ``run`` and ``benchmark`` share: which module, which function of it, on which device."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.errors import UnknownName
from thalweg.extents import static
from thalweg.module.file import read_module
from thalweg.module.module import Module
from thalweg.module.program import FunctionSignature
from thalweg.module.specialization import specialize_signature
from thalweg.plugin.registry import Registry
from thalweg.python_api import load
from thalweg.runtime.dimensions import Dimensions
from thalweg.runtime.program import Program
from thalweg.tools.arguments import required
from thalweg.tools.parameter_options import add_parameters_option


@dataclass(frozen=True)
class LoadedFunction:
    """A function that is ready to be called with arrays, in the order of its inputs."""

    signature: FunctionSignature
    call: Callable[..., Any]
    device: str
    """The device's URI, or ``host`` for a program that runs inline."""
    program: Program

    def results(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Call the function and return its results as arrays, in order."""
        returned = self.call(*inputs)
        values = returned if isinstance(returned, tuple) else (returned,)
        return [np.asarray(value) for value in values]

    def allocate_results(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return arrays that fit the results of a call with ``inputs``, for ``out=``."""
        dimensions = Dimensions(self.signature)
        shapes = [value.shape for value in inputs]
        fixed = specialize_signature(self.signature, dimensions.check(dimensions.key(shapes), shapes))
        return tuple(np.zeros(static(output.shape), numpy_dtype(output.dtype)) for output in fixed.outputs)


def add_function_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a module, a function, a device and inputs."""
    parser.add_argument("module", nargs="?", metavar="MODULE", help="the module's file (.twm)")
    parser.add_argument(
        "--device", metavar="URI", help="where to run: DRIVER, DRIVER://PATH or DRIVER://?option=value"
    )
    parser.add_argument("--function", metavar="NAME", help="default: the module's only function, or main")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SPEC",
        help="an input: 2x2xi32=1 2 3 4, 4xf32=0, 3, @a.npy, +a.npy, *a.npy, 4xf32=@a.bin, NAME=SPEC",
    )
    add_parameters_option(parser, "where constants are that the module keeps outside")
    parser.add_argument("--verify", choices=("code", "full"), default="code", help="full: the constants too")
    parser.add_argument("--no-native", action="store_true", help="refuse modules that hold machine code")


def choose_function(module: Module, name: str | None) -> FunctionSignature:
    """Return the function called ``name``; without a name the only one, or ``main``.

    :raises UnknownName: there is none of that name; the message lists those there are.
    """
    by_name = {function.name: function for function in module.functions}
    if name is None and len(by_name) == 1:
        return next(iter(by_name.values()))
    wanted = name or "main"
    if wanted not in by_name:
        nearest = difflib.get_close_matches(wanted, by_name, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UnknownName(f"the module has no function {wanted!r}; it has: {', '.join(by_name)}{hint}")
    return by_name[wanted]


@contextmanager
def loaded_function(
    options: argparse.Namespace, module: Module, signature: FunctionSignature, registry: Registry
) -> Iterator[LoadedFunction]:
    """Load ``module`` onto the device that the options name, and close the program at the end."""
    program = load(
        module,
        options.device,
        registry=registry,
        verify=options.verify,
        allow_native=not options.no_native,
        parameters=options.parameters,
    )
    try:
        device = None if program.variant.inline else program.device
        name = "host" if device is None else device.identifier
        yield LoadedFunction(signature, program[signature.name], name, program)
    finally:
        program.close()


def read_module_option(options: argparse.Namespace) -> Module:
    """Read the module that the command line names; exits with a usage error if it names none."""
    return read_module(required(options, "module", "a MODULE is needed"), options.verify)
