"""Canonical JSON out; bounded, typed JSON in, with errors that name the place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from thalweg.errors import InvalidArgument, ModuleFormatError
from thalweg.extents import Extent, parse

T = TypeVar("T")

NAME_LIMIT = 4096
"""The longest name, in characters."""


def canonical_json(value: Any) -> bytes:
    """Return the one encoding of ``value``: ASCII, sorted keys, no spaces.

    :raises InvalidArgument: for what JSON cannot hold (NaN, arrays, objects).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"a module's records hold JSON values only: {error}") from None
    return text.encode("ascii")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_canonical(data: bytes, where: str) -> Field:
    """Parse canonical JSON.

    :param where: what is being read, for messages.
    :raises ModuleFormatError: not JSON, or not in canonical form.
    """
    try:
        value = json.loads(data.decode("ascii"), parse_constant=_refuse_constant)
        canonical = canonical_json(value) == data
    except (ValueError, RecursionError) as error:
        raise ModuleFormatError(f"{where} is not valid JSON: {error}") from None
    if not canonical:
        raise ModuleFormatError(f"{where} is not in canonical form (sorted keys, no spaces)")
    return Field(value, where)


class Field:
    """A value of a parsed document and where it was found. Every reading method checks type and bounds."""

    __slots__ = ("value", "where")

    def __init__(self, value: Any, where: str):
        self.value = value
        self.where = where

    def fail(self, expected: str) -> NoReturn:
        """Raise ``ModuleFormatError`` saying what was expected here and what is there."""
        found = repr(self.value)
        if len(found) > 60:
            found = found[:57] + "..."
        raise ModuleFormatError(f"{self.where}: expected {expected}, found {found}")

    def members(self, *names: str) -> list[Field]:
        """Return the values of an object that has exactly the keys ``names``, in that order."""
        value = self.value
        if type(value) is not dict or len(value) != len(names) or any(name not in value for name in names):
            self.fail(f"an object with the keys {', '.join(names)}")
        return [Field(value[name], f"{self.where}.{name}") for name in names]

    def items(self, limit: int) -> list[Field]:
        """Return the elements of an array of at most ``limit``."""
        if type(self.value) is not list or len(self.value) > limit:
            self.fail(f"an array of at most {limit} elements")
        return [Field(item, f"{self.where}[{index}]") for index, item in enumerate(self.value)]

    def integer(self, high: int, low: int = 0) -> int:
        """Return an integer in [low, high]."""
        if type(self.value) is not int or not low <= self.value <= high:
            self.fail(f"an integer from {low} to {high}")
        return self.value

    def extent(self, high: int) -> Extent:
        """Return an integer in [0, high], or the expression that a string in canonical form holds."""
        if type(self.value) is not str:
            return self.integer(high)
        try:
            extent = parse(self.value)
        except InvalidArgument as error:
            raise ModuleFormatError(f"{self.where}: {error}") from None
        if str(extent) != self.value or isinstance(extent, int):
            self.fail("an expression in canonical form")
        return extent

    def extents(self, high: int, limit: int, length: int | None = None) -> tuple[Extent, ...]:
        """Return an array of extents, at most ``limit`` of them, or exactly ``length``; see ``extent``."""
        if type(self.value) is list and all(type(item) is int for item in self.value):
            return self.integers(high, limit, length)
        items = self.items(limit)
        if length is not None and len(items) != length:
            self.fail(f"an array of {length} extents")
        return tuple(item.extent(high) for item in items)

    def integers(self, high: int, limit: int, length: int | None = None) -> tuple[int, ...]:
        """Return an array of integers in [0, high], at most ``limit`` of them, or exactly ``length``."""
        values = self.value
        if type(values) is not list or len(values) > limit or (length is not None and len(values) != length):
            self.fail(f"an array of {f'at most {limit}' if length is None else length} integers")
        for value in values:
            if type(value) is not int or not 0 <= value <= high:
                self.fail(f"integers from 0 to {high}")
        return tuple(values)

    def text(self, limit: int = NAME_LIMIT) -> str:
        """Return a string of at most ``limit`` characters."""
        if type(self.value) is not str or len(self.value) > limit:
            self.fail(f"a string of at most {limit} characters")
        return self.value

    def texts(self, limit: int) -> tuple[str, ...]:
        """Return an array of at most ``limit`` strings."""
        return tuple(item.text() for item in self.items(limit))

    def boolean(self) -> bool:
        """Return true or false."""
        if type(self.value) is not bool:
            self.fail("true or false")
        return self.value

    def choice(self, table: Mapping[str, T]) -> T:
        """Return the entry of ``table`` that a string names."""
        if type(self.value) is not str or self.value not in table:
            self.fail(f"one of {', '.join(table)}")
        return table[self.value]

    def record(self) -> dict[str, Any]:
        """Return a free JSON object (a predicate, statistics) as it is."""
        if type(self.value) is not dict:
            self.fail("an object")
        return self.value
