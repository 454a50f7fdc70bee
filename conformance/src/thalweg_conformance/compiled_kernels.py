"""Kernels made by an installed target backend: the way of ``--target``. Needs ``thalweg[compiler]``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thalweg.api import Registry
from thalweg.codegen.target import KernelSource
from thalweg.hal.executable import ExecutableRecord
from thalweg.ir import Dispatch, FunctionBuilder
from thalweg.ir.dialects import tw

from thalweg_conformance.kernels import ELEMENTS, KernelLibrary


def compile_library(registry: Registry, target: str) -> KernelLibrary:
    """Plan, translate and link the kernels that are functions on tensors.

    :raises UnknownName: no such target backend. :raises CompileError: it cannot compile one.
    """
    spec = registry.target_backend(target)
    backend = spec.create(spec.options())
    configuration = backend.configuration()
    translated, counts = [], {}
    for name, text in kernel_texts().items():
        dispatch = Dispatch.parse(text)
        plan = backend.plan(dispatch, configuration)
        translated.append(backend.translate(KernelSource(name, dispatch.text(), plan.kernel), configuration))
        counts[name] = plan.kernel.workgroup_count
    linked = backend.link(translated, configuration)
    record = ExecutableRecord("conformance", linked.format, linked.data, linked.entries)
    return KernelLibrary(record, counts, f"{linked.format}, by target backend {target!r}")


def kernel_texts() -> dict[str, str]:
    """Return kernel name → the MLIR of its function, for the kernels that are functions on tensors."""
    bodies = {
        "absolute": lambda s, x: s.absf(x),
        "negate": lambda s, x: s.negf(x),
        "double": lambda s, x: s.addf(x, x),
        "add": lambda s, x, y: s.addf(x, y),
    }
    texts = {}
    for name, body in bodies.items():
        count = body.__code__.co_argcount - 1
        function = FunctionBuilder(name, [(f"in{i}", (ELEMENTS,), "f32") for i in range(count)])
        texts[name] = _finish(function, function.elementwise(list(function.arguments), body))
    function = FunctionBuilder("gather", [("data", (ELEMENTS,), "f32"), ("indices", (ELEMENTS,), "i64")])
    result = function.structured(tw.GatherOp, list(function.arguments), (ELEMENTS,), axis=0)
    texts["gather"] = _finish(function, result)
    return texts


def _finish(function: FunctionBuilder, result: Any) -> str:
    return str(function.finish([("out", result)]))


def write_library(library: KernelLibrary, folder: Path) -> None:
    """Write ``library`` as the suite ships executables; see ``kernels.shipped_library``."""
    record = library.record
    description = {
        "entries": [asdict(entry) for entry in record.entries],
        "workgroup_counts": {name: list(count) for name, count in library.workgroup_counts.items()},
    }
    folder.joinpath(f"{record.format}.bin").write_bytes(record.data)
    folder.joinpath(f"{record.format}.json").write_text(json.dumps(description, indent=1) + "\n", "utf-8")
