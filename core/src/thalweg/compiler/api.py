"""The compiler's entry point."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from importlib_metadata import version

from thalweg.compiler.dumping import Dumper
from thalweg.compiler.phase_record import PhaseRecord
from thalweg.compiler.pipeline import (
    PHASES,
    BackendJob,
    PhaseReached,
    ProgressCallback,
    Session,
    annotate_abi,
    compile_variant,
)
from thalweg.compiler.variants import ConstantTable, variant_jobs
from thalweg.errors import InvalidArgument
from thalweg.ir.importer import Importer
from thalweg.ir.program import Program
from thalweg.module.module import Module, Variant
from thalweg.plugin.registry import Registry

OPT_LEVELS = ("O0", "O1", "O2", "O3")


@dataclass(frozen=True)
class CompileResult:
    """``module`` when the compilation went to its end, else ``text``: the MLIR of the phase asked for."""

    module: Module | None
    text: str | None
    phase_seconds: dict[str, float] = field(default_factory=dict)
    phases: tuple[PhaseRecord, ...] = ()
    """One record for each phase of each variant, in the order they ended."""


def compile_model(
    source: str | Path | Any,
    *,
    target_backends: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    opt_level: str = "O2",
    compile_to: str = "end",
    dump_dir: str | Path | None = None,
    debug_info: bool = True,
    progress: ProgressCallback | None = None,
    registry: Registry | None = None,
) -> CompileResult:
    """Compile a model.

    :param source: a path, a model object that an input plugin accepts, MLIR text's path (``.mlir``), or a
        ``Program``.
    :param target_backends: names; the preferred installed one when empty.
    :param options: plugin name → fields of its options dataclass.
    :param compile_to: one of ``PHASES``.
    :param debug_info: store kernels' IR and the model's nodes in the module, for tools.
    :raises InvalidArgument: no such file, not a model, unknown phase or option.
    :raises UnknownName: unknown target backend.
    :raises CompileError: the model holds what cannot be compiled.
    """
    registry = registry or Registry.from_environment()
    _check_choice("phase", compile_to, PHASES)
    _check_choice("optimization level", opt_level, OPT_LEVELS)
    names = list(target_backends) or [registry.preferred("thalweg.target_backends")]
    jobs = variant_jobs(names, options or {}, registry)
    session = Session(compile_to, Dumper(dump_dir), progress or (lambda *_: None), debug_info=debug_info)
    try:
        module = _compile(source, jobs, options or {}, session, registry)
    except PhaseReached as reached:
        return CompileResult(None, reached.text, session.phase_seconds, tuple(session.phases))
    return CompileResult(module, None, session.phase_seconds, tuple(session.phases))


def _check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(value, choices, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InvalidArgument(f"no {what} {value!r}; there are: {', '.join(choices)}{hint}")


def _option_values(kind: type, given: Mapping[str, Any], plugin: str) -> dict[str, Any]:
    known = [f.name for f in fields(kind)]
    for name in given:
        if name not in known:
            raise InvalidArgument(f"{plugin} has no option {name!r}; it has: {', '.join(known) or 'none'}")
    return dict(given)


def _compile(
    source: Any,
    jobs: Sequence[BackendJob],
    options: Mapping[str, Mapping[str, Any]],
    session: Session,
    registry: Registry,
) -> Module:
    imported: list[Program] = []
    with session.phase("input"):
        imported.append(import_source(source, options, registry))
    (program,) = imported
    with session.phase("input", program):
        program.module.verify()
    with session.phase("abi", program):
        functions = annotate_abi(program)
    with session.phase("preprocessing", program):
        pass  # plugins may rewrite first; none of the hooks of API 1.0 does
    variants: list[Variant] = []
    constants = ConstantTable()
    session.variants = len(jobs)
    for number, job in enumerate(jobs):
        session.variant = number
        if len(jobs) > 1:
            session.prefix = f"{job.variant}."
        work = program if job is jobs[-1] else Program(program.module.clone(), dict(program.resources))
        variants.append(constants.add(compile_variant(work, job, session), work.resources))
    with session.phase("end"):
        return Module(_name(source), _producer(), functions, tuple(variants), constants.arrays)


def _producer() -> str:
    return f"thalweg {version('thalweg')}"


def _name(source: Any) -> str:
    if isinstance(source, str | Path):
        return Path(source).stem
    return getattr(getattr(source, "graph", None), "name", "") or "module"


def import_source(source: Any, options: Mapping[str, Mapping[str, Any]], registry: Registry) -> Program:
    """Return the program of a path, a model in memory, or a ``Program`` itself.

    :raises InvalidArgument: no such file, or nothing installed reads it.
    """
    if isinstance(source, Program):
        return source
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise InvalidArgument(f"no such file: {path}")
        if path.is_dir():
            raise InvalidArgument(f"{path} is a folder, not a model")
        if path.suffix == ".mlir":
            return Program.parse(path.read_text(), name=str(path))
        source = path
    importer = _find_importer(source, options, registry)
    return importer.import_model(source)


def model_dependencies(
    source: Path, options: Mapping[str, Mapping[str, Any]], registry: Registry
) -> tuple[Path, ...] | None:
    """Return the files that a model's file refers to; ``None`` if its importer does not tell."""
    if source.suffix == ".mlir":
        return ()
    return _find_importer(source, options, registry).dependencies(source)


def model_content(
    source: Any, options: Mapping[str, Mapping[str, Any]], registry: Registry
) -> tuple[str, list[bytes | memoryview]] | None:
    """Return the name of a model in memory and the bytes that determine it; ``None`` if nothing does."""
    if isinstance(source, Program):
        parts: list[bytes | memoryview] = [source.text().encode()]
        for name, array in source.resources.items():
            parts += [f"{name} {array.dtype} {array.shape}".encode(), _bytes_of(array)]
        return _name(source), parts
    content = _find_importer(source, options, registry).content(source)
    return None if content is None else (_name(source), list(content))


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _find_importer(source: Any, options: Mapping[str, Mapping[str, Any]], registry: Registry) -> Importer:
    names = registry.names("thalweg.inputs") or [registry.preferred("thalweg.inputs")]
    specs = [registry.input(name) for name in names]
    if isinstance(
        source, Path
    ):  # those of the same suffix are asked first, and may explain what is wrong with the file
        specs.sort(key=lambda spec: source.suffix not in spec.suffixes)
    for spec in specs:
        importer = spec.create(
            spec.options(**_option_values(spec.options, options.get(spec.name, {}), spec.name))
        )
        if importer.accepts(source):
            return importer
    what = str(source) if isinstance(source, Path) else f"an object of type {type(source).__name__}"
    formats = ", ".join(f"{spec.name} ({' '.join(spec.suffixes)})" for spec in specs) or "none"
    raise InvalidArgument(f"no installed input format reads {what}; installed: {formats}")


__all__ = [
    "OPT_LEVELS",
    "PHASES",
    "CompileResult",
    "compile_model",
    "import_source",
    "model_content",
    "model_dependencies",
]
