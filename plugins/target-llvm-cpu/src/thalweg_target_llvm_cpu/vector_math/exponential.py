"""exp, sigmoid, tanh.

Reduction: x = n ln 2 + r, |r| ≤ ln 2 / 2, e^x = 2^n e^r; ln 2 in two parts, the first with so few bits that n times
it is exact (W. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980).
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
    """Return (e^r, n as an integer) for e^x = 2^n e^r; x within ``LIMITS``."""
    element = x.element
    high, low = LN2_PARTS[element.name]
    shifted = x.fma(LOG2_E, element.rounder)
    n = shifted - element.rounder
    r = n.fma(-low, n.fma(-high, x))
    tail = r.polynomial(coefficients.EXP_32 if element is F32 else coefficients.EXP_64)
    integer = shifted.bits() - x.writer.number(element.rounder, element).bits()
    return (r * r).fma(tail, r) + 1.0, integer


def exponential(x: Lanes) -> Lanes:
    """e^x for any x."""
    low, high = LIMITS[x.element.name]
    inside = x.where(x > low, low)
    inside = inside.where(inside < high, high)
    value, n = reduced_exponential(inside)
    # Two factors: 2^n itself may be no normal number, and the last product rounds once, into the denormals too.
    half = n >> 1
    scaled = value * half.power_of_two() * (n - half).power_of_two()
    return x.where(x.is_nan(), scaled)


def bounded_exponential(x: Lanes) -> Lanes:
    """e^x where neither x nor the result is near an end of the range; NaN stays NaN."""
    value, n = reduced_exponential(x)
    return value * n.power_of_two()


def exp(writer: FunctionWriter, x: Lanes) -> Lanes:
    """e^x."""
    return exponential(x)


def sigmoid(writer: FunctionWriter, x: Lanes) -> Lanes:
    """1 / (1 + e^-x), by e^-|x|, which does not overflow."""
    z = exponential(-x.absolute())
    numerator = z.where(x < 0.0, 1.0)
    return numerator / (z + 1.0)


TANH_IS_ONE = {"f32": 10.0, "f64": 20.0}


def tanh(writer: FunctionWriter, x: Lanes) -> Lanes:
    """tanh x: a polynomial up to 1, beyond it 1 - 2 / (e^2|x| + 1), whose errors the subtraction makes small."""
    element: Element = x.element
    square = x * x
    small = (x * square).fma(square.polynomial(_tanh_coefficients(element)), x)
    magnitude = x.absolute()
    limit = TANH_IS_ONE[element.name]
    inside = writer.number(limit, element).where(magnitude > limit, magnitude)
    large = 1.0 - 2.0 / (bounded_exponential(inside + inside) + 1.0)
    return small.where(magnitude < 1.0, large.with_sign_of(x))


def _tanh_coefficients(element: Element) -> tuple[float, ...]:
    return coefficients.TANH_32 if element is F32 else coefficients.TANH_64
