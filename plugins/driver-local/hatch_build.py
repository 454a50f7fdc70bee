"""Compiles the C library into the package, for wheels and for editable installs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "thalweg_driver_local"
LIBRARY_NAME = "libthalweg_local.so"
PURE_VARIABLE = "THALWEG_LOCAL_PURE"
FLAGS = shlex.split("-std=c11 -O2 -Wall -Wextra -Werror -fPIC -fvisibility=hidden -pthread -shared")


class NativeLibraryHook(BuildHookInterface):
    """Builds ``libthalweg_local.so`` with the system's C compiler (``CC``, else ``cc``).

    Without a compiler, on a platform other than Linux and with ``THALWEG_LOCAL_PURE=1`` the wheel is pure,
    which a warning says: the package runs on its plain Python processor then. A compiler that fails ends
    the build.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile: beside the sources for an editable install, else into a wheel with its platform's tag."""
        root = Path(self.root)
        in_place = root / "src" / PACKAGE / LIBRARY_NAME
        editable = version == "editable"
        if editable:
            in_place.unlink(missing_ok=True)
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
        reason = _reason_for_pure(compiler)
        if reason is not None:
            self.app.display_warning(
                f"thalweg-driver-local: {reason}; built without the native library, for the slow plain Python"
                " processor"
            )
            return
        self._folder = tempfile.TemporaryDirectory()
        library = in_place if editable else Path(self._folder.name) / LIBRARY_NAME
        sources = sorted(map(str, (root / "csrc").glob("*.c")))
        _compile([*compiler, *FLAGS, *sources, "-o", str(library)])
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        if not editable:
            build_data["force_include"][str(library)] = f"{PACKAGE}/{LIBRARY_NAME}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled for the wheel."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def _reason_for_pure(compiler: list[str]) -> str | None:
    """Return why there can be no native library, or ``None``."""
    if os.environ.get(PURE_VARIABLE) == "1":
        return f"{PURE_VARIABLE}=1"
    if not sys.platform.startswith("linux"):
        return f"the native library is for Linux, not {sys.platform}"
    if shutil.which(compiler[0]) is None:
        return f"there is no C compiler {compiler[0]!r} (apt install gcc)"
    return None


def _compile(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"thalweg-driver-local: the C compiler failed:\n{result.stderr}")
