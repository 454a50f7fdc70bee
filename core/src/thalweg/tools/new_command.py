"""``thalweg new``: write a package to start a plugin from.

The templates are working packages, those of ``examples/`` under the name ``example``: ``thalweg/templates``
holds links to them, which wheels carry as files. Rendering one puts the new name in the place of that word.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import importlib_metadata

from thalweg.errors import InvalidArgument
from thalweg.plugin.entry_points import KINDS
from thalweg.plugin.registry import Registry

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 40

SUFFIXES = (".py", ".toml", ".md", ".h")
"""The files of a template; caches and what was built beside them are left."""
LEFT_OUT = ("__pycache__", "build", "dist")


@dataclass(frozen=True)
class Template:
    """What can be rendered. ``groups`` are those that the package registers its name in."""

    stem: str
    summary: str
    groups: tuple[str, ...]
    next_steps: tuple[str, ...]


TEMPLATES: dict[str, Template] = {
    "target": Template(
        stem="thalweg-target",
        summary="a target backend, with the loader of its executables",
        groups=("thalweg.target_backends", "thalweg.executable_loaders"),
        next_steps=("thalweg compile MODEL -o OUT.twm --target-backend {name}",),
    ),
    "driver": Template(
        stem="thalweg-driver",
        summary="a HAL driver",
        groups=("thalweg.hal_drivers", "thalweg.conformance_profiles"),
        next_steps=("thalweg-conformance run --driver {name}",),
    ),
}
"""Folder of ``thalweg/templates`` → the template there."""


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the arguments of ``thalweg new``."""
    kinds = "; ".join(f"{kind}: {template.summary}" for kind, template in TEMPLATES.items())
    parser.add_argument("kind", choices=TEMPLATES, metavar="KIND", help=kinds)
    parser.add_argument("name", metavar="NAME", help="what users will type to name the plugin, as my-card")
    parser.add_argument(
        "--directory",
        metavar="DIR",
        default=".",
        help="where to make the package's folder (default: the current one)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the package and say what to do next."""
    template = TEMPLATES[options.kind]
    folder = Path(options.directory, f"{template.stem}-{options.name}")
    check_name(options.kind, options.name, Registry.from_environment())
    write_package(render(options.kind, options.name), folder)
    print(f"{folder} holds {template.summary}; README.md says what to change. Next:")
    for step in (f"pip install -e {folder}", *template.next_steps):
        print(f"  {step.format(name=options.name)}")
    return 0


def check_name(kind: str, name: str, registry: Registry) -> None:
    """Refuse a name that no plugin can have or that one has.

    :raises InvalidArgument: saying which, and who has it.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise InvalidArgument(
            f"{name!r} cannot be the name of a plugin; write at most {LONGEST_NAME} lower-case letters,"
            " digits and single hyphens between them, the first a letter, as in 'my-card'"
        )
    template = TEMPLATES[kind]
    for group in template.groups:
        owners = [claim.provider for claim in registry.claims(group, name)]
        for owner in (*owners, registry.known.distribution(group, name)):
            if owner is not None:
                raise InvalidArgument(f"the name {name!r} is taken: it is the {KINDS[group]} of {owner}")
    distribution = f"{template.stem}-{name}"
    known = {plugin.distribution for plugin in registry.known.plugins}
    if distribution in known or any(importlib_metadata.distributions(name=distribution)):
        raise InvalidArgument(f"the name {name!r} is taken: there is a distribution named {distribution}")


def render(kind: str, name: str) -> dict[str, str]:
    """Return path → text of each file of the package."""
    words = name.split("-")
    replacements = {
        "Example": "".join(word.capitalize() for word in words),
        "_example": "_" + "_".join(words),
        "example": name,
    }
    pattern = re.compile("|".join(replacements))

    def renamed(text: str) -> str:
        return pattern.sub(lambda match: replacements[match[0]], text)

    root = files("thalweg").joinpath("templates", kind)
    return {renamed(path): renamed(file.read_text("utf-8")) for path, file in _template_files(root)}


def _template_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.name.startswith(".") or item.name in LEFT_OUT:
            continue
        path = prefix + item.name
        if item.is_dir():
            yield from _template_files(item, f"{path}/")
        elif item.name.endswith(SUFFIXES):
            yield path, item


def write_package(contents: dict[str, str], folder: Path) -> None:
    """Write files to a new folder, all or nothing.

    :raises InvalidArgument: the folder is there already, or the one to hold it is not.
    """
    if folder.exists() or folder.is_symlink():
        raise InvalidArgument(
            f"{folder} is there already; move it away or choose another name or --directory"
        )
    if not folder.parent.is_dir():
        raise InvalidArgument(f"no such folder: {folder.parent}")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    unfinished.mkdir()
    try:
        for path, text in contents.items():
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
