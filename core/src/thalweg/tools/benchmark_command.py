"""``thalweg benchmark``: how long one call of a function takes."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from thalweg.errors import InvalidArgument
from thalweg.plugin.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from thalweg.module.program import FunctionSignature, TensorSignature
    from thalweg.runtime.stepping import SteppedFunction
    from thalweg.tools.profile import Profile


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg benchmark``."""
    from thalweg.tools.module_function import add_function_options  # imports NumPy

    add_function_options(parser)
    parser.add_argument(
        "--warmup", type=int, default=5, metavar="N", help="calls before measuring; default: 5"
    )
    parser.add_argument(
        "--repetitions", type=int, metavar="N", help="calls to measure; default: as many as --min-time takes"
    )
    parser.add_argument(
        "--min-time",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds to measure for, at least 10 calls; default: 1",
    )
    add_random_input_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="then run the dispatches one by one and print the time of each; slower than a normal call",
    )
    parser.add_argument(
        "--graph", metavar="FILE", help="with --profile: draw the function with its times (.svg)"
    )


def add_random_input_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about inputs that are made up when no ``--input`` is given."""
    parser.add_argument(
        "--dimension",
        action="append",
        default=[],
        metavar="NAME=N",
        help="the value of a dynamic dimension, for random inputs",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs, when no --input is given")


def given_or_random_inputs(options: argparse.Namespace, signature: FunctionSignature) -> list[np.ndarray]:
    """Return the inputs that the command line gives, or random ones."""
    from thalweg.tools import function_arguments  # imports NumPy

    if options.input:
        return function_arguments.parse_inputs(options.input, signature.inputs)
    return random_inputs(_at_dimensions(signature, options.dimension), options.seed)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from thalweg.tools import module_function  # imports NumPy

    if options.warmup < 0 or (options.repetitions is not None and options.repetitions < 1):
        raise InvalidArgument("--warmup is at least 0 and --repetitions at least 1")
    if options.graph and not options.profile:
        raise InvalidArgument("--graph draws what --profile measures; give both")
    registry = Registry.from_environment()
    module = module_function.read_module_option(options)
    signature = module_function.choose_function(module, options.function)
    inputs = given_or_random_inputs(options, signature)
    profile = None
    with module_function.loaded_function(options, module, signature, registry) as function:
        outputs = function.allocate_results(*inputs)
        seconds = measure(
            lambda: function.call(*inputs, out=outputs), options.warmup, options.repetitions, options.min_time
        )
        if options.profile:
            from thalweg.runtime.stepping import step_function  # imports NumPy
            from thalweg.tools.profile import profile_function

            stepped = step_function(function.program, signature.name, inputs, registry)
            profile = profile_function(stepped, options.warmup, options.repetitions, options.min_time)
            if options.graph:
                _draw(options.graph, signature, stepped, profile)
    report = {
        "module": options.module,
        "function": signature.name,
        "device": function.device,
        **statistics_ms(seconds),
        "runs": len(seconds),
        "warmup": options.warmup,
        "inputs": "given" if options.input else f"random, seed {options.seed}",
    }
    if profile is not None:
        from thalweg.tools.profile import describe_profile, profile_table

        if options.json:
            report |= {"profile": describe_profile(profile), "profile_sum_ms": profile.total * 1e3}
    print(json.dumps(report) if options.json else _table(report))
    if profile is not None and not options.json:
        print(profile_table(profile, report["median_ms"]))
    return 0


def _draw(path: str, signature: FunctionSignature, stepped: SteppedFunction, profile: Profile) -> None:
    from thalweg.module.debug_info import debug_info_of
    from thalweg.module.graph_picture import draw_function
    from thalweg.tools.output_file import replacing

    times = {row.dispatch.number: row.median for row in profile.rows}
    name = stepped.fixed.function.name
    stored = next(function for function in stepped.variant.functions if function.name == name)
    with replacing(path) as temporary:
        picture = draw_function(stored, signature, stepped.variant, debug_info_of(stepped.variant), times)
        temporary.write_text(picture, "utf-8")


def _at_dimensions(signature: FunctionSignature, words: Sequence[str]) -> Sequence[TensorSignature]:
    """Return the inputs with the dimensions that ``--dimension`` gives.

    :raises InvalidArgument: one is missing, unknown, no number, or beyond its limit.
    """
    from thalweg.extents import names_in
    from thalweg.module.specialization import specialize_signature
    from thalweg.runtime.dimensions import check_limits  # imports NumPy

    names = names_in([extent for tensor in signature.inputs for extent in tensor.shape])
    values: dict[str, int] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value.isdigit() or int(value) < 1:
            raise InvalidArgument(f"--dimension {word}: write NAME=N with N at least 1")
        if name not in names:
            raise InvalidArgument(
                f"--dimension {word}: {signature.name} has the dimensions {', '.join(names) or 'none'}"
            )
        values[name] = int(value)
    missing = [name for name in names if name not in values]
    if missing:
        raise InvalidArgument(
            f"{signature.name} has the dynamic dimension {missing[0]!r};"
            f" give --dimension {missing[0]}=N or --input"
        )
    check_limits(signature, values)
    return specialize_signature(signature, values).inputs


def random_inputs(signatures: Sequence[TensorSignature], seed: int) -> list[np.ndarray]:
    """Return seeded random inputs: standard normal floats; integers and booleans of 0 and 1.

    Zeros and ones are valid wherever integers are indices (of two or more rows), masks or token numbers.
    """
    import numpy as np

    from thalweg.dtypes import numpy_dtype
    from thalweg.extents import static

    generator = np.random.default_rng(seed)
    inputs = []
    for signature in signatures:
        shape = static(signature.shape)
        if signature.dtype.startswith(("f", "bf")):
            values = generator.standard_normal(shape, np.float32)
        else:
            values = generator.integers(0, 2, shape)
        inputs.append(np.asarray(values).astype(numpy_dtype(signature.dtype)))
    return inputs


def measure(
    call: Callable[[], Any], warmup: int, repetitions: int | None, min_time: float, least: int = 10
) -> list[float]:
    """Return the wall time of each measured call, in seconds, after ``warmup`` calls that are not measured.

    Without ``repetitions`` it measures for ``min_time`` seconds, and at least ``least`` calls.
    """
    for _ in range(warmup):
        call()
    seconds: list[float] = []
    end = time.perf_counter() + min_time
    clock = time.perf_counter
    while (
        len(seconds) < repetitions
        if repetitions is not None
        else len(seconds) < least or time.perf_counter() < end
    ):
        start = clock()
        call()
        seconds.append(clock() - start)
    return seconds


def statistics_ms(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, percentiles, extremes and mean in milliseconds; a percentile is a measured value."""
    ordered = sorted(value * 1e3 for value in seconds)
    count = len(ordered)

    def percentile(percent: float) -> float:
        return ordered[max(0, math.ceil(percent / 100 * count) - 1)]

    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return {
        "median_ms": middle,
        "p90_ms": percentile(90),
        "p99_ms": percentile(99),
        "min_ms": ordered[0],
        "max_ms": ordered[-1],
        "mean_ms": math.fsum(ordered) / count,
    }


def _table(report: dict[str, Any]) -> str:
    head = f"@{report['function']} on {report['device']}: {report['runs']} calls, inputs {report['inputs']}"
    rows = [
        f"  {key.removesuffix('_ms'):>6} {value:10.4f} ms"
        for key, value in report.items()
        if key.endswith("_ms")
    ]
    return "\n".join([head, *rows])
