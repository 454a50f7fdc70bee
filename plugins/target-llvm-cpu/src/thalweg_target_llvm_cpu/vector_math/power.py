"""pow: |x|^y = e^(y log |x|), with the logarithm to more precision than the result.

float32 is computed in float64; in float64 the logarithm and the product are double words.
"""

from __future__ import annotations

from math import inf, nan

from thalweg_target_llvm_cpu.vector_math import coefficients
from thalweg_target_llvm_cpu.vector_math.double_word import (
    Pair,
    add,
    exact_product,
    exact_sum,
    exact_sum_ordered,
    multiply,
)
from thalweg_target_llvm_cpu.vector_math.exponential import (
    LN2_PARTS,
    clamped,
    exponential,
    reduced_exponential,
    scaled,
)
from thalweg_target_llvm_cpu.vector_math.lanes import F32, FunctionWriter, Lanes
from thalweg_target_llvm_cpu.vector_math.logarithm import log, split_exponent

LARGEST_EXPONENT = 2.0**80
"""A larger one gives the same: no float but 1 has a logarithm below 2^-54."""

ALL_INTEGERS = 2.0**52
"""From here on, every float64 is an integer."""


def power(writer: FunctionWriter, x: Lanes, y: Lanes) -> Lanes:
    """x^y as IEEE 754 section 9.2.1 defines it: 1 for y = 0 and for x = 1, whatever the other is."""
    if x.element is F32:
        return _power(writer, x.widened(), y.widened(), _power_of_magnitude_32).narrowed()
    return _power(writer, x, y, _power_of_magnitude_64)


def _power(writer: FunctionWriter, x: Lanes, y: Lanes, of_magnitude) -> Lanes:
    magnitude, exponent = x.absolute(), y.absolute()
    value = of_magnitude(writer, magnitude, y)
    integer = _is_integer(exponent)
    odd = integer & (_is_integer(exponent * 0.5) ^ True)
    value = value.with_sign_of(x.where(odd, 1.0))
    undefined = (x < 0.0) & (x > -inf) & (integer ^ True)
    value = writer.number(nan, x.element).where(undefined, value)
    one = y.equals(0.0) | x.equals(1.0) | (x.equals(-1.0) & exponent.equals(inf))
    return writer.number(1.0, x.element).where(one, value)


def _is_integer(magnitude: Lanes) -> Lanes:
    rounded = (magnitude + ALL_INTEGERS) - ALL_INTEGERS
    return rounded.equals(magnitude) | (magnitude >= ALL_INTEGERS)


def _power_of_magnitude_32(writer: FunctionWriter, x: Lanes, y: Lanes) -> Lanes:
    return exponential(y * log(writer, x))


def _power_of_magnitude_64(writer: FunctionWriter, x: Lanes, y: Lanes) -> Lanes:
    """x^y for x ≥ 0, with NaN for NaN."""
    bounded = y.where(y.absolute() < LARGEST_EXPONENT, writer.number(LARGEST_EXPONENT).with_sign_of(y))
    regular = (x > 0.0) & (x < inf)
    logarithm = _double_word_log(writer, x.where(regular, 2.0))
    product, rest = exact_product(bounded, logarithm.high)
    rest = bounded.fma(logarithm.low, rest)
    excess, n = reduced_exponential(clamped(product))
    rest = rest.where(product.absolute() < 1000.0, 0.0)
    value = scaled((excess + 1.0).fma(rest, excess) + 1.0, n)
    grows = (y > 0.0) ^ (x.equals(0.0))
    value = value.where(regular, writer.number(inf).where(grows, 0.0))
    return (x + y).where(x.is_nan() | y.is_nan(), value)


def _double_word_log(writer: FunctionWriter, x: Lanes) -> Pair:
    """log x for positive finite x: 2 atanh s, s = f / (2 + f), x = (1 + f) 2^e."""
    mantissa, e = split_exponent(x)
    f = mantissa - 1.0
    below = exact_sum(writer.number(2.0), f)
    quotient = f / below.high
    product, product_rest = exact_product(quotient, below.high)
    s = Pair(quotient, ((f - product) - product_rest - quotient * below.low) / below.high)
    square = multiply(s, s)
    tail = (square.high * square.high) * square.high.polynomial(coefficients.LOG_TAIL_64)
    third = Pair(*(writer.number(v) for v in coefficients.TWO_THIRDS))
    bracket = multiply(square, third)
    bracket = exact_sum_ordered(bracket.high, bracket.low + tail)
    value = add(Pair(s.high + s.high, s.low + s.low), multiply(s, bracket))
    high, low = LN2_PARTS["f64"]
    scale = exact_product(e, writer.number(low))
    scale = add(Pair(e * high, writer.number(0.0)), scale)
    total, rest = exact_sum(scale.high, value.high)
    return exact_sum_ordered(total, rest + (scale.low + value.low))
