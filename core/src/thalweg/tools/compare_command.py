"""``thalweg compare``: name the first dispatch of a module that computes something else on another target."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thalweg.errors import InvalidArgument
from thalweg.plugin.registry import Registry
from thalweg.tools.arguments import required

if TYPE_CHECKING:
    from thalweg.tools.dispatch_comparison import Difference


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg compare``."""
    from thalweg.tools.benchmark_command import add_random_input_options
    from thalweg.tools.module_function import add_function_options  # imports NumPy

    add_function_options(parser)
    add_random_input_options(parser)
    parser.add_argument(
        "--against", metavar="NAME", help="the target backend that makes the kernels to compare with"
    )
    parser.add_argument(
        "--against-device", metavar="URI", help="where those run; default: as thalweg run without --device"
    )
    parser.add_argument(
        "--atol", type=float, default=1e-6, metavar="X", help="largest absolute difference; default: 1e-06"
    )
    parser.add_argument(
        "--rtol",
        type=float,
        metavar="X",
        help="what may be added, times the tensor's largest magnitude;"
        " default: f32 1e-5, f64 1e-9, f16 4e-3, bf16 3e-2",
    )
    parser.add_argument("--all", action="store_true", help="go on after the first dispatch that differs")


def run(options: argparse.Namespace) -> int:
    """Compare; 1 if a dispatch differs."""
    from thalweg.module.debug_info import require_debug_info
    from thalweg.python_api import load
    from thalweg.runtime.stepping import step_function  # imports NumPy
    from thalweg.tools import benchmark_command, dispatch_comparison, dispatch_list, module_function

    if options.atol < 0 or (options.rtol is not None and options.rtol < 0):
        raise InvalidArgument("--atol and --rtol are not negative")
    target = required(options, "against", "--against NAME is needed: a target backend, as in compile")
    registry = Registry.from_environment()
    module = module_function.read_module_option(options)
    signature = module_function.choose_function(module, options.function)
    inputs = benchmark_command.given_or_random_inputs(options, signature)
    tolerance = dispatch_comparison.ComparisonTolerance(options.atol, options.rtol)
    with module_function.loaded_function(options, module, signature, registry) as function:
        require_debug_info(function.program.variant, "thalweg compare")
        stepped = step_function(function.program, signature.name, inputs, registry)
        dispatches = dispatch_list.list_dispatches(stepped)
        compiled = dispatch_comparison.compile_kernels(dispatches, stepped.fixed.dimensions, target, registry)
        differing = compared = 0
        with load(compiled, options.against_device, registry=registry) as reference:
            for difference in dispatch_comparison.compare_dispatches(stepped, reference, tolerance):
                compared += 1
                if difference is None:
                    continue
                differing += 1
                print(_describe(difference, len(dispatches), function.program.variant.name, target))
                if not options.all:
                    break
    if differing:
        rest = len(dispatches) - compared
        print(
            f"{differing} of {compared} dispatches differ"
            + f"; {rest} not run (--all runs them)" * bool(rest)
        )
        return 1
    print(f"all {compared} dispatches of @{signature.name} agree: {function.device} and {target}")
    return 0


def _describe(difference: Difference, count: int, variant: str, target: str) -> str:
    from thalweg.tools.dispatch_trace import describe_dispatch

    dispatch = difference.dispatch
    assert dispatch.info is not None  # a comparison needs it
    return "\n".join(
        [
            f"[DIFFERS] variant {variant!r} against {target!r}",
            describe_dispatch(dispatch, count),
            *(f"  {reason}" for reason in difference.reasons),
            "its IR:",
            dispatch.info.text,
        ]
    )
