"""sin and cos, for any argument.

Reduction: |x| = n π/2 + r, |r| ≤ π/4. Up to ``SMALL`` with π/2 in four parts (W. Cody, W. Waite, 1980);
beyond, as only the fraction of x · 2/π matters, with the 192 bits of 2/π that make it (M. Payne, R. Hanek,
"Radian Reduction for Trigonometric Functions", 1983). float32 is computed in float64.
"""

from __future__ import annotations

from thalweg_target_llvm_cpu.vector_math import coefficients
from thalweg_target_llvm_cpu.vector_math.double_word import (
    Pair,
    exact_sum,
    exact_sum_ordered,
    multiply,
)
from thalweg_target_llvm_cpu.vector_math.lanes import F32, F64, FunctionWriter, Lanes

SMALL = 2.0**19
"""Below this, n has 19 bits, and n times 33 bits of π/2 is exact."""

LOW_HALF = 0xFFFFFFFF


def sin(writer: FunctionWriter, x: Lanes) -> Lanes:
    """sin x; NaN of an infinity."""
    wide = _wide(x)
    quarter, rest = _reduced(writer, wide.absolute())
    return _like(x, _sine(quarter, rest, wide.bits() & (1 << 63), wide))


def cos(writer: FunctionWriter, x: Lanes) -> Lanes:
    """cos x; NaN of an infinity."""
    wide = _wide(x)
    quarter, rest = _reduced(writer, wide.absolute())
    return _like(x, _sine(quarter + 1, rest, quarter & 0, wide))


def _wide(x: Lanes) -> Lanes:
    return x.widened() if x.element is F32 else x


def _like(x: Lanes, value: Lanes) -> Lanes:
    return value.narrowed() if x.element is F32 else value


def _sine(quarter: Lanes, r: Pair, sign: Lanes, x: Lanes) -> Lanes:
    """sin(quarter π/2 + r), its sign changed by the bit ``sign``; NaN where x is infinite or NaN."""
    square = r.high * r.high
    tail = (r.high * square) * square.polynomial(coefficients.SIN_64)
    sine = r.high + (tail + r.low * (1.0 - square * 0.5))
    half = square * 0.5
    top = 1.0 - half
    tail = (square * square) * square.polynomial(coefficients.COS_64) - r.high * r.low
    cosine = top + (((1.0 - top) - half) + tail)
    value = sine.where((quarter & 1).equals(0), cosine)
    value = (value.bits() ^ ((quarter & 2) << 62) ^ sign).as_float()
    difference = x - x  # NaN unless x is finite
    return value.where(difference.equals(0.0), difference)


def _reduced(writer: FunctionWriter, x: Lanes) -> tuple[Lanes, Pair]:
    """Return (n, of which the last two bits are right, and r) for x ≥ 0."""
    shifted = x.fma(coefficients.TWO_OVER_PI, F64.rounder)
    n = shifted - F64.rounder
    first, second, third, fourth = coefficients.HALF_PI_PARTS
    high, rest_1 = exact_sum(x, -(n * first))
    high, rest_2 = exact_sum(high, -(n * second))
    high, rest_3 = exact_sum(high, -(n * third))
    usual = exact_sum_ordered(high, rest_1 + rest_2 + rest_3 - n * fourth)
    large = x >= SMALL

    def make() -> list[Lanes]:
        quarter, rest = _reduced_large(writer, x.where(large, SMALL))
        return [quarter, *rest]

    quarter, high, low = writer.replaced(large, [shifted.bits(), *usual], make)
    return quarter, Pair(high, low)


def _reduced_large(writer: FunctionWriter, x: Lanes) -> tuple[Lanes, Pair]:
    """``_reduced`` for x ≥ ``SMALL``: x = m 2^k with an integer m, and bits of 2/π from
    2^(1-k) on, modulo 4.
    """
    bits = x.bits()
    mantissa = bits & F64.mantissa_mask | (1 << F64.mantissa_bits)
    # The bit of the table that has weight 2^1 after the product with 2^k: the table starts with a word of
    # zeros.
    start = bits.logical_shift(F64.mantissa_bits) - (F64.bias + F64.mantissa_bits) + 62
    table = writer.table("two_over_pi", coefficients.TWO_OVER_PI_WORDS, F64)
    index, shift = start >> 6, start & 63
    words = [writer.look_up(table, index + i) for i in range(4)]
    high, middle, low = (words[i].funnel_shift(words[i + 1], shift) for i in range(3))
    middle_low = mantissa * middle
    lower = middle_low + _high_product(mantissa, low)
    carry = _carry(lower, middle_low)
    upper = mantissa * high + _high_product(mantissa, middle) + carry
    # (upper, lower) is x 2/π modulo 4 in units of 2^-126: two bits of n, then the fraction, made signed.
    quarter = upper.logical_shift(62) + (upper.logical_shift(61) & 1)
    fraction = (upper << 2) | lower.logical_shift(62)
    rest = lower << 2
    parts = [fraction >> 32, fraction & LOW_HALF, rest.logical_shift(32), rest & LOW_HALF]
    floats = [part.to_float() * 2.0 ** (-32 * (i + 1)) for i, part in enumerate(parts)]
    high_sum, rest_sum = exact_sum_ordered(floats[0], floats[1])
    turned = exact_sum_ordered(high_sum, rest_sum + (floats[2] + floats[3]))
    return quarter, multiply(turned, Pair(*(writer.number(v, F64) for v in coefficients.HALF_PI)))


def _high_product(a: Lanes, b: Lanes) -> Lanes:
    """Return the high 64 bits of the unsigned product."""
    a_high, a_low = a.logical_shift(32), a & LOW_HALF
    b_high, b_low = b.logical_shift(32), b & LOW_HALF
    first, second = a_low * b_high, a_high * b_low
    carried = (a_low * b_low).logical_shift(32) + (first & LOW_HALF) + (second & LOW_HALF)
    return a_high * b_high + first.logical_shift(32) + second.logical_shift(32) + carried.logical_shift(32)


def _carry(total: Lanes, addend: Lanes) -> Lanes:
    """Return 1 where the unsigned sum ``total``, of ``addend`` and another number, wrapped, else 0."""
    flip = -(1 << 63)
    one = total.writer.splat(1, total.kind, total.element)
    return one.where((total ^ flip) < (addend ^ flip), 0)
