"""``thalweg inspect``: what a module holds, and how long each phase of its compilation took."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.extents import as_json
from thalweg.tools.parameter_options import add_parameters_option

if TYPE_CHECKING:
    from thalweg.module.module import Module, Parameter, Variant
    from thalweg.module.program import TensorSignature


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg inspect``."""
    parser.add_argument("module", metavar="MODULE", help="the module's file (.twm)")
    add_parameters_option(parser, "check that these hold what the module keeps outside")
    parser.add_argument("--verify", choices=("code", "full"), default="code", help="full: the constants too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print what there is, for people or as JSON."""
    from thalweg.module.file import read_module  # imports NumPy
    from thalweg.parameters import bind_parameters, open_parameters
    from thalweg.tools.compile_report import read_report

    module = read_module(options.module, options.verify)
    if options.parameters:
        bind_parameters(module, module.parameters, open_parameters(options.parameters), options.verify)
    path = Path(options.module)
    description = describe_module(module, path.stat().st_size, read_report(path))
    print(json.dumps(description, indent=2) if options.json else _text(description, path.name))
    return 0


def describe_module(module: Module, file_bytes: int, report: dict[str, Any] | None) -> dict[str, Any]:
    """Return what ``thalweg inspect --json`` prints. ``phase_seconds`` is null without a report."""
    return {
        "name": module.name,
        "producer": module.producer,
        "file_bytes": file_bytes,
        "required_features": list(module.required_features),
        "functions": [
            {
                "name": function.name,
                "inputs": [_describe_tensor(tensor) for tensor in function.inputs],
                "outputs": [_describe_tensor(tensor) for tensor in function.outputs],
                "limits": [f"{limit.extent} <= {limit.maximum}" for limit in function.limits],
            }
            for function in module.functions
        ],
        "constants": {
            "count": len(module.constants),
            "bytes": sum(array.nbytes for array in module.constants.values()),
        },
        "parameters": [_describe_parameter(parameter) for parameter in module.parameters.values()],
        "variants": [_describe_variant(variant, module) for variant in module.variants],
        "phase_seconds": report["phase_seconds"] if report else None,
        "total_seconds": report["total_seconds"] if report else None,
    }


def _describe_tensor(tensor: TensorSignature) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": [as_json(extent) for extent in tensor.shape],
        "dtype": tensor.dtype,
    }


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "scope": parameter.scope,
        "name": parameter.name,
        "dtype": parameter.dtype,
        "shape": list(parameter.shape),
        "bytes": parameter.nbytes,
        "sha256": parameter.sha256,
    }


def _describe_variant(variant: Variant, module: Module) -> dict[str, Any]:
    return {
        "name": variant.name,
        "backend": variant.backend,
        "predicate": dict(variant.predicate),
        "inline": variant.inline,
        "statistics": dict(variant.statistics),
        "constants": {
            "count": len(variant.constants),
            "bytes": sum(module.constant_bytes(key) for key in variant.constants),
        },
        "executables": [
            {
                "name": executable.name,
                "format": executable.format,
                "bytes": len(executable.data),
                "entries": [entry.name for entry in executable.entries],
            }
            for executable in variant.executables
        ],
        "functions": [
            {"name": function.name, "commands": len(function.commands)} for function in variant.functions
        ],
    }


def _text(description: dict[str, Any], file_name: str) -> str:
    constants = description["constants"]
    lines = [
        f"{file_name}: module {description['name']!r}, {_size(description['file_bytes'])}",
        f"producer: {description['producer']}",
        f"constants: {constants['count']}, {_size(constants['bytes'])}",
        *_parameter_lines(description["parameters"]),
        f"required features: {', '.join(description['required_features']) or 'none'}",
        "functions:",
    ]
    for function in description["functions"]:
        lines.append(f"  @{function['name']}")
        lines += [f"    input  {_tensor_text(tensor)}" for tensor in function["inputs"]]
        lines += [f"    output {_tensor_text(tensor)}" for tensor in function["outputs"]]
        lines += [f"    needs {limit}" for limit in function["limits"]]
    for variant in description["variants"]:
        lines += _variant_lines(variant)
    lines += _phase_lines(description)
    return "\n".join(lines)


def _parameter_lines(parameters: list[dict[str, Any]]) -> list[str]:
    """Say what is needed of each scope; ``--json`` lists every parameter."""
    scopes: dict[str, list[int]] = {}
    for parameter in parameters:
        scopes.setdefault(parameter["scope"], []).append(parameter["bytes"])
    return [
        f"parameters outside, {f'scope {scope!r}' if scope else 'default scope'}:"
        f" {len(sizes)}, {_size(sum(sizes))}"
        for scope, sizes in scopes.items()
    ]


def _variant_lines(variant: dict[str, Any]) -> list[str]:
    statistics = variant["statistics"]
    lines = [
        f"variant {variant['name']!r} by {variant['backend']}{', inline' if variant['inline'] else ''}",
        *(f"  needs {key}: {_list_text(value)}" for key, value in variant["predicate"].items()),
        f"  constants: {variant['constants']['count']}, {_size(variant['constants']['bytes'])}",
    ]
    if "transient_bytes" in statistics and "intermediate_bytes" in statistics:
        arena, total = statistics["transient_bytes"], statistics["intermediate_bytes"]
        at = ", ".join(f"{name}={value}" for name, value in statistics.get("dimensions", {}).items())
        lines.append(
            f"  arena: {_size(arena)} for intermediates of {_size(total)} in sum{f', at {at}' * bool(at)}"
        )
    shown = ("transient_bytes", "intermediate_bytes", "constant_bytes", "dimensions")
    lines += [f"  {key}: {_list_text(value)}" for key, value in statistics.items() if key not in shown]
    for executable in variant["executables"]:
        count = len(executable["entries"])
        size = _size(executable["bytes"])
        lines.append(f"  executable {executable['name']!r}: {executable['format']}, {size}, {count} kernels")
    lines += [f"  @{function['name']}: {function['commands']} commands" for function in variant["functions"]]
    return lines


def _phase_lines(description: dict[str, Any]) -> list[str]:
    phases = description["phase_seconds"]
    if phases is None:
        return ["phases: no times here; thalweg compile keeps them in its cache on the machine where it ran"]
    lines = [f"phases: {description['total_seconds']:.2f} s in all"]
    return lines + [f"  {name:<22} {seconds:9.3f} s" for name, seconds in phases.items()]


def _tensor_text(tensor: dict[str, Any]) -> str:
    return f"{tensor['name']}: {'x'.join([*map(str, tensor['shape']), tensor['dtype']])}"


def _list_text(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list | tuple) else str(value)


def _size(count: int) -> str:
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit} ({count:,} bytes)"
    return f"{count} bytes"
