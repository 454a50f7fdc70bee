"""Runs the system's C compiler."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from thalweg.api import CompileError
from thalweg.hal.kernel_abi import header_directory

OPTIONS = (
    "-std=c11",
    "-O2",
    "-shared",
    "-fPIC",
    "-s",
    "-fwrapv",  # integers wrap
    "-fno-math-errno",
    "-ffp-contract=off",  # a * b + c is rounded twice, as the IR says
)


def compile_shared_object(c_compiler: str, sources: Sequence[str]) -> bytes:
    """Compile C files to one shared object.

    :raises CompileError: the compiler is not there, or refuses a file; with its first error.
    """
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
        names = [f"kernel_{i}.c" for i in range(len(sources))]
        for name, text in zip(names, sources):
            Path(folder, name).write_text(text, "utf-8")
        Path(folder, "main.c").write_text("typedef int empty;\n", "utf-8")  # there may be no kernel
        command = [
            c_compiler,
            *OPTIONS,
            f"-I{header_directory()}",
            "main.c",
            *names,
            "-o",
            "kernels.so",
            "-lm",
        ]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except OSError as error:
            raise CompileError(f"the C compiler {c_compiler!r} cannot be run: {error.strerror}") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
            raise CompileError(f"the C compiler {c_compiler!r} failed: {lines[0]}")
        return Path(folder, "kernels.so").read_bytes()
