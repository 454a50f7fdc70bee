"""The processor's features in LLVM's spelling, from what Linux says of it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

X86_NAMES = {
    "pni": "sse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "abm": "lzcnt",
    "cx16": "cx16",
    "lahf_lm": "sahf",
    "rdrand": "rdrnd",
    "pclmulqdq": "pclmul",
    "sha_ni": "sha",
    "bmi1": "bmi",
    "avx512_vnni": "avx512vnni",
    "avx512_bf16": "avx512bf16",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512vpopcntdq",
    "avx512_fp16": "avx512fp16",
    "avx512_vp2intersect": "avx512vp2intersect",
    "avx512ifma": "avx512ifma",
    "avx_vnni": "avxvnni",
    "amx_bf16": "amx-bf16",
    "amx_int8": "amx-int8",
    "amx_tile": "amx-tile",
    "amx_fp16": "amx-fp16",
}
"""Linux's flag → LLVM's feature, where they differ."""

_X86_SAME = """
    cx8 cmov fxsr mmx sse sse2 ssse3 popcnt avx avx2 fma f16c bmi2 movbe adx aes rdseed xsave xsaveopt
    xsavec xsaves gfni vaes vpclmulqdq sse4a fma4 xop tbm avx512f avx512cd avx512bw avx512dq avx512vl
    avx512vbmi fsgsbase clflushopt clwb movdiri movdir64b serialize
"""
X86_SAME = frozenset(_X86_SAME.split())
"""Flags that have one name."""

ARM_NAMES = {
    "asimd": "neon",
    "fp": "fp-armv8",
    "asimdhp": "fullfp16",
    "asimddp": "dotprod",
    "asimdfhm": "fp16fml",
    "asimdrdm": "rdm",
    "atomics": "lse",
    "crc32": "crc",
    "aes": "aes",
    "sha2": "sha2",
    "sha3": "sha3",
    "fcma": "complxnum",
    "jscvt": "jsconv",
    "lrcpc": "rcpc",
    "sve": "sve",
    "sve2": "sve2",
    "svei8mm": "sve",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sb": "sb",
    "ssbs": "ssbs",
}

_RISCV = re.compile(r"[a-z]|z[a-z0-9]+")

KNOWN_FEATURES = X86_SAME.union(X86_NAMES.values(), ARM_NAMES.values())
"""Every feature that this module may tell of a machine, but RISC-V's."""


def is_known_feature(name: str) -> bool:
    """Return whether some processor may have the feature ``name`` (in LLVM's spelling)."""
    return name in KNOWN_FEATURES or _RISCV.fullmatch(name) is not None


@cache
def machine_features() -> frozenset[str]:
    """Return the features of this machine's processor; empty where ``/proc/cpuinfo`` does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return parse_cpuinfo(text)


def parse_cpuinfo(text: str) -> frozenset[str]:
    """Return the features that every processor of a ``/proc/cpuinfo`` has."""
    found: list[frozenset[str]] = []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        match key.strip():
            case "flags":
                words = value.split()
                found.append(
                    frozenset(
                        {X86_NAMES[word] for word in words if word in X86_NAMES} | (X86_SAME & set(words))
                    )
                )
            case "Features":
                found.append(frozenset(ARM_NAMES[word] for word in value.split() if word in ARM_NAMES))
            case "isa":
                found.append(_riscv_features(value.strip()))
    return frozenset.intersection(*found) if found else frozenset()


def _riscv_features(isa: str) -> frozenset[str]:
    base, *extensions = isa.lower().split("_")
    if not base.startswith(("rv64", "rv32")):
        return frozenset()
    letters = set(base[4:].replace("g", "imafd")) - {"i"}
    return frozenset(letters) | frozenset(word for word in extensions if word.startswith("z"))
