"""Attributes as plain Python values."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    i64,
)
from xdsl.ir import Attribute

from thalweg.errors import InvalidArgument
from thalweg.extents import Extent, is_static, parse, static


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


def i64_array(values: Sequence[int]) -> DenseArrayBase[IntegerType]:
    """Return ``array<i64: …>``."""
    return DenseArrayBase.from_list(i64, [int(v) for v in values])


def extents_attribute(extents: Sequence[Extent]) -> DenseArrayBase | ArrayAttr:
    """Return ``array<i64: …>``, or an array of texts (``["1", "tokens"]``) where an extent is an
    expression.
    """
    if is_static(extents):
        return i64_array(static(extents))
    return ArrayAttr([StringAttr(str(extent)) for extent in extents])


def read_extents(attribute: Attribute | None) -> tuple[Extent, ...]:
    """Return what ``extents_attribute`` wrote.

    :raises InvalidArgument: it is neither form.
    """
    if not isinstance(attribute, ArrayAttr):
        return ints(attribute)
    texts = [item for item in attribute.data if isinstance(item, StringAttr)]
    if len(texts) != len(attribute.data):
        raise InvalidArgument(f"an array of extents was expected; found {attribute}")
    return tuple(parse(item.data) for item in texts)
