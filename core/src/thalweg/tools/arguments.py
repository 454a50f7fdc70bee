"""What the subcommands share of argument parsing: spelling of long options, one-line errors, comma lists."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

OPTIONAL_VALUE_FLAGS = ("--list-devices", "--dump-devices")
"""Flags whose value is optional and only written with ``=``: a following word is not taken for it."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose usage errors are one line and exit with status 2."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"thalweg: error: {message} (see {self.prog} --help)\n")
        raise SystemExit(2)


def normalize_long_options(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``_`` turned into ``-`` in the names of long options, up to a bare ``--``."""
    normalized: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*normalized, word, *words]
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            if name in OPTIONAL_VALUE_FLAGS:
                equals = "="
            word = name + equals + value
        normalized.append(word)
    return normalized


def required(options: argparse.Namespace, name: str, message: str) -> str:
    """Return the value of the option or argument ``name``; exits with ``message`` if it was left out."""
    value: str | None = getattr(options, name)
    if value is None:
        parser: argparse.ArgumentParser = options.parser
        parser.error(message)
    return value


def comma_list(values: Iterable[str]) -> list[str]:
    """Return the items of a repeatable option that also takes comma lists, each once, in order."""
    items = (item.strip() for value in values for item in value.split(","))
    return list(dict.fromkeys(item for item in items if item))
