"""Set up ``.venv`` with every package of the workspace: what ``make venv`` runs. Standard library only.

Does nothing when the environment is as the project files ask. What the machine lacks is said in one line.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "workspace.sha256"
PACKAGES = (
    "core[compiler]",
    "plugins/driver-local",
    "plugins/input-onnx",
    "plugins/target-llvm-cpu",
    "plugins/target-vmvx",
    "conformance",
    "benchmarks[peers]",
)
DEVELOPMENT = (
    "pytest>=8",
    "pytest-xdist>=3.5",
    "hypothesis>=6",
    "ruff>=0.8",
    "pyright>=1.1.390",
    "mpmath>=1.3",
    "uv>=0.5",
    "hatchling>=1.27",
)


def lacking() -> str:
    """Return one line that says what this machine lacks, or nothing."""
    if sys.version_info < (3, 11):  # noqa: UP036  (this script runs on any Python that is there)
        found = sys.version.split()[0]
        return f"Thalweg needs Python 3.11 or newer; this is {found} (Debian: apt-get install python3)"
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        return "Python's venv module is missing (Debian: apt-get install python3-venv)"
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        return "a C compiler is missing (Debian: apt-get install gcc libc6-dev)"
    return ""


def wanted() -> str:
    """Return a digest of what the environment is made from."""
    files = [
        ROOT / "scripts/bootstrap.py",
        *sorted(ROOT.glob("*/pyproject.toml")),
        *sorted(ROOT.glob("plugins/*/pyproject.toml")),
    ]
    files += sorted((ROOT / "plugins/driver-local").glob("csrc/*"))
    digest = hashlib.sha256(sys.version.encode() + str(ROOT).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Check the machine, make the environment, install the workspace into it."""
    problem = lacking()
    if problem:
        sys.exit(f"bootstrap: {problem}")
    state = wanted()
    if STAMP.exists() and STAMP.read_text() == state:
        return
    print("setting up .venv (a minute or two, once) ...", flush=True)
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    editable = [word for package in PACKAGES for word in ("-e", str(ROOT / package))]
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *editable,
        *DEVELOPMENT,
    ]
    if subprocess.run(command).returncode:
        sys.exit("bootstrap: pip could not install the workspace; its message stands above")
    STAMP.write_text(state)


if __name__ == "__main__":
    main()
