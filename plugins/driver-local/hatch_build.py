"""Compiles the C library into the package, for wheels and for editable installs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "src/thalweg_driver_local/libthalweg_local.so"
FLAGS = [
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-fvisibility=hidden",
    "-pthread",
    "-shared",
]
PURE_VARIABLE = "THALWEG_LOCAL_PURE"


class NativeLibraryHook(BuildHookInterface):
    """Builds ``libthalweg_local.so`` with the system's C compiler (``CC``, else ``cc``).

    ``THALWEG_LOCAL_PURE=1`` leaves it out, and so does a platform other than Linux: the package then runs on its
    plain Python processor.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tag the wheel with the platform."""
        library = Path(self.root) / LIBRARY
        library.unlink(missing_ok=True)
        if os.environ.get(PURE_VARIABLE) == "1" or not sys.platform.startswith("linux"):
            self.app.display_warning("thalweg-driver-local: built without its native library")
            return
        sources = sorted((Path(self.root) / "csrc").glob("*.c"))
        self._compile([*map(str, sources), "-o", str(library)])
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append(LIBRARY)

    def _compile(self, arguments: list[str]) -> None:
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if shutil.which(compiler[0]) is None:
            raise SystemExit(
                f"thalweg-driver-local needs a C compiler and {compiler[0]!r} is not there; install one"
                f" (apt install gcc) or set {PURE_VARIABLE}=1 for the slow plain Python processor"
            )
        result = subprocess.run([*compiler, *FLAGS, *arguments], capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"thalweg-driver-local: the C compiler failed:\n{result.stderr}")
