"""C for types, literals and extents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from thalweg.api import NotSupported
from thalweg.dtypes import numpy_dtype
from thalweg.extents import Expression, Extent, Operation

C_TYPES = {
    "i1": "uint8_t",
    **{f"i{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": f"uint{bits}_t" for bits in (8, 16, 32, 64)},
    "f32": "float",
    "f64": "double",
}
"""Element type → the C type that holds one. A boolean is 0 or 1."""

_FUNCTIONS = {"//": "floor_divide", "min": "least", "max": "largest"}


def c_type(dtype: str) -> str:
    """Return the C type of an element type.

    :raises NotSupported: naming an element type that there is no code for.
    """
    if dtype not in C_TYPES:
        raise NotSupported(dtype, f"no C is written for element type {dtype}; for: {', '.join(C_TYPES)}")
    return C_TYPES[dtype]


def is_float(dtype: str) -> bool:
    """Return whether an element type is a float's."""
    return dtype in ("f32", "f64")


def convert(dtype: str, text: str) -> str:
    """Return ``text`` rounded or wrapped to an element type."""
    return f"(({text}) & 1)" if dtype == "i1" else f"({c_type(dtype)})({text})"


def signed(dtype: str, text: str) -> str:
    """Return an integer's bits as a signed one; a true boolean is -1."""
    return f"(-(int){text})" if dtype == "i1" else f"(({c_type(dtype).removeprefix('u')}){text})"


def unsigned(dtype: str, text: str) -> str:
    """Return an integer's bits as an unsigned one."""
    return text if dtype == "i1" else f"((u{c_type(dtype).removeprefix('u')}){text})"


def literal(dtype: str, value: float | int | np.generic) -> str:
    """Return a constant of an element type."""
    if not is_float(dtype):
        return f"({c_type(dtype)}){_integer(int(value))}"
    number = float(value)
    if math.isfinite(number):
        return f"({c_type(dtype)}){number.hex()}"
    return "NAN" if math.isnan(number) else f"({'-' if number < 0 else ''}INFINITY)"


def least_value(dtype: str) -> str:
    """Return the least value of an element type: what a window's maximum is padded with."""
    if is_float(dtype):
        return literal(dtype, -math.inf)
    return literal(dtype, 0 if dtype == "i1" else np.iinfo(numpy_dtype(dtype)).min)


def _integer(value: int) -> str:
    bits = value % 2**64
    return f"INT64_C({value})" if -(2**63) < value < 2**63 else f"(int64_t)UINT64_C({bits})"


def extent_text(extent: Extent, dimensions: Mapping[str, str]) -> str:
    """Return an extent; ``dimensions`` gives the C for each named dimension."""
    if isinstance(extent, int):
        return _integer(extent)

    def atom(value: str | Operation) -> str:
        if isinstance(value, str):
            return dimensions[value]
        sides = (extent_text(side, dimensions) for side in (value.left, value.right))
        return f"{_FUNCTIONS[value.operator]}({', '.join(sides)})"

    assert isinstance(extent, Expression)
    terms = ("*".join([_integer(factor), *map(atom, monomial)]) for monomial, factor in extent.terms)
    return f"({' + '.join(terms)})"


def row_major(indices: Sequence[str], extents: Sequence[str]) -> str:
    """Return the number of an element among those of a dense tensor."""
    text = indices[0] if indices else "0"
    for index, extent in zip(indices[1:], extents[1:]):
        text = f"({text})*{extent} + {index}"
    return text
