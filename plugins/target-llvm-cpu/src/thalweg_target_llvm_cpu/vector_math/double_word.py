"""Sums and products of floats without error, as a float and its rest (double-word arithmetic).

T. Dekker, "A Floating-Point Technique for Extending the Available Precision" (1971); D. Knuth, "The Art of
Computer Programming", volume 2, section 4.2.2.
"""

from __future__ import annotations

from typing import NamedTuple

from thalweg_target_llvm_cpu.vector_math.lanes import Lanes

SPLITTERS = {"f32": 2.0**12 + 1, "f64": 2.0**27 + 1}
"""Times this, a number falls into two halves, whose products are exact."""


class Pair(NamedTuple):
    """``high + low``, with ``low`` below half an ulp of ``high``."""

    high: Lanes
    low: Lanes


def exact_sum(a: Lanes, b: Lanes) -> Pair:
    """a + b."""
    total = a + b
    moved = total - a
    return Pair(total, (a - (total - moved)) + (b - moved))


def exact_sum_ordered(a: Lanes, b: Lanes) -> Pair:
    """a + b, where |a| ≥ |b| or a is 0."""
    total = a + b
    return Pair(total, b - (total - a))


def exact_product(a: Lanes, b: Lanes) -> Pair:
    """a b, where neither overflows times a ``SPLITTERS`` number and the rest is no denormal."""
    product = a * b
    if a.writer.fused:
        return Pair(product, a.fma(b, -product))
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return Pair(product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low))


def _halves(x: Lanes) -> Pair:
    scaled = x * SPLITTERS[x.element.name]
    high = scaled - (scaled - x)
    return Pair(high, x - high)


def add(a: Pair, b: Pair) -> Pair:
    """a + b, where |a| ≥ |b|: to about twice the precision."""
    total, rest = exact_sum(a.high, b.high)
    return exact_sum_ordered(total, rest + (a.low + b.low))


def multiply(a: Pair, b: Pair) -> Pair:
    """a b, to about twice the precision."""
    product, rest = exact_product(a.high, b.high)
    return exact_sum_ordered(product, rest + (a.high * b.low + a.low * b.high))
