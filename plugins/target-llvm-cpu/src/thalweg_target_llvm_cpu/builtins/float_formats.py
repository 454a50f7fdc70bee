"""Conversions between float formats, in integer arithmetic: rounded once, to nearest, ties to even.

The names are those of the compilers' runtime library (libgcc, compiler-rt).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A binary interchange format (IEEE 754 section 3.4), and bfloat16."""

    llvm: str
    bits: int
    mantissa: int

    @property
    def bias(self) -> int:
        """The exponent's bias."""
        return (1 << (self.bits - self.mantissa - 2)) - 1

    @property
    def infinity(self) -> int:
        """The bits of infinity."""
        return (2 * self.bias + 1) << self.mantissa


HALF, BFLOAT = Format("half", 16, 10), Format("bfloat", 16, 7)
SINGLE, DOUBLE = Format("float", 32, 23), Format("double", 64, 52)


def truncation(name: str, wide: Format, narrow: Format) -> str:
    """Return LLVM IR of the rounding from ``wide`` to ``narrow``.

    Normal numbers: the exponent is changed and the bits to be dropped are rounded; a carry makes the next
    exponent, at last infinity. Denormal ones: a number is added whose last place is that of ``narrow``'s
    denormals.
    """
    w, shift = f"i{wide.bits}", wide.mantissa - narrow.mantissa
    least_normal = (wide.bias - narrow.bias + 1) << wide.mantissa
    magic = (wide.bias - narrow.bias + 1 + shift) << wide.mantissa
    return f"""
define {narrow.llvm} @{name}({wide.llvm} %x) {{
  %bits = bitcast {wide.llvm} %x to {w}
  %magnitude = and {w} %bits, {(1 << wide.bits - 1) - 1}
  %rebiased = sub {w} %magnitude, {(wide.bias - narrow.bias) << wide.mantissa}
  %dropped = lshr {w} %rebiased, {shift}
  %odd = and {w} %dropped, 1
  %half = add {w} %rebiased, {(1 << shift - 1) - 1}
  %rounded = add {w} %half, %odd
  %normal = lshr {w} %rounded, {shift}
  %bounded = call {w} @llvm.umin.{w}({w} %normal, {w} {narrow.infinity})
  %small = bitcast {w} %magnitude to {wide.llvm}
  %magic = bitcast {w} {magic} to {wide.llvm}
  %sum = fadd {wide.llvm} %small, %magic
  %sum.bits = bitcast {wide.llvm} %sum to {w}
  %denormal = sub {w} %sum.bits, {magic}
  %is.denormal = icmp ult {w} %magnitude, {least_normal}
  %finite = select i1 %is.denormal, {w} %denormal, {w} %bounded
  %is.nan = icmp ugt {w} %magnitude, {wide.infinity}
  %result = select i1 %is.nan, {w} {narrow.infinity | 1 << narrow.mantissa - 1}, {w} %finite
  %high = lshr {w} %bits, {wide.bits - 16}
  %sign = and {w} %high, 32768
  %signed = or {w} %result, %sign
  %short = trunc {w} %signed to i16
  %value = bitcast i16 %short to {narrow.llvm}
  ret {narrow.llvm} %value
}}
"""


EXTEND_HALF = f"""
define float @__extendhfsf2(half %x) {{
  %short = bitcast half %x to i16
  %bits = zext i16 %short to i32
  %magnitude = and i32 %bits, 32767
  %moved = shl i32 %magnitude, 13
  %normal = add i32 %moved, {(127 - 15) << 23}
  %special = or i32 %moved, {0xFF << 23}
  %count = uitofp i32 %magnitude to float
  %small = fmul float %count, {2.0**-24!r}
  %denormal = bitcast float %small to i32
  %is.special = icmp uge i32 %magnitude, {HALF.infinity}
  %is.denormal = icmp ult i32 %magnitude, 1024
  %large = select i1 %is.special, i32 %special, i32 %normal
  %result = select i1 %is.denormal, i32 %denormal, i32 %large
  %high = and i32 %bits, 32768
  %sign = shl i32 %high, 16
  %signed = or i32 %result, %sign
  %value = bitcast i32 %signed to float
  ret float %value
}}
"""

FLOAT_FORMATS = {
    "__extendhfsf2": EXTEND_HALF,
    "__truncsfhf2": truncation("__truncsfhf2", SINGLE, HALF),
    "__truncdfhf2": truncation("__truncdfhf2", DOUBLE, HALF),
    "__truncsfbf2": truncation("__truncsfbf2", SINGLE, BFLOAT),
    "__truncdfbf2": truncation("__truncdfbf2", DOUBLE, BFLOAT),
}
"""Symbol → LLVM IR that defines it."""
