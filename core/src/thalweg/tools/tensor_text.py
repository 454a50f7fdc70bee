"""Tensors as text, in IREE's syntax: ``2x2xi32=1 2 3 4``, ``2x2xi32=[[1 2][3 4]]``, ``4xf32=0`` (a splat)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from thalweg.dtypes import DTYPES, dtype_name, numpy_dtype
from thalweg.errors import InvalidArgument

_TYPE = re.compile(r"(?P<shape>(?:\d+x)*)(?P<dtype>[a-z]+\d+)")
_TOKEN = re.compile(r"\[|\]|[^\s,\[\]]+")
_TRUTHS = {"true": 1, "false": 0}


@dataclass(frozen=True)
class TensorType:
    """A shape and an element type, as ``2x2xi32``."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def parse(cls, text: str) -> TensorType | None:
        """Return the type that ``text`` spells, or ``None`` if it spells none. ``si32`` is ``i32``."""
        match = _TYPE.fullmatch(text.strip())
        if match is None:
            return None
        dtype = match["dtype"].removeprefix("s") if match["dtype"].startswith("si") else match["dtype"]
        if dtype not in DTYPES:
            return None
        return cls(tuple(int(extent) for extent in match["shape"].split("x")[:-1]), dtype)

    @property
    def count(self) -> int:
        """How many elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes."""
        return self.count * numpy_dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return "x".join([*map(str, self.shape), self.dtype])


def parse_values(text: str, tensor_type: TensorType) -> np.ndarray:
    """Return the tensor of ``tensor_type`` with the elements in ``text``; one element fills it.

    :raises InvalidArgument: an element that is no number of that type, the wrong number of them, or brackets
        that say another shape.
    """
    tokens = _TOKEN.findall(text)
    words = [token for token in tokens if token not in "[]"]
    dtype = numpy_dtype(tensor_type.dtype)
    elements = [_parse_element(word, tensor_type.dtype) for word in words]
    if len(elements) == 1 and tokens == words:
        return np.full(tensor_type.shape, elements[0], dtype)
    if len(elements) != tensor_type.count:
        raise InvalidArgument(f"{tensor_type} has {tensor_type.count} elements; {len(elements)} were given")
    if tokens != words:
        _check_brackets(tokens, tensor_type)
    return np.array(elements, dtype).reshape(tensor_type.shape)


def _parse_element(word: str, dtype: str) -> int | float:
    try:
        if dtype.startswith(("f", "bf")):
            return float(word)
        value = _TRUTHS[word] if dtype == "i1" and word in _TRUTHS else int(word, 0 if "x" in word else 10)
    except ValueError:
        raise InvalidArgument(f"{word!r} is not a value of type {dtype}") from None
    lowest, highest = (0, 1) if dtype == "i1" else _range(dtype)
    if not lowest <= value <= highest:
        raise InvalidArgument(f"{word} does not fit {dtype}, which holds {lowest} to {highest}")
    return value


def _range(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(numpy_dtype(dtype))
    return int(limits.min), int(limits.max)


def _check_brackets(tokens: Sequence[str], tensor_type: TensorType) -> None:
    """Check that brackets nest as the shape does; the outermost may be left out, and a flat list is fine."""
    words = iter([*tokens, "]"])
    tree = _read_list(words)
    if next(words, None) is not None:
        raise InvalidArgument(f"the brackets of a {tensor_type} do not match")
    outer = _shape_of(tree, tensor_type)
    inner = outer[1:] if len(tree) == 1 else outer
    if tensor_type.shape not in (outer, inner) and inner != (tensor_type.count,):
        grouping = "x".join(map(str, inner))
        raise InvalidArgument(f"the brackets of a {tensor_type} group its elements as {grouping}")


def _read_list(words: Iterator[str]) -> list[Any]:
    items: list[Any] = []
    for word in words:
        if word == "]":
            return items
        items.append(_read_list(words) if word == "[" else word)
    raise InvalidArgument("a bracket is opened and not closed")


def _shape_of(tree: Any, tensor_type: TensorType) -> tuple[int, ...]:
    if not isinstance(tree, list):
        return ()
    inner = {_shape_of(item, tensor_type) for item in tree}
    if len(inner) > 1:
        raise InvalidArgument(f"the brackets of a {tensor_type} group its elements unevenly")
    return (len(tree), *(inner.pop() if inner else ()))


def format_tensor(array: np.ndarray, max_elements: int = 1024) -> str:
    """Return ``2x2xi32=[1 2][3 4]``: type, then elements, the outermost brackets left out.

    :param max_elements: after so many elements an ellipsis stands for the rest.
    """
    kind = TensorType(array.shape, dtype_name(array.dtype))
    elements = iter(array.reshape(-1)[:max_elements].tolist())
    text = _format_nested(array.shape, elements, "G" if kind.dtype.startswith(("f", "bf")) else "d")
    if array.ndim and text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return f"{kind}={text}"


def _format_nested(shape: tuple[int, ...], elements: Iterator[Any], code: str) -> str:
    if not shape:
        element = next(elements, None)
        return "..." if element is None else format(element, code)
    parts: list[str] = []
    for _ in range(shape[0]):
        parts.append(_format_nested(shape[1:], elements, code))
        if parts[-1].rstrip("]").endswith("..."):
            break
    return "[" + ("" if len(shape) > 1 else " ").join(parts) + "]"
