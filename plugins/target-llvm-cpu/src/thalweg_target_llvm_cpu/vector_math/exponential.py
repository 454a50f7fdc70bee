"""exp, sigmoid, tanh.

Reduction: x = n ln 2 + r, |r| ≤ ln 2 / 2, e^x = 2^n e^r; ln 2 in two parts, the first with so few bits that n
times it is exact (W. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980).
"""

from __future__ import annotations

from thalweg_target_llvm_cpu.vector_math import coefficients
from thalweg_target_llvm_cpu.vector_math.lanes import F32, Element, FunctionWriter, Lanes

LOG2_E = 1.4426950408889634
LN2_PARTS = {
    "f32": (0.693359375, -2.12194440054690583e-4),
    "f64": (0.6931471803691238, 1.9082149292705877e-10),
}
"""ln 2 as a sum; the first part has 10 of 24 bits, or 32 of 53."""

LIMITS = {"f32": (-104.0, 89.0), "f64": (-746.0, 710.0)}
"""Below: e^x is under half the least denormal. Above: it is infinite."""


def reduced_exponential(x: Lanes) -> tuple[Lanes, Lanes]:
    """Return (e^r - 1, n as an integer) for e^x = 2^n e^r; x within ``LIMITS``."""
    element = x.element
    high, low = LN2_PARTS[element.name]
    shifted = x.fma(LOG2_E, element.rounder)
    n = shifted - element.rounder
    r = n.fma(-low, n.fma(-high, x))
    tail = r.polynomial(coefficients.EXP_32 if element is F32 else coefficients.EXP_64)
    integer = shifted.bits() - x.writer.number(element.rounder, element).bits()
    return (r * r).fma(tail, r), integer


def clamped(x: Lanes) -> Lanes:
    """Return x within ``LIMITS``; NaN becomes a number."""
    low, high = LIMITS[x.element.name]
    inside = x.where(x > low, low)
    return inside.where(inside < high, high)


def scaled(value: Lanes, n: Lanes) -> Lanes:
    """Return value 2^n, where 2^n may be no normal number: the last of two products rounds once, to a
    denormal too.
    """
    half = n >> 1
    return value * half.power_of_two() * (n - half).power_of_two()


def exponential(x: Lanes) -> Lanes:
    """e^x for any x."""
    excess, n = reduced_exponential(clamped(x))
    return x.where(x.is_nan(), scaled(excess + 1.0, n))


def bounded_exponential(x: Lanes) -> Lanes:
    """e^x where neither x nor the result is near an end of the range; NaN stays NaN."""
    excess, n = reduced_exponential(x)
    return (excess + 1.0) * n.power_of_two()


def exp(writer: FunctionWriter, x: Lanes) -> Lanes:
    """e^x."""
    return exponential(x)


def sigmoid(writer: FunctionWriter, x: Lanes) -> Lanes:
    """1 / (1 + e^-x), by z = e^-|x|, which does not overflow: z / (1 + z) below 0, 1 / (1 + z) above.

    What the roundings of z and 1 + z lost is carried along and given back to the quotient.
    """
    excess, n = reduced_exponential(clamped(-x.absolute()))
    rounded = excess + 1.0
    z, z_rest = scaled(rounded, n), scaled(excess - (rounded - 1.0), n)
    denominator = z + 1.0
    denominator_rest = z - (denominator - 1.0) + z_rest
    below = x < 0.0
    quotient = z.where(below, 1.0) / denominator
    reciprocal = (1.0 - quotient).where(below, quotient)
    correction = z_rest.where(below, 0.0) - quotient * denominator_rest
    return x.where(x.is_nan(), correction.fma(reciprocal, quotient))


TANH_IS_ONE = {"f32": 10.0, "f64": 20.0}


def tanh(writer: FunctionWriter, x: Lanes) -> Lanes:
    """tanh x: a polynomial up to 1, beyond it 1 - 2 / (e^2|x| + 1), whose errors the
    subtraction makes small.
    """
    element: Element = x.element
    square = x * x
    small = (x * square).fma(square.polynomial(_tanh_coefficients(element)), x)
    magnitude = x.absolute()
    limit = TANH_IS_ONE[element.name]
    inside = writer.number(limit, element).where(magnitude > limit, magnitude)
    large = 1.0 - 2.0 / (bounded_exponential(inside + inside) + 1.0)
    return small.where(magnitude < 1.0, large).with_sign_of(x)  # -0 + 0 is 0


def _tanh_coefficients(element: Element) -> tuple[float, ...]:
    return coefficients.TANH_32 if element is F32 else coefficients.TANH_64
