"""A writer of straight-line LLVM IR on vectors, with Python's operators, so that formulas read as formulas.

Operands are ``Lanes``: floats, integers of the same width, or masks. A Python number beside one becomes a
splat.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a lane holds."""

    FLOAT = "float"
    INTEGER = "integer"
    MASK = "mask"


@dataclass(frozen=True)
class Element:
    """A float format: LLVM's names, its widths, and the exponent's place and bias."""

    name: str
    float_type: str
    integer_type: str
    mantissa_bits: int
    bias: int

    @property
    def bits(self) -> int:
        """Width in bits."""
        return int(self.integer_type[1:])

    @property
    def sign_bit(self) -> int:
        """The sign's mask."""
        return 1 << (self.bits - 1)

    @property
    def mantissa_mask(self) -> int:
        """The mantissa's mask."""
        return (1 << self.mantissa_bits) - 1

    @property
    def rounder(self) -> float:
        """Adding this and taking it away rounds to the nearest integer: 1.5 × 2^mantissa_bits."""
        return 1.5 * 2.0**self.mantissa_bits


F32 = Element("f32", "float", "i32", 23, 127)
F64 = Element("f64", "double", "i64", 52, 1023)
ELEMENTS = {"f32": F32, "f64": F64}


@dataclass(frozen=True)
class Lanes:
    """A value of the function being written."""

    writer: FunctionWriter
    text: str
    kind: Kind
    element: Element

    @property
    def type(self) -> str:
        """The LLVM type."""
        scalar = {
            Kind.FLOAT: self.element.float_type,
            Kind.INTEGER: self.element.integer_type,
            Kind.MASK: "i1",
        }[self.kind]
        return self.writer.vector(scalar)

    def _lift(self, other: Lanes | float | int) -> Lanes:
        if isinstance(other, Lanes):
            assert (other.kind, other.element) == (self.kind, self.element), (self, other)
            return other
        return self.writer.splat(other, self.kind, self.element)

    def _binary(self, float_opcode: str, integer_opcode: str, other: Lanes | float | int) -> Lanes:
        opcode = float_opcode if self.kind is Kind.FLOAT else integer_opcode
        return self.writer.emit(
            f"{opcode} {self.type} {self.text}, {self._lift(other).text}", self.kind, self.element
        )

    def __add__(self, other: Lanes | float | int) -> Lanes:
        return self._binary("fadd", "add", other)

    def __radd__(self, other: float | int) -> Lanes:
        return self._lift(other) + self

    def __sub__(self, other: Lanes | float | int) -> Lanes:
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other: float | int) -> Lanes:
        return self._lift(other) - self

    def __mul__(self, other: Lanes | float | int) -> Lanes:
        return self._binary("fmul", "mul", other)

    def __rmul__(self, other: float | int) -> Lanes:
        return self._lift(other) * self

    def __truediv__(self, other: Lanes | float | int) -> Lanes:
        return self._binary("fdiv", "fdiv", other)

    def __rtruediv__(self, other: float | int) -> Lanes:
        return self._lift(other) / self

    def __and__(self, other: Lanes | int) -> Lanes:
        return self._binary("and", "and", other)

    def __or__(self, other: Lanes | int) -> Lanes:
        return self._binary("or", "or", other)

    def __xor__(self, other: Lanes | int) -> Lanes:
        return self._binary("xor", "xor", other)

    def __lshift__(self, other: Lanes | int) -> Lanes:
        return self._binary("shl", "shl", other)

    def __rshift__(self, other: Lanes | int) -> Lanes:
        """Arithmetic shift."""
        return self._binary("ashr", "ashr", other)

    def logical_shift(self, other: Lanes | int) -> Lanes:
        """Shift right, with zeros from the left."""
        return self._binary("lshr", "lshr", other)

    def __neg__(self) -> Lanes:
        if self.kind is Kind.INTEGER:
            return 0 - self
        return self.writer.emit(f"fneg {self.type} {self.text}", Kind.FLOAT, self.element)

    def _compare(self, float_predicate: str, integer_predicate: str, other: Lanes | float | int) -> Lanes:
        comparison = f"fcmp {float_predicate}" if self.kind is Kind.FLOAT else f"icmp {integer_predicate}"
        return self.writer.emit(
            f"{comparison} {self.type} {self.text}, {self._lift(other).text}", Kind.MASK, self.element
        )

    def __lt__(self, other: Lanes | float | int) -> Lanes:
        return self._compare("olt", "slt", other)

    def __le__(self, other: Lanes | float | int) -> Lanes:
        return self._compare("ole", "sle", other)

    def __gt__(self, other: Lanes | float | int) -> Lanes:
        return self._compare("ogt", "sgt", other)

    def __ge__(self, other: Lanes | float | int) -> Lanes:
        return self._compare("oge", "sge", other)

    def equals(self, other: Lanes | float | int) -> Lanes:
        """Return a mask; false for NaN."""
        return self._compare("oeq", "eq", other)

    def is_nan(self) -> Lanes:
        """Return a mask."""
        return self._compare("uno", "", 0.0)

    def where(self, mask: Lanes, other: Lanes | float | int) -> Lanes:
        """Return this value where ``mask``, else ``other``."""
        chosen = self._lift(other)
        return self.writer.emit(
            f"select {mask.type} {mask.text}, {self.type} {self.text}, {self.type} {chosen.text}",
            self.kind,
            self.element,
        )

    def fma(self, factor: Lanes | float, addend: Lanes | float) -> Lanes:
        """Return self × factor + addend: rounded once where the processor can, else twice."""
        factor, addend = self._lift(factor), self._lift(addend)
        if not self.writer.fused:
            return self * factor + addend
        return self.writer.intrinsic("llvm.fma", self, factor, addend)

    def absolute(self) -> Lanes:
        """Return the magnitude."""
        return self.writer.intrinsic("llvm.fabs", self)

    def with_sign_of(self, other: Lanes) -> Lanes:
        """Return this magnitude with the sign of ``other``."""
        return self.writer.intrinsic("llvm.copysign", self, other)

    def polynomial(self, coefficients: Sequence[float]) -> Lanes:
        """Return the polynomial at this value, by Horner's rule; ``coefficients`` have the constant first."""
        *rest, last = coefficients
        total = self._lift(last)
        for coefficient in reversed(rest):
            total = total.fma(self, coefficient)
        return total

    def bits(self) -> Lanes:
        """Return the float's bits."""
        return self.writer.cast("bitcast", self, Kind.INTEGER)

    def as_float(self) -> Lanes:
        """Return the float of these bits."""
        return self.writer.cast("bitcast", self, Kind.FLOAT)

    def funnel_shift(self, lower: Lanes, count: Lanes) -> Lanes:
        """Return the high half of (self, ``lower``) shifted left by ``count``, which is less
        than the width.
        """
        return self.writer.intrinsic("llvm.fshl", self, lower, count)

    def to_float(self) -> Lanes:
        """Return the signed integer as a float."""
        return self.writer.cast("sitofp", self, Kind.FLOAT)

    def power_of_two(self) -> Lanes:
        """Return 2^n of an integer n within the normal exponents."""
        return ((self + self.element.bias) << self.element.mantissa_bits).as_float()

    def widened(self) -> Lanes:
        """Return float32 lanes as float64."""
        return self.writer.cast("fpext", self, Kind.FLOAT, F64)

    def narrowed(self) -> Lanes:
        """Return float64 lanes rounded to float32."""
        return self.writer.cast("fptrunc", self, Kind.FLOAT, F32)


