"""``thalweg new``: what it writes, and what it refuses without writing anything."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from thalweg.tools import new_command
from thalweg.tools.new_command import TEMPLATES, render

ROOT = Path(__file__).parents[3]
KINDS = sorted(TEMPLATES)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def files_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_writes_a_package_and_says_what_is_next(thalweg, here: Path, kind: str):
    outcome = thalweg("new", kind, "my-card")
    assert (outcome.status, outcome.err) == (0, "")
    package = f"thalweg-{kind}-my-card"
    assert [path.name for path in here.iterdir()] == [package]
    assert outcome.out.startswith(f"{package} holds a ")
    assert f"pip install -e {package}\n" in outcome.out
    written = files_in(here / package)
    assert written == render(kind, "my-card")
    project = tomllib.loads(written["pyproject.toml"])["project"]
    assert project["name"] == package
    module = f"thalweg_{kind}_my_card"
    entry_points = {group: dict(names) for group, names in project["entry-points"].items()}
    assert entry_points == {group: {"my-card": f"{module}.plugin"} for group in TEMPLATES[kind].groups}
    assert f"src/{module}/plugin.py" in written and "README.md" in written
    assert any(path.startswith("tests/test_") for path in written)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x", "my-other-card2"])
def test_nothing_keeps_the_template_s_name(kind: str, name: str):
    for path, text in render(kind, name).items():
        assert "example" not in (path + text).lower(), path
        if path.endswith(".py"):
            ast.parse(text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_template_is_the_example(kind: str):
    folder = ROOT / "examples" / f"out-of-tree-{kind}"
    rendered = render(kind, "example")
    assert {path: (folder / path).read_text() for path in rendered} == rendered
    source = {str(path.relative_to(folder)) for path in (folder / "src").rglob("*.py")}
    assert source <= set(rendered)


def test_goes_where_it_is_told(thalweg, here: Path):
    (here / "work").mkdir()
    assert thalweg("new", "driver", "mine", "--directory", "work").status == 0
    assert [path.name for path in (here / "work").iterdir()] == ["thalweg-driver-mine"]


@pytest.mark.parametrize(
    "name", ["My-Card", "my_card", "1card", "-card", "card-", "my--card", "größe", "a/b", "..", "", "a" * 41]
)
def test_refuses_what_no_plugin_can_be_called(thalweg, here: Path, name: str):
    outcome = thalweg("new", "driver", "--", name)
    assert outcome.status != 0
    assert outcome.err == (
        f"thalweg: error: {name!r} cannot be the name of a plugin; write at most 40 lower-case letters,"
        " digits and single hyphens between them, the first a letter, as in 'my-card'\n"
    )
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "words, reason",
    [
        (("target", "doubling"), "it is the target backend of module doubling_plugin of THALWEG_PLUGINS"),
        (("driver", "vulkan"), "it is the HAL driver of thalweg-driver-vulkan"),
        (("driver", "local"), "there is a distribution named thalweg-driver-local"),
    ],
)
def test_refuses_a_name_that_is_taken(thalweg, plugins, here: Path, words: tuple[str, str], reason: str):
    plugins("doubling_plugin")
    outcome = thalweg("new", *words)
    assert outcome.status == 1
    assert outcome.err == f"thalweg: error: the name {words[1]!r} is taken: {reason}\n"
    assert list(here.iterdir()) == []


def test_refuses_the_name_of_an_installed_distribution(thalweg, here, tmp_path, monkeypatch):
    info = tmp_path / "site" / "thalweg_driver_mine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thalweg-driver-mine\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [str(info.parent), *sys.path])
    outcome = thalweg("new", "driver", "mine")
    assert outcome.status == 1
    assert outcome.err.endswith("is taken: there is a distribution named thalweg-driver-mine\n")


def test_leaves_what_is_there(thalweg, here: Path):
    (here / "thalweg-driver-mine").mkdir()
    outcome = thalweg("new", "driver", "mine")
    assert outcome.status == 1
    assert outcome.err == (
        "thalweg: error: thalweg-driver-mine is there already; move it away or choose another name or"
        " --directory\n"
    )
    assert files_in(here) == {}


def test_needs_the_folder_to_write_to(thalweg, here: Path):
    outcome = thalweg("new", "driver", "mine", "--directory", "nowhere")
    assert (outcome.status, outcome.err) == (1, "thalweg: error: no such folder: nowhere\n")


def test_leaves_nothing_half_written(thalweg, here: Path, monkeypatch):
    def render_badly(kind: str, name: str) -> dict[str, str]:
        return {**render(kind, name), "pyproject.toml/inside": "a file is no folder"}

    monkeypatch.setattr(new_command, "render", render_badly)
    outcome = thalweg("new", "driver", "mine")
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1 and "pyproject.toml" in outcome.err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("words, message", [([], "required: KIND, NAME"), (["plugin", "x"], "'plugin'")])
def test_wrong_usage_is_one_line(thalweg, here: Path, words: list[str], message: str):
    outcome = thalweg("new", *words)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1 and message in outcome.err
