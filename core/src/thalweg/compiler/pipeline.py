"""The phases, in order: what each does to a program, and how far a compilation goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from xdsl.dialects.builtin import StringAttr

from thalweg.codegen.target import (
    KernelSource,
    TargetBackend,
    TargetConfiguration,
    TranslatedKernel,
)
from thalweg.compiler.debug_info import debug_info, kernel_infos
from thalweg.compiler.diagnosis import explain
from thalweg.compiler.dumping import Dumper
from thalweg.compiler.host_program import host_functions, lower_to_hal, lower_to_vm
from thalweg.compiler.passes import PASSES
from thalweg.compiler.passes.decompose import DECOMPOSITIONS, decompose
from thalweg.compiler.phase_record import PhaseRecord, ProgramSize, add_record
from thalweg.compiler.planning import plan_dispatches
from thalweg.compiler.streaming import lower_to_stream
from thalweg.compiler.translation import Progress, TranslationJob, TranslationPool, translate_here
from thalweg.errors import CompileError, NotSupported
from thalweg.ir.dialects import linalg
from thalweg.ir.dialects.tw import StructuredOp
from thalweg.ir.program import Program
from thalweg.ir.signatures import describe_signature, signatures
from thalweg.module.debug_info import encode_debug_info
from thalweg.module.graph_picture import pictures
from thalweg.module.module import ExecutableRecord, Variant
from thalweg.module.program import FunctionSignature

PHASES = (
    "input",
    "abi",
    "preprocessing",
    "global-optimization",
    "dispatch-creation",
    "flow",
    "stream",
    "executable-sources",
    "executable-targets",
    "hal",
    "vm",
    "end",
)
"""What ``--compile-to`` takes, in order."""

ProgressCallback = Callable[[str, float, str], None]
"""Called with (phase, fraction of the whole compilation done, detail)."""

_WEIGHTS = {"input": 5, "global-optimization": 12, "executable-targets": 70}


class PhaseReached(Exception):
    """Raised inside the pipeline when the phase to stop at is complete; carries its text."""

    def __init__(self, text: str):
        super().__init__("phase reached")
        self.text = text


@dataclass
class Session:
    """What one compilation carries along: where to stop, what to dump, whom to tell, how long phases took."""

    compile_to: str
    dumper: Dumper
    progress: ProgressCallback
    phase_seconds: dict[str, float] = field(default_factory=dict)
    phases: list[PhaseRecord] = field(default_factory=list)
    arena_bytes: int | None = None
    """Of the variant that is being made, once its memory is planned."""
    debug_info: bool = True
    prefix: str = ""
    variant: int = 0
    """Number of the variant that is being made, of ``variants``."""
    variants: int = 1

    @contextmanager
    def phase(self, name: str, program: Program | None = None):
        """Time a phase; at its end dump the program, and stop if this is where the compilation ends."""
        before = ProgramSize.of(program) if program is not None else None
        start = time.perf_counter()
        self.progress(name, self._fraction(name), self.prefix.rstrip("."))
        try:
            yield
        except (CompileError, NotSupported) as error:
            raise explain(error, name, self.dumper) from error
        seconds = time.perf_counter() - start
        self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + seconds
        after = ProgramSize.of(program) if program is not None else None
        variant = self.prefix.removesuffix(".")
        arena = self.arena_bytes if program is not None else None
        add_record(self.phases, PhaseRecord(name, variant, seconds, before, after, arena))
        if program is not None:
            if self.dumper.enabled:
                self.dumper.phase(PHASES.index(name), self.prefix + name, program.text())
            if self.compile_to == name:
                raise PhaseReached(program.text())

    def detail(self, name: str, done: int, total: int) -> None:
        """Report progress inside a phase."""
        self.progress(name, self._fraction(name, done / max(total, 1)), f"{done}/{total}")

    def _fraction(self, name: str, inside: float = 0.0) -> float:
        """Return how much of the compilation is done; all but the first phases run for each variant."""
        done = _done_before(name) + inside * _WEIGHTS.get(name, 1) / _total_weight()
        first, last = _done_before("global-optimization"), _done_before("end")
        if not first <= done < last:
            return done
        return first + (done - first + self.variant * (last - first)) / self.variants


def _total_weight() -> int:
    return sum(_WEIGHTS.get(name, 1) for name in PHASES)


def _done_before(phase: str) -> float:
    return sum(_WEIGHTS.get(name, 1) for name in PHASES[: PHASES.index(phase)]) / _total_weight()


def annotate_abi(program: Program) -> tuple[FunctionSignature, ...]:
    """Phase ``abi``: write each export's signature on its function, and return the signatures."""
    found = signatures(program)
    for function, signature in zip(program.functions(), found):
        function.attributes["tw.abi"] = StringAttr(describe_signature(signature))
    return found


