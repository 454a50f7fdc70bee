"""The options of the target backend."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LlvmCpuOptions:
    """Which processor to compile for."""

    target_triple: str = field(
        default="",
        metadata={"flag": "--target-triple", "help": "LLVM triple to compile for (default: this machine's)"},
    )
    target_cpu: str = field(
        default="",
        metadata={
            "flag": "--target-cpu",
            "help": "processor: host, generic, or a name of LLVM's (default: host;"
            " generic for another triple)",
        },
    )
    target_cpu_features: str = field(
        default="",
        metadata={
            "flag": "--target-cpu-features",
            "help": "features to add or take away, as +avx2,-fma",
        },
    )
