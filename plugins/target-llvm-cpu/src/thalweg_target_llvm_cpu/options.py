"""The options of the target backend."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LlvmCpuOptions:
    """Which processor to compile for."""

    target_triple: str = field(
        default="",
        metadata={
            "flag": "--target-triple",
            "help": "LLVM triple to compile for (default: this machine's); several make one variant each",
            "variants": True,
        },
    )
    target_cpu: str = field(
        default="",
        metadata={
            "flag": "--target-cpu",
            "help": "processor: host, generic, or a name of LLVM's (default: host;"
            " generic for another triple); several, as x86-64-v3,x86-64-v4, make one variant each",
            "variants": True,
        },
    )
    target_cpu_features: str = field(
        default="",
        metadata={
            "flag": "--target-cpu-features",
            "help": "features to add or take away, as +avx2,-fma",
        },
    )
