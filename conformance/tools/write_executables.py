"""Write the executables that ship with the suite: ``python conformance/tools/write_executables.py``.

Run it when a portable format or the suite's kernels change; a test compares what ships with what would be
written.
"""

from pathlib import Path

from thalweg.api import Registry
from thalweg_conformance.compiled_kernels import compile_library, write_library

PORTABLE_TARGETS = ("vmvx",)
FOLDER = Path(__file__).parents[1] / "src" / "thalweg_conformance" / "executables"

if __name__ == "__main__":
    registry = Registry.from_environment()
    for target in PORTABLE_TARGETS:
        write_library(compile_library(registry, target), FOLDER)
