"""``thalweg run``: call a module's function, print, write or check its results; list drivers and devices."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thalweg.plugin.registry import Registry
from thalweg.tools.listing import print_device_details, print_devices, print_drivers

if TYPE_CHECKING:
    import numpy as np

    from thalweg.tools.comparison import Tolerance
    from thalweg.tools.function_arguments import OutputTarget

LIST_FLAGS = ("--list-drivers", "--list-devices", "--dump-devices")
THRESHOLD_TYPES = ("f16", "f32", "f64", "bf16")


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg run``. When ``words`` only ask for a list, nothing slow is imported."""
    parser.add_argument("--list-drivers", action="store_true", help="print the installed HAL drivers")
    parser.add_argument(
        "--list-devices",
        metavar="DRIVER",
        help="print the URIs of all devices, or with =DRIVER of that driver's",
    )
    parser.add_argument(
        "--dump-devices", metavar="DRIVER", help="print what there is to know of all devices, or with =DRIVER"
    )
    if any(word.partition("=")[0] in LIST_FLAGS for word in words):
        parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
        return
    from thalweg.tools.module_function import add_function_options  # imports NumPy

    add_function_options(parser)
    parser.add_argument(
        "--trace-dispatches",
        action="store_true",
        help="run dispatch by dispatch; print each, and the range of what it wrote, to standard error",
    )
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="SPEC",
        help="where a result goes: - prints, @FILE creates, +FILE appends (.npy, else raw), '' ignores",
    )
    parser.add_argument(
        "--output-max-element-count", type=int, default=1024, metavar="N", help="default: 1024"
    )
    parser.add_argument(
        "--expected-output",
        action="append",
        default=[],
        metavar="SPEC",
        help="what a result should be, written as an --input, or (ignored); repeatable",
    )
    for dtype in THRESHOLD_TYPES:
        parser.add_argument(
            f"--expected-{dtype}-threshold", type=float, metavar="X", help="largest absolute difference"
        )
    parser.add_argument("--expected-rtol", type=float, default=1e-5, metavar="X", help="default: 1e-05")
    parser.add_argument(
        "--equality-mode",
        choices=("approximate", "exact"),
        default="approximate",
        help="default: approximate",
    )


def run(options: argparse.Namespace) -> int:
    """List, or call the function; 1 if a result is not as expected."""
    registry = Registry.from_environment()
    if options.list_drivers:
        print_drivers(registry)
    if options.list_devices is not None:
        print_devices(registry, options.list_devices)
    if options.dump_devices is not None:
        print_device_details(registry, options.dump_devices)
    if options.list_drivers or options.list_devices is not None or options.dump_devices is not None:
        return 0
    return _run_function(options, registry)


def _run_function(options: argparse.Namespace, registry: Registry) -> int:
    from thalweg.tools import function_arguments, module_function  # both import NumPy

    module = module_function.read_module_option(options)
    signature = module_function.choose_function(module, options.function)
    inputs = function_arguments.parse_inputs(options.input, signature.inputs)
    expected = None
    if options.expected_output:
        expected = function_arguments.parse_expected(options.expected_output, signature.outputs)
    targets = []
    if options.output or expected is None:
        targets = function_arguments.parse_outputs(options.output, signature.outputs)
    with module_function.loaded_function(options, module, signature, registry) as function:
        print(f"EXEC @{signature.name}", flush=True)
        if options.trace_dispatches:
            from thalweg.runtime.stepping import step_function  # imports NumPy
            from thalweg.tools.dispatch_trace import trace

            results = trace(step_function(function.program, signature.name, inputs, registry))
        else:
            results = function.results(*inputs)
    _deliver(results, targets, options.output_max_element_count)
    if expected is None:
        return 0
    return _check(results, expected, _tolerance(options), options.output_max_element_count)


def _deliver(results: Sequence[np.ndarray], targets: Sequence[OutputTarget], max_elements: int) -> None:
    from thalweg.tools.tensor_files import write_array  # imports NumPy
    from thalweg.tools.tensor_text import format_tensor

    for index, (result, target) in enumerate(zip(results, targets)):
        if target.path == "-":
            print(f"result[{index}]: hal.buffer_view")
            print(format_tensor(result, max_elements))
        elif target.path:
            write_array(target.path, result, append=target.append)


def _tolerance(options: argparse.Namespace) -> Tolerance:
    from thalweg.tools.comparison import DEFAULT_THRESHOLDS, Tolerance  # imports NumPy

    given = {dtype: getattr(options, f"expected_{dtype}_threshold") for dtype in THRESHOLD_TYPES}
    thresholds = dict(DEFAULT_THRESHOLDS) | {
        dtype: value for dtype, value in given.items() if value is not None
    }
    return Tolerance(thresholds, options.expected_rtol, options.equality_mode == "exact")


def _check(
    results: Sequence[np.ndarray],
    expected: Sequence[np.ndarray | None],
    tolerance: Tolerance,
    max_elements: int,
) -> int:
    from thalweg.tools.comparison import mismatch  # imports NumPy
    from thalweg.tools.tensor_text import format_tensor

    failed = False
    for index, (result, wanted) in enumerate(zip(results, expected)):
        difference = None if wanted is None else mismatch(result, wanted, tolerance)
        if wanted is not None and difference is not None:
            failed = True
            print(f"[FAILED] result[{index}]: {difference}")
            print(f"  expected:\n{format_tensor(wanted, max_elements)}")
            print(f"  actual:\n{format_tensor(result, max_elements)}")
    if not failed:
        print("[SUCCESS] all function outputs matched their expected values.")
    return int(failed)
