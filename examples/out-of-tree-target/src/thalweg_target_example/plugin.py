"""The hooks. Cheap: listing plugins imports no compiler; ``create`` does."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thalweg.api import Availability, ExecutableLoaderSpec, TargetBackendSpec, hookimpl

if TYPE_CHECKING:
    from thalweg.codegen.target import TargetBackend
    from thalweg.hal.executable import ExecutableLoader

NAME = "example"
FORMAT = "thalweg-example-1"
"""The executable format that the backend writes and the loader reads; a changed one takes the next number."""

API_VERSION = (1, 0)
"""The plugin API that this package is written for: a number, not ``thalweg.api.API_VERSION``."""


@dataclass(frozen=True)
class ExampleOptions:
    """The options of the target backend; each field becomes an option of ``thalweg compile``."""

    c_compiler: str = field(
        default="cc", metadata={"flag": "--example-cc", "help": "the C compiler to run (default: cc)"}
    )


def _create_backend(options: ExampleOptions) -> TargetBackend:
    from thalweg_target_example.backend import ExampleBackend  # needs thalweg[compiler]

    return ExampleBackend(options.c_compiler)


def _create_loader() -> ExecutableLoader:
    from thalweg_target_example.loader import SharedObjectLoader  # what listing plugins does not need

    return SharedObjectLoader()


def _probe() -> Availability:
    if shutil.which("cc") is None:
        return Availability(False, "no C compiler: 'cc' is not on the path")
    return Availability(True)


def _identity() -> str:
    """Return what else shapes the code: the compile cache keeps apart what two C compilers made."""
    if not _probe().available:
        return ""
    return subprocess.run(["cc", "--version"], capture_output=True, text=True).stdout


@hookimpl
def thalweg_target_backend(name: str) -> TargetBackendSpec | None:
    """Describe the target backend."""
    if name != NAME:
        return None
    return TargetBackendSpec(
        name=name,
        summary="C, compiled by the system's compiler, for this machine",
        api_version=API_VERSION,
        options=ExampleOptions,
        probe=_probe,
        identity=_identity,
        create=_create_backend,
    )


@hookimpl
def thalweg_executable_loader(name: str) -> ExecutableLoaderSpec | None:
    """Describe the loader that local devices take for the backend's executables."""
    if name != NAME:
        return None
    return ExecutableLoaderSpec(
        name=name,
        summary=f"loads {FORMAT}",
        api_version=API_VERSION,
        formats=(FORMAT,),
        create=_create_loader,
    )
