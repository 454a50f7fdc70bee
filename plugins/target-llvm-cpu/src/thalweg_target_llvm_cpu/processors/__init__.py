"""What LLVM knows of processors: names and features, checked before LLVM is asked (it only warns, and goes
on).

The tables are made by ``tools/generate_processors.py`` from llvmlite's LLVM.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from thalweg.api import InvalidArgument


@dataclass(frozen=True)
class Architecture:
    """One instruction set architecture: what its code may ask of a processor, and how images
    of it are made.
    """

    name: str
    baseline: str
    """The processor that has no more than the architecture asks for."""
    checkable: frozenset[str]
    """The features that change our code; operating systems tell of each, so that a loader can check it."""
    required: tuple[str, ...] = ()
    """Features that any processor must have for Thalweg's code (with their ``+`` or ``-``)."""
    abi: str = ""
    code_model: str = "small"

    @property
    def executable_format(self) -> str:
        """The format of linked images."""
        return f"thalweg-elf-{self.name}-1"

    def processors(self) -> dict[str, frozenset[str]]:
        """Return processor → features."""
        return _table(self.name)[0]

    def features(self) -> frozenset[str]:
        """Return every feature name."""
        return _table(self.name)[1]

    def require_processor(self, name: str) -> None:
        """Check that LLVM knows the processor ``name``.

        :raises InvalidArgument: naming the nearest ones.
        """
        _require("processor", name, self.processors(), self.name)

    def require_feature(self, name: str) -> None:
        """Check that LLVM knows the feature ``name``.

        :raises InvalidArgument: naming the nearest ones.
        """
        _require("processor feature", name, self.features(), self.name)


def _require(what: str, name: str, known: Iterable[str], architecture: str) -> None:
    names = sorted(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, 4, 0.5)
    hint = (
        f"the nearest are {', '.join(near)}" if near else f"there are {len(names)}, as {', '.join(names[:6])}"
    )
    raise InvalidArgument(f"LLVM knows no {what} {name!r} for {architecture}; {hint}")


@cache
def _table(architecture: str) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    record = json.loads(
        files("thalweg_target_llvm_cpu.processors")
        .joinpath(f"{architecture}.json")
        .read_text(encoding="utf-8")
    )
    processors = {name: frozenset(features) for name, features in record["processors"].items()}
    return processors, frozenset(record["features"])


_X86_64 = Architecture(
    name="x86_64",
    baseline="x86-64",
    checkable=frozenset(
        {
            "sse3",
            "ssse3",
            "sse4.1",
            "sse4.2",
            "popcnt",
            "lzcnt",
            "movbe",
            "avx",
            "avx2",
            "fma",
            "f16c",
            "bmi",
            "bmi2",
            "gfni",
            "fma4",
            "xop",
            "avxvnni",
            "avx512f",
            "avx512cd",
            "avx512bw",
            "avx512dq",
            "avx512vl",
            "avx512vnni",
            "avx512bf16",
            "avx512fp16",
            "avx512vbmi",
            "avx512vbmi2",
            "avx512ifma",
            "avx512bitalg",
            "avx512vpopcntdq",
        }
    ),
)
_AARCH64 = Architecture(
    name="aarch64",
    baseline="generic",
    checkable=frozenset(
        {
            "neon",
            "fp-armv8",
            "fullfp16",
            "dotprod",
            "fp16fml",
            "rdm",
            "lse",
            "crc",
            "complxnum",
            "jsconv",
            "i8mm",
            "bf16",
        }
    ),
    required=("+neon", "+fp-armv8"),
)
_RISCV64 = Architecture(
    name="riscv64",
    baseline="generic-rv64",
    checkable=frozenset({"m", "a", "f", "d", "c", "v", "zba", "zbb", "zbs", "zfh", "zvfh"}),
    required=("+m", "+a", "+f", "+d", "+c", "-relax"),
    abi="lp64d",
    code_model="medium",
)

ARCHITECTURES = {
    "x86_64": _X86_64,
    "amd64": _X86_64,
    "aarch64": _AARCH64,
    "arm64": _AARCH64,
    "riscv64": _RISCV64,
}
"""First part of a triple → architecture."""
