"""Write ``src/thalweg_target_llvm_cpu/processors/*.json``: the processors and features that llvmlite's LLVM
knows.

    python tools/generate_processors.py

Names come from what LLVM prints for the processor "help". LLVM has no call that says what a processor's
features are, but its inliner knows: a function may be inlined where the caller's features include its own. So
each processor is a caller, each feature a callee, and what was inlined is what the processor has.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm

TARGET = Path(__file__).parents[1] / "src" / "thalweg_target_llvm_cpu" / "processors"

ARCHITECTURES = {
    "x86_64": ("x86_64-unknown-linux-gnu", "x86-64"),
    "aarch64": ("aarch64-unknown-linux-gnu", "generic"),
    "riscv64": ("riscv64-unknown-linux-gnu", "generic-rv64"),
}
"""Architecture → (triple, the processor that has no more than the architecture asks for)."""

HELP = """
import llvmlite.binding as llvm, sys
llvm.initialize_all_targets()
llvm.Target.from_triple(sys.argv[1]).create_target_machine(cpu="help")
"""


USABLE = """
import llvmlite.binding as llvm, sys
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple(sys.argv[1]).create_target_machine(cpu=sys.argv[2], features=sys.argv[3])
machine.emit_object(llvm.parse_assembly("define i32 @f() { ret i32 0 }"))
"""


def usable(triple: str, processor: str, feature: str = "") -> bool:
    """Return whether LLVM makes 64-bit code with these; for an i486, or a feature of 32-bit
    code, it aborts.
    """
    command = [sys.executable, "-c", USABLE, triple, processor, feature]
    return subprocess.run(command, capture_output=True).returncode == 0


def names(triple: str) -> tuple[list[str], list[str]]:
    """Return the processors and the features that LLVM lists for ``triple``."""
    text = subprocess.run(
        [sys.executable, "-c", HELP, triple], capture_output=True, text=True, check=True
    ).stderr
    processors, features = text.split("Available features for this target:")
    entry = re.compile(r"^  (\S+) +- ", re.MULTILINE)
    return sorted(set(entry.findall(processors))), sorted(set(entry.findall(features)))


def features_of(triple: str, base: str, processors: list[str], features: list[str]) -> dict[str, list[str]]:
    """Return processor → features, by what LLVM inlines."""
    lines = [f'target triple = "{triple}"']
    for index, feature in enumerate(features):
        lines.append(
            f"define internal i32 @f{index}(i32 %x) #{index} {{\n"
            f"  %y = add i32 %x, {index + 1}\n  ret i32 %y\n}}"
        )
        lines.append(
            f'attributes #{index} = {{ nounwind "target-cpu"="{base}" "target-features"="+{feature}" }}'
        )
    for number, processor in enumerate(processors):
        calls = "\n".join(f"  %v{i + 1} = call i32 @f{i}(i32 %v{i})" for i in range(len(features)))
        lines.append(
            f"define i32 @p{number}(i32 %v0) #{len(features) + number} {{\n"
            f"{calls}\n  ret i32 %v{len(features)}\n}}"
        )
        lines.append(f'attributes #{len(features) + number} = {{ nounwind "target-cpu"="{processor}" }}')
    module = llvm.parse_assembly("\n".join(lines))
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=base)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    found: dict[str, list[str]] = {}
    for number, processor in enumerate(processors):
        kept = {int(i) for i in re.findall(r"call .*@f(\d+)\(", str(module.get_function(f"p{number}")))}
        found[processor] = [feature for index, feature in enumerate(features) if index not in kept]
    return found


def main() -> None:
    """Write one file for each architecture."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    TARGET.mkdir(exist_ok=True)
    for architecture, (triple, base) in ARCHITECTURES.items():
        processors, features = names(triple)
        processors = [processor for processor in processors if usable(triple, processor)]
        features = [feature for feature in features if usable(triple, base, f"+{feature}")]
        table = features_of(triple, base, processors, features)
        record = {"llvm": list(llvm.llvm_version_info), "features": features, "processors": table}
        lines = [f" {json.dumps(name)}: {json.dumps(table[name])}" for name in processors]
        text = (
            json.dumps({**record, "processors": {}}).removesuffix("{}}")
            + "{\n"
            + ",\n".join(lines)
            + "\n}}\n"
        )
        (TARGET / f"{architecture}.json").write_text(text)


if __name__ == "__main__":
    main()
