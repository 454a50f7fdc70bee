"""Scalar expressions: the bodies of elementwise ops, written with Python's operators.

A ``Scalar`` wraps one SSA value of a ``linalg.generic`` body; operators pick the float, signed or unsigned
op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thalweg.dtypes import numpy_dtype
from thalweg.extents import Expression, Extent
from thalweg.ir import ScalarBuilder

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.tensor import FLOATS

Number = float | int | bool | Expression
"""What a scalar is combined with; an extent is an integer."""


class Scalar:
    """One scalar of element type ``dtype`` in the body that ``builder`` writes."""

    def __init__(self, builder: ScalarBuilder, value: Any, dtype: str):
        self.builder = builder
        self.value = value
        self.dtype = dtype

    # -- making scalars --------------------------------------------------------------------------------------

    def like(self, other: Scalar | Number) -> Scalar:
        """Return ``other`` as a scalar of this dtype (a number becomes a constant)."""
        if isinstance(other, Expression):
            return self.extent(other)
        return other if isinstance(other, Scalar) else constant(self.builder, other, self.dtype)

    def extent(self, extent: Extent) -> Scalar:
        """Return an extent as a scalar of this dtype."""
        return Scalar(self.builder, self.builder.extent(extent), "i64").cast(self.dtype)

    def _new(self, value: Any, dtype: str | None = None) -> Scalar:
        return Scalar(self.builder, value, dtype or self.dtype)

    def _binary(self, other: Scalar | Number, float_op: str, int_op: str) -> Scalar:
        name = float_op if self.is_float else int_op
        return self._new(getattr(self.builder, name)(self.value, self.like(other).value))

    def _unary(self, name: str) -> Scalar:
        return self._new(getattr(self.builder, name)(self.value))

    @property
    def is_float(self) -> bool:
        """Whether this is a floating-point number."""
        return self.dtype in FLOATS

    @property
    def is_unsigned(self) -> bool:
        """Whether this is an unsigned integer."""
        return self.dtype.startswith("ui")

    @property
    def bits(self) -> int:
        """The width in bits."""
        return int(self.dtype.lstrip("uibf"))

    # -- arithmetic ------------------------------------------------------------------------------------------

    def __add__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, "addf", "addi")

    def __radd__(self, other: Number) -> Scalar:
        return self.like(other) + self

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, "subf", "subi")

    def __rsub__(self, other: Number) -> Scalar:
        return self.like(other) - self

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return self._binary(other, "mulf", "muli")

    def __rmul__(self, other: Number) -> Scalar:
        return self.like(other) * self

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        """Divide; integers truncate toward zero."""
        return (
            self._integer_division("divsi", other)
            if self.is_unsigned
            else self._binary(other, "divf", "divsi")
        )

    def __rtruediv__(self, other: Number) -> Scalar:
        return self.like(other) / self

    def remainder(self, other: Scalar | Number) -> Scalar:
        """The integer remainder, with the sign of the dividend."""
        return self._integer_division("remsi", other)

    def _integer_division(self, name: str, other: Scalar | Number) -> Scalar:
        other = self.like(other)
        if not self.is_unsigned:
            return self._new(getattr(self.builder, name)(self.value, other.value))
        if self.bits == 64:
            raise UnsupportedForm("division of uint64", "cast to int64 first")
        wide = getattr(self.builder, name)(self.cast("i64").value, other.cast("i64").value)
        return self._new(wide, "i64").cast(self.dtype)

    def __neg__(self) -> Scalar:
        return self._unary("negf") if self.is_float else self.like(0) - self

    def __abs__(self) -> Scalar:
        if self.is_unsigned or self.dtype == "i1":
            return self
        return self._unary("absf" if self.is_float else "absi")

    def power(self, other: Scalar | Number) -> Scalar:
        """``self`` to the power ``other``, both floats."""
        return self._new(self.builder.powf(self.value, self.like(other).value))

    # -- functions of floats ---------------------------------------------------------------------------------

    def exp(self) -> Scalar:
        """e to this power."""
        return self._unary("exp")

    def log(self) -> Scalar:
        """The natural logarithm."""
        return self._unary("log")

    def tanh(self) -> Scalar:
        """The hyperbolic tangent."""
        return self._unary("tanh")

    def erf(self) -> Scalar:
        """The error function."""
        return self._unary("erf")

    def sqrt(self) -> Scalar:
        """The square root."""
        return self._unary("sqrt")

    def sin(self) -> Scalar:
        """The sine of an angle in radians."""
        return self._unary("sin")

    def cos(self) -> Scalar:
        """The cosine of an angle in radians."""
        return self._unary("cos")

    def floor(self) -> Scalar:
        """The greatest whole number not above this."""
        return self._unary("floor")

    def ceil(self) -> Scalar:
        """The least whole number not below this."""
        return self._unary("ceil")

    def round_even(self) -> Scalar:
        """The nearest whole number, ties to even."""
        return self._unary("roundeven")

    # -- comparison, choice and logic ------------------------------------------------------------------------

    def _compare(self, other: Scalar | Number, float_predicate: str, predicate: str) -> Scalar:
        other = self.like(other)
        if self.is_float:
            return self._new(self.builder.cmpf(float_predicate, self.value, other.value), "i1")
        if predicate not in ("eq", "ne"):
            predicate = ("u" if self.is_unsigned or self.dtype == "i1" else "s") + predicate
        return self._new(self.builder.cmpi(predicate, self.value, other.value), "i1")

    def __lt__(self, other: Scalar | Number) -> Scalar:
        return self._compare(other, "olt", "lt")

    def __le__(self, other: Scalar | Number) -> Scalar:
        return self._compare(other, "ole", "le")

    def __gt__(self, other: Scalar | Number) -> Scalar:
        return self._compare(other, "ogt", "gt")

    def __ge__(self, other: Scalar | Number) -> Scalar:
        return self._compare(other, "oge", "ge")

    def equal(self, other: Scalar | Number) -> Scalar:
        """``self == other``; false where either is NaN."""
        return self._compare(other, "oeq", "eq")

    def not_equal(self, other: Scalar | Number) -> Scalar:
        """``self != other``; true where either is NaN."""
        return self._compare(other, "une", "ne")

    def is_nan(self) -> Scalar:
        """Whether this float is NaN."""
        return self.not_equal(self)

    def maximum(self, other: Scalar | Number) -> Scalar:
        """The larger; NaN where either is NaN."""
        other = self.like(other)
        if self.is_unsigned or self.dtype == "i1":
            return (self > other).where(self, other)
        return self._binary(other, "maximumf", "maxsi")

    def minimum(self, other: Scalar | Number) -> Scalar:
        """The smaller; NaN where either is NaN."""
        other = self.like(other)
        if self.is_unsigned or self.dtype == "i1":
            return (self < other).where(self, other)
        return self._binary(other, "minimumf", "minsi")

    def where(self, then: Scalar, otherwise: Scalar | Number) -> Scalar:
        """``then`` where this (i1) is true, else ``otherwise``."""
        chosen = self.builder.select(self.value, then.value, then.like(otherwise).value)
        return self._new(chosen, then.dtype)

    def __and__(self, other: Scalar) -> Scalar:
        return self._new(self.builder.andi(self.value, other.value))

    def __or__(self, other: Scalar) -> Scalar:
        return self._new(self.builder.ori(self.value, other.value))

    def __xor__(self, other: Scalar) -> Scalar:
        return self._new(self.builder.xori(self.value, other.value))

    def __invert__(self) -> Scalar:
        ones = 1 if self.dtype == "i1" else -1
        return self ^ self.like(ones)

    # -- conversion ------------------------------------------------------------------------------------------

    def cast(self, dtype: str) -> Scalar:
        """Convert as C does: floats to integers truncate, anything to ``i1`` is ``!= 0``."""
        if dtype == self.dtype:
            return self
        if dtype == "i1":
            return self.not_equal(0)
        if self.is_float:
            return self._float_to_float(dtype) if dtype in FLOATS else self._float_to_integer(dtype)
        if dtype in FLOATS:
            return self._integer_to_float(dtype)
        return self._integer_to_integer(dtype)

    def _convert(self, name: str, dtype: str) -> Scalar:
        return self._new(getattr(self.builder, name)(self.value, dtype), dtype)

    def _float_to_float(self, dtype: str) -> Scalar:
        bits = numpy_dtype(dtype).itemsize * 8
        if bits == self.bits:
            return self._convert("extf", "f32").cast(dtype)
        return self._convert("extf" if bits > self.bits else "truncf", dtype)

    def _float_to_integer(self, dtype: str) -> Scalar:
        source = self.cast("f32") if self.bits == 16 else self
        if dtype in ("i32", "i64"):
            return source._convert("fptosi", dtype)
        if dtype == "ui64":
            return source._convert("fptoui", dtype)
        return source._convert("fptosi", "i64" if dtype == "ui32" else "i32").cast(dtype)

    def _integer_to_float(self, dtype: str) -> Scalar:
        source = self._convert(
            "uitofp" if self.is_unsigned or self.dtype == "i1" else "sitofp", _wide_float(dtype)
        )
        return source.cast(dtype)

    def _integer_to_integer(self, dtype: str) -> Scalar:
        bits = numpy_dtype(dtype).itemsize * 8
        unsigned = self.is_unsigned or self.dtype == "i1"
        if bits == self.bits:
            if bits == 64:
                raise UnsupportedForm(
                    f"a cast from {self.dtype} to {dtype}", "cast through a narrower integer or f64"
                )
            return self._convert("extui" if unsigned else "extsi", "i64").cast(dtype)
        if bits > self.bits:
            return self._convert("extui" if unsigned else "extsi", dtype)
        return self._convert("trunci", dtype)


def _wide_float(dtype: str) -> str:
    return "f32" if dtype in ("f16", "bf16") else dtype


def constant(builder: ScalarBuilder, number: float | int | bool, dtype: str) -> Scalar:
    """Return a constant. Unsigned ones are made of signless ones: ``arith.constant`` takes no unsigned
    scalar.
    """
    if not dtype.startswith("ui"):
        return Scalar(builder, builder.constant(number, dtype), dtype)
    if dtype == "ui64":
        if not 0 <= int(number) < 2**31:
            raise UnsupportedForm(f"the uint64 constant {number}", "cast to another integer type first")
        return Scalar(builder, builder.constant(int(number), "i32"), "i32")._convert("extui", "ui64")
    return Scalar(builder, builder.constant(int(number), "i64"), "i64").cast(dtype)


Body = Callable[..., Scalar]
"""(one ``Scalar`` per operand …) → the result's ``Scalar``."""
