"""The C library under the compiler's sanitizers: ``stress.c`` uses all of it from many threads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
COMPILER = ["cc", "-std=c11", "-g", "-O0", "-Wall", "-Wextra", "-Werror", "-pthread"]
STRESS_SECONDS = 50


def compile_with(sanitizer: str, sources: list[Path], program: Path) -> subprocess.CompletedProcess[str]:
    """Compile ``sources`` with a sanitizer (empty: none)."""
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"] if sanitizer else []
    command = [*COMPILER, *flags, "-I", str(PACKAGE / "csrc"), *map(str, sources), "-o", str(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def require_sanitizer(sanitizer: str, folder: Path) -> None:
    """Skip the test where this machine cannot compile or run anything with ``sanitizer``."""
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    compiled = compile_with(sanitizer, [empty], folder / "empty")
    if compiled.returncode:
        pytest.skip(f"this C compiler has no -fsanitize={sanitizer}: {compiled.stderr.strip()[-200:]}")
    ran = subprocess.run([str(folder / "empty")], capture_output=True, text=True, check=False, timeout=30)
    if ran.returncode:
        pytest.skip(f"programs with -fsanitize={sanitizer} do not start here: {ran.stderr.strip()[-200:]}")


@pytest.mark.parametrize("sanitizer", ["", "thread", "address,undefined"], ids=["none", "thread", "address"])
def test_the_library_is_clean(sanitizer, tmp_path):
    if sanitizer:
        require_sanitizer(sanitizer, tmp_path)
    sources = [*sorted((PACKAGE / "csrc").glob("*.c")), Path(__file__).with_name("stress.c")]
    compiled = compile_with(sanitizer, sources, tmp_path / "stress")
    assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run(
        [str(tmp_path / "stress")], capture_output=True, text=True, check=False, timeout=STRESS_SECONDS
    )
    assert (ran.returncode, ran.stdout) == (0, "ok\n"), ran.stderr
