"""LLVM IR text → verified → optimised → object code and assembly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from thalweg.api import CompileError

OPTIMISATION_LEVEL = 3


@dataclass(frozen=True)
class CompiledText:
    """What LLVM made of one text: optimised IR, relocatable ELF object, assembly."""

    ir: str
    object: bytes
    assembly: str


def compile_text(text: str, settings: Mapping[str, Any], assembly: bool = False) -> CompiledText:
    """Compile LLVM IR text for the processor that ``settings`` (of the configuration) describe.

    :param assembly: whether to make the optimised IR and the assembly too; they are empty otherwise.
    :raises CompileError: LLVM does not accept the text; the message has its first complaint.
    """
    machine = target_machine(settings)
    module = _parse(_with_target(text, settings))
    tuning = llvm.create_pipeline_tuning_options(speed_level=OPTIMISATION_LEVEL)
    # Emitters write vectors themselves. LLVM's vectorizers would only take their tails and address sums
    # apart.
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    tuning.loop_interleaving = False
    tuning.loop_unrolling = True
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    optimised = str(module) if assembly else ""
    code = machine.emit_object(module)
    # A module that code was emitted from cannot be emitted again: LLVM may abort.
    listing = machine.emit_assembly(_parse(optimised)) if assembly else ""
    return CompiledText(optimised, code, listing)


def compile_to_object(text: str, settings: Mapping[str, Any]) -> bytes:
    """Return the relocatable ELF object of LLVM IR text; see ``compile_text``."""
    return compile_text(text, settings).object


def target_machine(settings: Mapping[str, Any]) -> llvm.TargetMachine:
    """Return the target machine of a configuration's settings, for position-independent code."""
    return create_target_machine(
        settings["triple"], settings["cpu"], settings["features"], settings["abi"], settings["code_model"]
    )


def create_target_machine(
    triple: str, cpu: str, features: str, abi: str, code_model: str
) -> llvm.TargetMachine:
    """Return a target machine. The names must be known ones: LLVM warns on standard error and goes on."""
    _initialize()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(
        cpu=cpu, features=features, opt=OPTIMISATION_LEVEL, reloc="pic", codemodel=code_model, abiname=abi
    )


@cache
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _parse(text: str) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = " ".join(lines[:3]) or "no reason given"
        raise CompileError(f"LLVM does not accept the code of this kernel: {message}") from None
    return module


_DEFINITION = re.compile(r"^(define\b.*\))([^(){}]*)\{[ \t]*$", re.MULTILINE)


def _with_target(text: str, settings: Mapping[str, Any]) -> str:
    """Return ``text`` with the triple, the data layout, and the attributes that every function gets.

    ``no-builtins``: LLVM must not turn a kernel's short loops into calls. ``tune-cpu``: which processor's
    timings schedule the code, apart from which instructions it may use.
    """
    attributes = f'nounwind "no-builtins" "tune-cpu"="{settings["tune"]}" '
    head = f'target datalayout = "{settings["data_layout"]}"\ntarget triple = "{settings["triple"]}"\n'
    abi = f'!{{i32 1, !"target-abi", !"{settings["abi"]}"}}'
    tail = f"\n!llvm.module.flags = !{{!90001}}\n!90001 = {abi}\n" if settings["abi"] else ""
    return head + _DEFINITION.sub(lambda m: f"{m[1]}{m[2]}{attributes}{{", text) + tail
