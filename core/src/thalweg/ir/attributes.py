"""Attributes as plain Python values."""

from __future__ import annotations

from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, IntegerType
from xdsl.ir import Attribute

from thalweg.errors import InvalidArgument


def ints(attribute: Attribute | None) -> tuple[int, ...]:
    """Return the elements of an ``array<i64: …>``.

    :raises InvalidArgument: it is no array of integers.
    """
    if not isinstance(attribute, DenseArrayBase) or not isinstance(attribute.elt_type, IntegerType):
        raise InvalidArgument(f"an array of integers was expected; found {attribute}")
    return tuple(int(value) for value in attribute.elt_type.unpack(attribute.data.data, len(attribute)))


def number(attribute: Attribute) -> int | float:
    """Return the value of an integer or float attribute.

    :raises InvalidArgument: it is neither.
    """
    if isinstance(attribute, IntegerAttr | FloatAttr):
        return attribute.value.data
    raise InvalidArgument(f"an integer or a float was expected; found {attribute}")
