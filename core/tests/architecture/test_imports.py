"""The import rules of the design: layers point one way, core names no plugin, plugins use the public API
only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CORE = ROOT / "core" / "src" / "thalweg"

FORBIDDEN = {
    "errors.py": {"*"},
    "extents.py": {"plugin", "module", "hal", "runtime", "ir", "codegen", "compiler", "tools", "semantics"},
    "dtypes.py": {"plugin", "module", "hal", "runtime", "ir", "codegen", "compiler", "tools", "semantics"},
    "plugin": {"hal", "runtime", "ir", "codegen", "compiler", "tools", "semantics", "module"},
    "module": {"hal", "runtime", "ir", "codegen", "compiler", "tools", "parameters"},
    "semantics": {"plugin", "module", "hal", "runtime", "ir", "codegen", "compiler", "tools"},
    "parameters": {"plugin", "hal", "runtime", "ir", "codegen", "compiler", "tools", "semantics"},
    "hal": {"runtime", "ir", "codegen", "compiler", "tools"},
    "runtime": {"ir", "codegen", "compiler", "tools"},
    "ir": {"hal", "runtime", "codegen", "compiler", "tools"},
    "codegen": {"hal", "runtime", "compiler", "tools"},
    "compiler": {"hal", "runtime", "tools"},
}
"""Part of core → parts that it must not import at run time."""

PUBLIC = (
    "thalweg.api",
    "thalweg.dtypes",
    "thalweg.extents",
    "thalweg.semantics",
    "thalweg.hal",
    "thalweg.ir",
    "thalweg.codegen",
)
"""What a plugin may import."""

PLUGIN_MODULES = sorted((ROOT / "plugins").glob("*/src/*")) + sorted((ROOT / "examples").glob("*/src/*"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (module, line) of every import that runs; those under TYPE_CHECKING do not."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            if node.module == "thalweg":
                yield from ((f"thalweg.{alias.name}", node.lineno) for alias in node.names)


def imported_modules(statement: ast.ImportFrom) -> set[str]:
    """Return the modules of core that ``from … import`` names: submodules where there are such, else the
    package.
    """
    assert statement.module
    folder = CORE.joinpath(*statement.module.split(".")[1:])
    return {
        f"{statement.module}.{alias.name}" if (folder / f"{alias.name}.py").exists() else statement.module
        for alias in statement.names
    }


def files(part: Path) -> list[Path]:
    """Return the Python files of a module or package."""
    return [part] if part.is_file() else sorted(part.rglob("*.py"))


@pytest.mark.parametrize("part", FORBIDDEN)
def test_a_layer_of_core_imports_only_layers_below_it(part: str):
    for path in files(CORE / part):
        for module, line in imports(path):
            if not module.startswith("thalweg."):
                continue
            target = module.split(".")[1]
            bad = FORBIDDEN[part]
            assert target not in bad and "*" not in bad, f"{path.relative_to(ROOT)}:{line} imports {module}"


@pytest.mark.parametrize("part", ["plugin", "module", "parameters", "hal", "runtime"])
def test_what_runs_a_module_never_imports_the_compilers_libraries(part: str):
    for path in files(CORE / part):
        for module, line in imports(path):
            assert module.split(".")[0] not in ("xdsl", "llvmlite", "onnx"), f"{path}:{line} imports {module}"


def test_core_imports_no_plugin_and_names_none():
    names = [
        "llvm-cpu",
        "vmvx",
        "local-task",
        "local-sync",
        "input-onnx",
        "thalweg_input_",
        "thalweg_driver_",
    ]
    for path in files(CORE):
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                docstrings.add(id(node.value))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                found = [name for name in names if name in node.value]
                allowed = (
                    path == CORE / "runtime" / "loading.py" and node.value == "local-task"
                )  # load()'s default
                assert not found or allowed, f"{path.relative_to(ROOT)}:{node.lineno} names {found[0]}"


@pytest.mark.parametrize("package", PLUGIN_MODULES, ids=lambda p: p.name)
def test_a_plugin_imports_only_the_public_api(package: Path):
    for path in files(package):
        for module, line in imports(path):
            if module.split(".")[0] != "thalweg" or module == "thalweg":
                continue
            public = any(module == name or module.startswith(name + ".") for name in PUBLIC)
            assert public, f"{path.relative_to(ROOT)}:{line} imports {module}, which is not public"


def test_importing_the_runtime_brings_in_no_compiler():
    code = (
        "import sys, thalweg.runtime, thalweg.hal.command_buffer; "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('xdsl', 'llvmlite', 'onnx') "
        "or m.startswith(('thalweg.ir', 'thalweg.compiler', 'thalweg.codegen'))]; "
        "print(bad); sys.exit(bool(bad))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_import_cycle_between_the_modules_of_core():
    graph = {}
    for path in files(CORE):
        name = ".".join(["thalweg", *path.relative_to(CORE).with_suffix("").parts]).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        top = {id(node) for node in tree.body}
        graph[name] = {
            module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and id(node) in top
            for module in imported_modules(node)
        }
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> None:
        if state.get(name) == 2 or name not in graph:
            return
        assert state.get(name) != 1, f"import cycle: {' -> '.join([*trail, name])}"
        state[name] = 1
        for target in graph[name]:
            if target != name:
                visit(target, [*trail, name])
        state[name] = 2

    for name in graph:
        visit(name, [])