OPTIMIZATIONS = (
    "canonicalize",
    "fold-constants",
    "canonicalize",
    "fold-batch-norms",
    "fuse-elementwise",
    "propagate-reshapes",
    "canonicalize",
    "fuse-elementwise",
    "fold-constants",
    "canonicalize",
)
"""The passes of phase ``global-optimization``, in order."""


def optimize(program: Program) -> None:
    """Phase ``global-optimization``: fold, simplify, move batch norms into weights, then fuse."""
    for name in OPTIMIZATIONS:
        PASSES[name].run(program)


@dataclass(frozen=True)
class BackendJob:
    """One variant of a compilation: the target backend ``name`` with its options."""

    name: str
    backend: TargetBackend
    config: TargetConfiguration
    options: Mapping[str, Any]
    isolated: bool
    variant: str
    """The variant's name; the backend's own where it makes one only."""


def compile_variant(program: Program, job: BackendJob, session: Session) -> Variant:
    """Run the phases after ``preprocessing`` for one backend, in place, and return its variant."""
    with ExitStack() as stack:
        translate = _translator(program, job, session, stack)
        return _compile_variant(program, job, session, translate)


Translate = Callable[[Sequence[KernelSource], Progress], list[TranslatedKernel]]
"""Translates the kernels of one variant."""


def _translator(program: Program, job: BackendJob, session: Session, stack: ExitStack) -> Translate:
    """Return how kernels are translated; workers start now, and load while the program is planned.

    There are no more of them than ops, because an op that is decomposed is fused again.
    """
    reached = PHASES.index(session.compile_to) >= PHASES.index("executable-targets")
    if job.isolated and reached:
        work = sum(isinstance(op, StructuredOp | linalg.GenericOp) for op in program.module.walk())
        pool = TranslationPool(TranslationJob(job.name, job.options, job.config), work)
        return stack.enter_context(pool).translate
    return lambda sources, progress: translate_here(job.backend, sources, job.config, progress)


def _compile_variant(program: Program, job: BackendJob, session: Session, translate: Translate) -> Variant:
    session.arena_bytes = None
    exported = signatures(program) if session.dumper.enabled else ()
    with session.phase("global-optimization", program):
        decompose(program, DECOMPOSITIONS.keys() - job.config.structured_ops)
        optimize(program)
    with session.phase("dispatch-creation", program):
        PASSES["create-dispatches"].run(program)
    with session.phase("flow", program):
        planned = plan_dispatches(program, job.backend, job.config)
    dispatches = sum(op.name == "flow.dispatch" for op in program.module.walk())
    with session.phase("stream", program):
        memory = lower_to_stream(program)
        session.arena_bytes = memory.transient_bytes
    with session.phase("executable-sources", program):
        sources = [replace(source, dumps=session.dumper.enabled) for source in planned.sources.values()]
        for source in sources:
            session.dumper.executable(source.name, {".mlir": source.text.encode()})
    executables = _translate(sources, job, session, program, translate)
    entries = [entry.name for executable in executables for entry in executable.entries]
    infos = kernel_infos(planned)
    with session.phase("hal", program):
        lower_to_hal(program, {name: (0, i) for i, name in enumerate(entries)})
    functions, constants = host_functions(program)
    info = debug_info(program, infos)
    with session.phase("vm", program):
        lower_to_vm(program, functions)
    variant = Variant(
        name=job.variant,
        backend=job.name,
        predicate=dict(job.config.predicate),
        executables=executables,
        functions=functions,
        constants=constants,
        inline=job.config.inline,
        statistics={
            "transient_bytes": memory.transient_bytes,
            "intermediate_bytes": memory.intermediate_bytes,
            "peak_live_bytes": memory.peak_live_bytes,
            "constant_bytes": sum(program.resources[name].nbytes for name in constants),
            **({"dimensions": dict(memory.dimensions)} if memory.dimensions else {}),
            "dispatches": dispatches,
            "kernels": len(sources),
        },
        debug_info=encode_debug_info(info) if session.debug_info else b"",
    )
    if session.dumper.enabled:
        for name, picture in pictures(variant, info, exported).items():
            session.dumper.picture(session.prefix + name, picture)
    return variant


def _translate(
    sources: Sequence[KernelSource],
    job: BackendJob,
    session: Session,
    program: Program,
    translate: Translate,
) -> tuple[ExecutableRecord, ...]:
    """Translate and link the kernels: one executable, or none for a program that only moves its inputs."""
    with session.phase("executable-targets", program):

        def progress(done: int, total: int) -> None:
            session.detail("executable-targets", done, total)

        translated = translate(sources, progress)
        for kernel in translated:
            session.dumper.executable(kernel.entry.name, kernel.dumps)
        if not translated:
            return ()
        linked = job.backend.link(translated, job.config)
        name = f"{job.variant}-executable"
        session.dumper.executable(name, {".bin": linked.data, **linked.dumps})
    return (ExecutableRecord(name, linked.format, linked.data, linked.entries),)