class FunctionWriter:
    """Writes one function ``@thalweg.NAME.vLfN`` on ``lanes`` lanes.

    :param fused: whether a fused multiply-add is an instruction.
    """

    def __init__(self, name: str, lanes: int, element: Element, arity: int, fused: bool):
        self.symbol = f"thalweg.{name}.{mangled(element, lanes)}"
        self.lanes = lanes
        self.element = element
        self.fused = fused
        self._lines: list[str] = []
        self.constants: dict[str, str] = {}
        """Constant arrays that the function reads: name → definition."""
        self.parameters = tuple(Lanes(self, f"%x{i}", Kind.FLOAT, element) for i in range(arity))

    def vector(self, scalar: str) -> str:
        """Return the vector type of ``scalar`` (the scalar itself for one lane)."""
        return scalar if self.lanes == 1 else f"<{self.lanes} x {scalar}>"

    def emit(self, text: str, kind: Kind, element: Element) -> Lanes:
        """Append an instruction with a result."""
        name = f"%v{len(self._lines)}"
        self._lines.append(f"  {name} = {text}")
        return Lanes(self, name, kind, element)

    def splat(self, value: float | int, kind: Kind, element: Element) -> Lanes:
        """Return a constant in every lane."""
        if kind is Kind.FLOAT:
            scalar = f"{element.float_type} {float_literal(float(value), element)}"
        elif kind is Kind.INTEGER:
            scalar = f"{element.integer_type} {signed(int(value), element.bits)}"
        else:
            scalar = f"i1 {'true' if value else 'false'}"
        text = scalar.split(" ", 1)[1] if self.lanes == 1 else f"splat ({scalar})"
        return Lanes(self, text, kind, element)

    def number(self, value: float, element: Element | None = None) -> Lanes:
        """Return a float constant in every lane."""
        return self.splat(value, Kind.FLOAT, element or self.element)

    def cast(self, opcode: str, value: Lanes, kind: Kind, element: Element | None = None) -> Lanes:
        """Append a cast."""
        element = element or value.element
        target = Lanes(self, "", kind, element).type
        return self.emit(f"{opcode} {value.type} {value.text} to {target}", kind, element)

    def intrinsic(self, stem: str, *operands: Lanes) -> Lanes:
        """Call an intrinsic on operands of one type, its result's; LLVM declares it."""
        first = operands[0]
        given = ", ".join(f"{x.type} {x.text}" for x in operands)
        scalar = first.element.name if first.kind is Kind.FLOAT else first.element.integer_type
        suffix = scalar if self.lanes == 1 else f"v{self.lanes}{scalar}"
        return self.emit(f"call {first.type} @{stem}.{suffix}({given})", first.kind, first.element)

    def table(self, name: str, words: Sequence[int], element: Element) -> str:
        """Put a table of integers as wide as ``element`` into the module; returns its symbol."""
        type_ = element.integer_type
        values = ", ".join(f"{type_} {signed(word, element.bits)}" for word in words)
        symbol = f"@thalweg.{name}"
        self.constants[symbol] = (
            f"{symbol} = private unnamed_addr constant [{len(words)} x {type_}] [{values}], align 64"
        )
        return symbol

    def look_up(self, table: str, index: Lanes) -> Lanes:
        """Return, lane by lane, the integers at ``index`` of a table of ``index``'s width."""
        type_, bytes_ = index.element.integer_type, index.element.bits // 8
        pointers = self.emit(
            f"getelementptr inbounds {type_}, ptr {table}, {index.type} {index.text}",
            Kind.INTEGER,
            index.element,
        ).text
        if self.lanes == 1:
            return self.emit(f"load {type_}, ptr {pointers}, align {bytes_}", Kind.INTEGER, index.element)
        call = (
            f"call {index.type} @llvm.masked.gather.v{self.lanes}{type_}.v{self.lanes}p0(<{self.lanes} x ptr>"
            f" align {bytes_} {pointers}, {self.vector('i1')} splat (i1 true), {index.type} poison)"
        )
        return self.emit(call, Kind.INTEGER, index.element)

    def replaced(
        self, mask: Lanes, values: Sequence[Lanes], make: Callable[[], Sequence[Lanes]]
    ) -> list[Lanes]:
        """Return ``values``, but where ``mask`` those of ``make``, whose code runs only if some lane wants
        it.
        """
        number = len(self._lines)
        some = mask.text
        if self.lanes > 1:
            some = f"%some{number}"
            self._lines.append(
                f"  {some} = call i1 @llvm.vector.reduce.or.v{self.lanes}i1({mask.type} {mask.text})"
            )
        self._lines.append(f"  br i1 {some}, label %rare{number}, label %usual{number}")
        self._lines.append(f"usual{number}:")
        self._lines.append(f"  br label %both{number}")
        self._lines.append(f"rare{number}:")
        chosen = [rare.where(mask, usual) for rare, usual in zip(make(), values, strict=True)]
        self._lines.append(f"  br label %end{number}")
        self._lines.append(
            f"end{number}:"
        )  # one name for the last block of ``make``, which may branch itself
        self._lines.append(f"  br label %both{number}")
        self._lines.append(f"both{number}:")
        return [
            self.emit(
                f"phi {v.type} [ {v.text}, %usual{number} ], [ {c.text}, %end{number} ]", v.kind, v.element
            )
            for v, c in zip(values, chosen)
        ]

    def finish(self, result: Lanes) -> str:
        """Return the function's text."""
        parameters = ", ".join(f"{x.type} {x.text}" for x in self.parameters)
        head = f"define internal {result.type} @{self.symbol}({parameters}) alwaysinline {{"
        return "\n".join([head, *self._lines, f"  ret {result.type} {result.text}", "}", ""])


def mangled(element: Element, lanes: int) -> str:
    """Return an intrinsic's suffix: ``v16f32``, ``f64``."""
    return element.name if lanes == 1 else f"v{lanes}{element.name}"


def float_literal(value: float, element: Element) -> str:
    """Return a constant as LLVM writes it exactly: the bits of the double that equals it."""
    if element is F32 and abs(value) <= 3.4028235677973366e38:
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def signed(value: int, bits: int) -> int:
    """Return ``value``'s low bits as a signed integer."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
