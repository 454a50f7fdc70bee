"""log."""

from __future__ import annotations

from math import inf, nan

from thalweg_target_llvm_cpu.vector_math import coefficients
from thalweg_target_llvm_cpu.vector_math.exponential import LN2_PARTS
from thalweg_target_llvm_cpu.vector_math.lanes import F32, FunctionWriter, Lanes

ROOT_HALF_BITS = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}
LEAST_NORMAL = {"f32": 2.0**-126, "f64": 2.0**-1022}


def split_exponent(x: Lanes) -> tuple[Lanes, Lanes]:
    """Return (m, e): x = m 2^e with m in [√½, √2), for positive finite x; e is a float."""
    element = x.element
    tiny = x < LEAST_NORMAL[element.name]
    shift = element.mantissa_bits + 2
    bits = (x * 2.0**shift).where(tiny, x).bits() - ROOT_HALF_BITS[element.name]
    e = (bits >> element.mantissa_bits).to_float()
    e = (e - float(shift)).where(tiny, e)
    mantissa = ((bits & element.mantissa_mask) + ROOT_HALF_BITS[element.name]).as_float()
    return mantissa, e


def finite_log(x: Lanes) -> Lanes:
    """log x for positive finite x."""
    mantissa, e = split_exponent(x)
    high, low = LN2_PARTS[x.element.name]
    f = mantissa - 1.0
    square = f * f
    if x.element is F32:
        rest = (square * f) * f.polynomial(coefficients.LOG_32)
        rest = square.fma(-0.5, e.fma(low, rest))
        return e.fma(high, f + rest)
    # log(1 + f) = 2 atanh s, s = f / (2 + f); f - f²/2 is taken out, as its rounding errors are known.
    s = f / (f + 2.0)
    z = s * s
    half = square * 0.5
    rest = s * (half + z.polynomial(coefficients.LOG_64))
    return e.fma(high, f - (half - e.fma(low, rest)))


def log(writer: FunctionWriter, x: Lanes) -> Lanes:
    """Natural logarithm; -inf at ±0, NaN below."""
    value = finite_log(x)
    value = value.where(x > 0.0, writer.number(-inf, x.element).where(x.equals(0.0), nan))
    return x.where(x.equals(inf), value)
