"""The bytecode's records and opcode tables: what ``encoding`` reads and writes and ``machine`` runs.

A function is straight-line: registers are numbered as they are made, operands first, and are written once.
Extents may be expressions of the function's dimensions, whose values are its push constants; a function runs
once ``specialization`` has made them numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from thalweg.dtypes import numpy_dtype
from thalweg.extents import Extent
from thalweg.semantics import GenericForm

DTYPE_CODES = ("i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64", "f16", "bf16", "f32", "f64")
"""Element types by code. The order of this and of the tables below is part of the format: append only."""

SCALAR_CODES = (
    "constant", "index", "addf", "subf", "mulf", "divf", "maximumf", "minimumf", "powf", "exp", "log", "tanh",
    "erf", "sqrt", "rsqrt", "absf", "ceil", "floor", "roundeven", "sin", "cos", "negf", "addi", "subi",
    "muli", "divsi", "remsi", "maxsi", "minsi", "andi", "ori", "xori", "absi", "cmpf", "cmpi", "select",
    "sitofp", "uitofp", "fptosi", "fptoui", "extf", "truncf", "extsi", "extui", "trunci", "extent",
)  # fmt: skip
"""Steps of a generic instruction's body, by code."""

_WINDOW = (("strides", "ints"), ("dilations", "ints"), ("pads_low", "ints"), ("pads_high", "ints"))

STRUCTURED_CODES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("matmul", ()),
    ("conv", (*_WINDOW, ("groups", "int"))),
    ("reduce_window", (("kind", "text"), ("window", "ints"), *_WINDOW)),
    ("softmax", (("axis", "int"),)),
    ("layer_norm", (("axis", "int"), ("epsilon", "number"))),
    ("gather", (("axis", "int"),)),
    ("concat", (("axis", "int"),)),
    ("slice", (("offsets", "extents"), ("strides", "ints"))),
    ("pad", (("low", "ints"), ("high", "ints"), ("value", "number"))),
    ("reshape", ()),
)
"""Structured ops by code, each with its parameters in order and their kinds."""


@dataclass(frozen=True)
class TensorType:
    """The type of a register."""

    dtype: str
    shape: tuple[Extent, ...]

    def __str__(self) -> str:
        return "x".join([*map(str, self.shape), self.dtype])

    @property
    def size(self) -> Extent:
        """Bytes of a dense row-major array of this type."""
        return prod(self.shape) * numpy_dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Constant:
    """Makes one register: a constant array."""

    array: np.ndarray


@dataclass(frozen=True, eq=False)
class Splat:
    """Makes one register: ``element`` [], repeated; the result's shape has an expression."""

    element: np.ndarray
    result: TensorType


@dataclass(frozen=True)
class Structured:
    """Makes one register: the ``tw`` op ``name`` of ``operands``."""

    name: str
    operands: tuple[int, ...]
    parameters: Mapping[str, int | float | str | tuple[Extent, ...]]
    result: TensorType


@dataclass(frozen=True)
class Generic:
    """Makes a register per output; ``initial[i]`` has what output i held before, if the body reads it."""

    form: GenericForm
    inputs: tuple[int, ...]
    initial: tuple[int | None, ...]

    @property
    def operands(self) -> tuple[int, ...]:
        """Every register it reads."""
        return (*self.inputs, *(register for register in self.initial if register is not None))


Instruction = Constant | Splat | Structured | Generic


@dataclass(frozen=True)
class Function:
    """One kernel. Its bindings are ``operands``, then ``results``, copied from the registers ``returned``;
    its push constants are the values of ``dimensions``, in their order.
    """

    name: str
    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    instructions: tuple[Instruction, ...]
    returned: tuple[int, ...]
    dimensions: tuple[str, ...] = ()
