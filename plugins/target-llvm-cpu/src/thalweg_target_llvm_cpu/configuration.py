"""From options to a resolved configuration: triple, processor, features, vector registers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from thalweg.api import InvalidArgument
from thalweg.codegen.target import TargetConfiguration

from thalweg_target_llvm_cpu.machine import create_target_machine
from thalweg_target_llvm_cpu.options import LlvmCpuOptions
from thalweg_target_llvm_cpu.processors import ARCHITECTURES, Architecture

SUPPORTED_SYSTEM = "linux"


def resolve(options: LlvmCpuOptions) -> TargetConfiguration:
    """Resolve ``options``; the same options on the same machine give the same configuration.

    Its ``settings``: ``triple``, ``cpu`` (whose instructions may be used), ``tune`` (whose timings schedule),
    ``features`` (LLVM's syntax), ``abi``, ``code_model``, ``data_layout``, ``vector_bits`` and
    ``vector_registers``, ``f32_lanes`` and ``fma`` (whether there is a fused multiply-add).

    :raises InvalidArgument: a triple, processor or feature that is not known, or ``host`` for a foreign
        triple.
    """
    triple = options.target_triple or llvm.get_process_triple()
    architecture = _architecture(triple)
    tune, features = _processor(options, triple, architecture)
    for name, wanted in _given_features(options.target_cpu_features, architecture):
        features = features | {name} if wanted else _without(features, name, architecture)
    features = features.union(*(_implied(architecture, feature) for feature in features))
    settings = _settings(triple, architecture, tune, features)
    predicate = {
        "device_kind": "local",
        "executable_format": architecture.executable_format,
        "features": sorted(features),
    }
    return TargetConfiguration(
        "llvm-cpu",
        architecture.executable_format,
        predicate,
        settings,
        structured_ops=frozenset({"tw.softmax", "tw.layer_norm"}),
    )


def _architecture(triple: str) -> Architecture:
    first, *rest = triple.split("-")
    architecture = ARCHITECTURES.get(first)
    if architecture is None:
        near = difflib.get_close_matches(first, ARCHITECTURES, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        known = ", ".join(
            f"{name}-unknown-linux-gnu" for name in dict.fromkeys(a.name for a in ARCHITECTURES.values())
        )
        raise InvalidArgument(f"no code can be made for the triple {triple!r}{hint}; known: {known}")
    if not any(part.startswith(SUPPORTED_SYSTEM) for part in rest):
        raise InvalidArgument(
            f"the triple {triple!r} is not one of a Linux system; write"
            f" {architecture.name}-unknown-linux-gnu: kernels call no system, and their images are ELF"
            " everywhere"
        )
    return architecture


def _processor(
    options: LlvmCpuOptions, triple: str, architecture: Architecture
) -> tuple[str, frozenset[str]]:
    """Return the processor to tune for and the checkable features that code may use."""
    native = _architecture(llvm.get_process_triple()) is architecture
    name = options.target_cpu or ("host" if native else "generic")
    if name == "generic":
        return _generic_tuning(architecture), _known_features(architecture, architecture.baseline)
    if name != "host":
        architecture.require_processor(name)
        return name, _known_features(architecture, name)
    if not native:
        raise InvalidArgument(
            f"--target-cpu=host is this machine's processor, which cannot run code for {triple!r};"
            " ask for generic, or for a processor by name"
        )
    # A virtual machine may mask features of the processor that LLVM recognises: what counts is what it
    # detects.
    detected = {feature for feature, there in llvm.get_host_cpu_features().items() if there}
    baseline = _known_features(architecture, architecture.baseline)
    host = llvm.get_host_cpu_name()
    tune = host if host in architecture.processors() else _generic_tuning(architecture)
    return tune, frozenset(detected & architecture.checkable) | baseline


def _generic_tuning(architecture: Architecture) -> str:
    return "generic" if "generic" in architecture.processors() else architecture.baseline


def _known_features(architecture: Architecture, processor: str) -> frozenset[str]:
    required = {feature[1:] for feature in architecture.required if feature.startswith("+")}
    return architecture.checkable & (architecture.processors()[processor] | required)


def _given_features(text: str, architecture: Architecture) -> Iterable[tuple[str, bool]]:
    for item in filter(None, (part.strip() for part in text.split(","))):
        if item[0] not in "+-":
            raise InvalidArgument(
                f"processor feature {item!r} needs a sign: write +{item} to add it or -{item}"
            )
        name = item[1:]
        architecture.require_feature(name)
        if name not in architecture.checkable:
            raise InvalidArgument(
                f"processor feature {name!r} makes no difference to Thalweg's code for {architecture.name};"
                f" those that do: {', '.join(sorted(architecture.checkable))}"
            )
        required = {feature[1:] for feature in architecture.required if feature.startswith("+")}
        if item[0] == "-" and name in required:
            raise InvalidArgument(
                f"processor feature {name!r} cannot be taken away:"
                f" Thalweg's code for {architecture.name} needs it"
            )
        yield name, item[0] == "+"


def _without(features: frozenset[str], name: str, architecture: Architecture) -> frozenset[str]:
    """Return ``features`` without ``name`` and without those that imply it."""
    return frozenset(f for f in features if f != name and name not in _implied(architecture, f))


IMPLIED = {
    "x86_64": {
        "ssse3": ["sse3"],
        "sse4.1": ["ssse3"],
        "sse4.2": ["sse4.1"],
        "avx": ["sse4.2"],
        "avx2": ["avx"],
        "fma": ["avx"],
        "f16c": ["avx"],
        "fma4": ["avx"],
        "xop": ["fma4"],
        "avxvnni": ["avx2"],
        "avx512f": ["avx2", "f16c", "fma"],
        "avx512cd": ["avx512f"],
        "avx512bw": ["avx512f"],
        "avx512dq": ["avx512f"],
        "avx512vl": ["avx512f"],
        "avx512vnni": ["avx512f"],
        "avx512ifma": ["avx512f"],
        "avx512vpopcntdq": ["avx512f"],
        "avx512bf16": ["avx512bw"],
        "avx512vbmi": ["avx512bw"],
        "avx512vbmi2": ["avx512bw"],
        "avx512bitalg": ["avx512bw"],
        "avx512fp16": ["avx512bw"],
    },
    "aarch64": {"fullfp16": ["fp-armv8"], "neon": ["fp-armv8"], "fp16fml": ["fullfp16"]},
    "riscv64": {"d": ["f"], "zfh": ["f"], "v": ["d"], "zvfh": ["v"]},
}
"""Architecture → feature → the features it includes."""


@cache
def _implied(architecture: Architecture, feature: str) -> frozenset[str]:
    direct = IMPLIED[architecture.name].get(feature, [])
    return frozenset(direct).union(*(_implied(architecture, other) for other in direct))


def _settings(triple: str, architecture: Architecture, tune: str, features: frozenset[str]) -> dict[str, Any]:
    vector_bits, vector_registers = _vectors(architecture, features)
    signs = [f"+{feature}" for feature in sorted(features)]
    # Every checkable feature is said, so that no processor's defaults bring one in.
    signs += [f"-{feature}" for feature in sorted(architecture.checkable - features)]
    signs += [sign for sign in architecture.required if sign.startswith("-")]
    if vector_bits == 512:
        signs.append("-prefer-256-bit")
    text = ",".join(signs)
    machine = create_target_machine(
        triple, architecture.baseline, text, architecture.abi, architecture.code_model
    )
    return {
        "triple": triple,
        "cpu": architecture.baseline,
        "tune": tune,
        "features": text,
        "abi": architecture.abi,
        "code_model": architecture.code_model,
        "data_layout": str(machine.target_data),
        "vector_bits": vector_bits,
        "vector_registers": vector_registers,
        "f32_lanes": vector_bits // 32,
        "fma": architecture.name != "x86_64" or bool(features & {"fma", "fma4"}),
    }


def _vectors(architecture: Architecture, features: frozenset[str]) -> tuple[int, int]:
    """Return bits of a vector register, and how many registers there are."""
    if architecture.name == "riscv64" and "v" not in features:
        return 64, 32  # no vectors: two scalars side by side
    if architecture.name != "x86_64":
        return 128, 32
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= features:
        return 512, 32
    return (256 if "avx" in features else 128), 16
