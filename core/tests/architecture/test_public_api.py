"""The public API, name by name with signatures, is what ``public_api.txt`` says: a change of it is a visible
diff.

Run as a program, this file writes ``public_api.txt`` anew. It reads source text and imports nothing, so every
Python version gives the same.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
SNAPSHOT = Path(__file__).with_name("public_api.txt")
UPDATE = "python core/tests/architecture/test_public_api.py"

PUBLIC = (
    "thalweg",
    "thalweg.api",
    "thalweg.hal",
    "thalweg.codegen",
    "thalweg.ir",
    "thalweg.extents",
    "thalweg.dtypes",
    "thalweg.semantics",
)
"""What users and plugins may import; of each package, but ``thalweg`` itself, all modules."""

LONGEST_VALUE = 80
"""A constant's value is shown up to this many characters."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def public_modules(source: Path = SOURCE) -> Iterator[str]:
    """Yield the dotted names of the public modules, in order."""
    for name in PUBLIC:
        yield name
        folder = source.joinpath(*name.split("."))
        if name != "thalweg" and folder.is_dir():
            for path in sorted(folder.rglob("*.py")):
                parts = path.relative_to(source).with_suffix("").parts
                if not any(part.startswith("_") for part in parts):
                    yield ".".join(parts)
            yield from (
                ".".join(path.parent.relative_to(source).parts)
                for path in sorted(folder.rglob("*/__init__.py"))
            )


class Module:
    """One module's source: what it defines, and what it imports from where."""

    def __init__(self, name: str, source: Path):
        base = source.joinpath(*name.split("."))
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        self.name = name
        self.imports: dict[str, str] = {}
        self.exports: list[str] | None = None
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):  # under TYPE_CHECKING too: names that are imported when first used
            if isinstance(node, ast.ImportFrom) and node.module:
                self.imports |= {alias.asname or alias.name: node.module for alias in node.names}
        self.definitions = dict(_definitions(tree.body))
        listed = self.definitions.get("__all__")
        if isinstance(listed, ast.Assign):
            self.exports = sorted(ast.literal_eval(listed.value))

    def names(self) -> list[str]:
        """Return the public names: those of ``__all__``, else those defined here."""
        if self.exports is not None:
            return self.exports
        return sorted(name for name in self.definitions if not name.startswith("_"))


def _definitions(body: list[ast.stmt]) -> Iterator[tuple[str, Definition]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))


def describe(source: Path = SOURCE) -> str:
    """Return the text of the snapshot."""
    modules = sorted(set(public_modules(source)))
    lines: list[str] = []
    for module in modules:
        lines.append(module)
        found = Module(module, source)
        for name in found.names():
            lines += [f"  {line}" for line in _describe_name(found, name, modules, source)]
    return "\n".join(lines) + "\n"


def _describe_name(module: Module, name: str, public: list[str], source: Path) -> list[str]:
    """Describe a name: by its definition, or where it comes from, if that is public as well."""
    if name in module.definitions:
        return list(_describe_definition(name, module.definitions[name]))
    home = module.imports.get(name, "")
    if not home.startswith("thalweg") or home in public:
        return [f"{name} = {home}.{name}"]
    return _describe_name(Module(home, source), name, public, source)


def _describe_definition(name: str, node: Definition) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, (*node.bases, *node.keywords)))
        yield f"{_decorators(node)}class {name}({bases})"
        for member, inner in _definitions(node.body):
            if not member.startswith("_") or member in ("__init__", "__call__"):
                yield from (f"  {line}" for line in _describe_definition(member, inner))
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        yield f"{_decorators(node)}def {name}({ast.unparse(node.args)}){result}"
    else:
        value = ast.unparse(node.value) if node.value else ""
        shown = f" = {value if len(value) <= LONGEST_VALUE else '…'}" if value else ""
        yield f"{name}{': ' + ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ''}{shown}"


def _decorators(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return "".join(f"@{ast.unparse(decorator)} " for decorator in node.decorator_list)


def test_the_public_api_is_as_written_down():
    recorded, found = SNAPSHOT.read_text("utf-8"), describe()
    difference = "\n".join(
        difflib.unified_diff(recorded.splitlines(), found.splitlines(), "recorded", "found", n=1, lineterm="")
    )
    assert found == recorded, (
        f"the public API has changed; if that is meant, `{UPDATE}` writes it down:\n{difference}"
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Sources with one public class, a re-exported private one, and a name for itself."""
    package = tmp_path / "thalweg"
    for folder in ("hal", "codegen", "ir", "semantics"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").write_text("")
    for name in ("__init__", "extents", "dtypes"):
        (package / f"{name}.py").write_text("")
    (package / "errors.py").write_text("class Hidden(Exception):\n    def why(self) -> str: ...\n")
    (package / "api.py").write_text("from thalweg.errors import Hidden\n__all__ = ['Hidden']\n")
    (package / "hal" / "device.py").write_text(
        "SIZE: int = 4\nclass Device:\n    name = ''\n    def run(self, x: int = 3, *, y=None) -> bool: ...\n"
        "    def _own(self): ...\ndef _mine(): ...\n"
    )
    return tmp_path


def test_names_come_with_their_signatures(small: Path):
    text = describe(small)
    assert "thalweg.api\n  class Hidden(Exception)\n    def why(self) -> str\n" in text
    assert text.endswith(
        "thalweg.hal.device\n  class Device()\n    name = ''\n"
        "    def run(self, x: int=3, *, y=None) -> bool\n  SIZE: int = 4\nthalweg.ir\nthalweg.semantics\n"
    )
    assert "_own" not in text and "_mine" not in text


@pytest.mark.parametrize(
    "before, after",
    [
        ("x: int = 3", "x: int = 4"),
        ("def run", "def walk"),
        ("-> bool", "-> int"),
        ("SIZE: int", "SIZE: float"),
    ],
)
def test_a_change_shows(small: Path, before: str, after: str):
    recorded = describe(small)
    path = small / "thalweg" / "hal" / "device.py"
    path.write_text(path.read_text().replace(before, after))
    assert describe(small) != recorded


if __name__ == "__main__":
    SNAPSHOT.write_text(describe(), "utf-8")
    sys.stdout.write(f"wrote {SNAPSHOT}\n")
