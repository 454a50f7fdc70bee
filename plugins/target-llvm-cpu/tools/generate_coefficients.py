"""Write ``src/thalweg_target_llvm_cpu/vector_math/coefficients.py``: minimax polynomials by Remez exchange.

    pip install mpmath && python tools/generate_coefficients.py

Each table is the polynomial, of the least degree that meets its bound, whose largest weighted error is least
on its interval. Sources: E. Remez (1934); the reductions are described beside the formulas in
``vector_math``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp

PRECISION = 400
"""Bits that everything is computed with."""

Real = Callable[[Any], Any]
BigFloat = Any
"""An mpmath number; mpmath makes its class when it is imported, which type checkers cannot follow."""
"""A function of mpmath numbers, whose types mpmath does not tell apart."""

TARGET = Path(__file__).parents[1] / "src" / "thalweg_target_llvm_cpu" / "vector_math" / "coefficients.py"


@dataclass(frozen=True)
class Fit:
    """A polynomial to find: p(x) ≈ function(x) on [low, high], the error multiplied by weight(x), below
    2^-bits.
    """

    name: str
    meaning: str
    function: Real
    low: Any
    high: Any
    weight: Real
    bits: float
    single: bool


def remez(fit: Fit, degree: int) -> tuple[list[BigFloat], BigFloat]:
    """Return the coefficients, the constant first, and the largest weighted error."""
    count = degree + 2
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    points = [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]
    steps = 30 * count
    grid = [middle - half * mp.cos(mp.pi * i / steps) for i in range(steps + 1)]
    targets, weights = [fit.function(x) for x in grid], [fit.weight(x) for x in grid]
    # Where the weight vanishes, the exchange would be singular: a thousandth of the largest costs nothing.
    floor = max(abs(w) for w in weights) / 1000
    weights = [max(abs(w), floor) for w in weights]
    for _ in range(20):
        matrix, right = mp.matrix(count, count), mp.matrix(count, 1)
        for i, x in enumerate(points):
            for j in range(degree + 1):
                matrix[i, j] = x**j
            matrix[i, degree + 1] = (-1) ** i / max(abs(fit.weight(x)), floor)
            right[i] = fit.function(x)
        coefficients = list(mp.lu_solve(matrix, right))[: degree + 1]
        backwards = coefficients[::-1]
        errors = [(mp.polyval(backwards, x) - t) * w for x, t, w in zip(grid, targets, weights)]
        extremes = _extremes(errors)
        while len(extremes) > count:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        levels = [abs(errors[i]) for i in extremes]
        if len(extremes) < count or max(levels) < 1.02 * min(levels):
            break
        points = [grid[i] for i in extremes]
    return coefficients, max(abs(e) for e in errors)


def _extremes(errors: list[BigFloat]) -> list[int]:
    """Return the place of the largest error of each run of one sign."""
    found, start = [], 0
    for i in range(1, len(errors) + 1):
        if i == len(errors) or (errors[i] > 0) != (errors[start] > 0):
            found.append(max(range(start, i), key=lambda k: abs(errors[k])))
            start = i
    return found


def smallest(fit: Fit) -> tuple[list[BigFloat], BigFloat]:
    """Return the polynomial of the least degree that meets the bound."""
    for degree in range(1, 40):
        coefficients, error = remez(fit, degree)
        if error < mp.mpf(2) ** -fit.bits:
            return coefficients, error
    raise SystemExit(f"{fit.name}: no degree below 40 gives 2^-{fit.bits}")


def series(function: Real, small: Callable[[BigFloat], BigFloat]) -> Real:
    """Return ``function`` with ``small`` near 0, where it is 0/0."""
    return lambda x: small(x) if abs(x) < mp.mpf(2) ** -80 else function(x)


def odd_rest(function: Real, third: BigFloat) -> tuple[Real, Real]:
    """For an odd f with f'(0) = 1: return (u ↦ (f(√u) - √u) / √u³, the weight that makes its error relative
    to f).
    """

    def rest(u: BigFloat) -> BigFloat:
        x = mp.sqrt(u)
        return (function(x) - x) / x**3

    def weight(u: BigFloat) -> BigFloat:
        x = mp.sqrt(u)
        return x**3 / function(x)

    return series(rest, lambda u: third), series(weight, lambda u: u)


def fits() -> list[Fit]:
    """Return every polynomial, in the order of the file."""
    edge = mp.log(2) / 2 * mp.mpf("1.0001")
    root = mp.sqrt(2) * mp.mpf("1.00001")
    atanh_edge = ((root - 1) / (root + 1)) ** 2
    tanh_rest, tanh_weight = odd_rest(mp.tanh, -mp.mpf(1) / 3)
    sin_rest, sin_weight = odd_rest(mp.sin, -mp.mpf(1) / 6)
    exp_rest = series(lambda r: (mp.expm1(r) - r) / r**2, lambda r: mp.mpf(1) / 2)
    log_rest = series(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, lambda f: mp.mpf(1) / 3)
    erf_rest = series(
        lambda u: mp.erf(mp.sqrt(u)) / mp.sqrt(u) - 1,
        lambda u: 2 / mp.sqrt(mp.pi) - 1 - 2 / mp.sqrt(mp.pi) * u / 3,
    )
    erf_weight = series(lambda u: mp.sqrt(u) / mp.erf(mp.sqrt(u)), lambda u: mp.sqrt(mp.pi) / 2)
    cos_rest = series(lambda u: (mp.cos(mp.sqrt(u)) - 1 + u / 2) / u**2, lambda u: mp.mpf(1) / 24 - u / 720)
    atanh_rest = series(lambda z: 2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2, lambda z: 2 * z / 3)
    quarter = (mp.pi / 4 * mp.mpf("1.0001")) ** 2
    found = []
    for single, bits in ((True, 27.5), (False, 57.0)):
        suffix = "32" if single else "64"
        top = 4.0 if single else 6.0
        found += [
            Fit(f"EXP_{suffix}", "(exp r - 1 - r) / r²", exp_rest, -edge, edge,
                lambda r: r**2 / mp.exp(r), bits, single),
            Fit(f"TANH_{suffix}", "(tanh x - x) / x³ in x², x ≤ 1", tanh_rest, mp.mpf(0), mp.mpf(1),
                tanh_weight, bits, single),
            Fit(f"ERF_{suffix}", "erf x / x - 1 in x², x ≤ 1", erf_rest, mp.mpf(0), mp.mpf(1),
                erf_weight, bits, single),
            Fit(f"ERFC_{suffix}", f"-log erfc x in x - 1, 1 ≤ x ≤ {top}", lambda t: -mp.log(mp.erfc(1 + t)),
                mp.mpf(0), mp.mpf(top - 1), lambda t: 2 * mp.erfc(1 + t), bits, single),
            Fit(f"SIN_{suffix}", "(sin x - x) / x³ in x², x ≤ π/4", sin_rest, mp.mpf(0), quarter,
                sin_weight, bits, single),
            Fit(f"COS_{suffix}", "(cos x - 1 + x²/2) / x⁴ in x², x ≤ π/4", cos_rest, mp.mpf(0), quarter,
                lambda u: u**2, bits, single),
        ]  # fmt: skip
    found.append(
        Fit("LOG_32", "(log(1 + f) - f + f²/2) / f³", log_rest, 1 / root - 1, root - 1,
            series(lambda f: f**3 / mp.log1p(f), lambda f: f**2), 27.0, True)
    )  # fmt: skip
    found.append(
        Fit(
            "LOG_64",
            "2 atanh s / s - 2 in s²",
            atanh_rest,
            mp.mpf(0),
            atanh_edge,
            lambda z: mp.mpf(1) / 2,
            60.0,
            False,
        )
    )
    found.append(
        Fit(
            "LOG_TAIL_64",
            "(2 atanh s / s - 2 - 2 s² / 3) / s⁴ in s²",
            series(
                lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2 - 2 * z / 3) / z**2,
                lambda z: mp.mpf(2) / 5 + 2 * z / 7,
            ),
            mp.mpf(0),
            atanh_edge,
            lambda z: z**2 / 2,
            69.0,
            False,
        )
    )
    return found


def parts(value: BigFloat, widths: list[int]) -> list[float]:
    """Return ``value`` as a sum of floats, of as many bits as ``widths`` says, each cut off, not rounded."""
    found = []
    for width in widths:
        scale = mp.mpf(2) ** (width - 1 - int(mp.floor(mp.log(value, 2))))
        found.append(float(mp.floor(value * scale) / scale))
        value -= found[-1]
    return found


def numbers() -> list[str]:
    """Return the lines of the constants that are no polynomials."""
    half_pi, two_thirds = mp.pi / 2, mp.mpf(2) / 3
    lines = []
    for name, values, meaning in (
        ("HALF_PI_PARTS", parts(half_pi, [33, 33, 33, 53]), "π/2 as a sum; three parts have 33 bits."),
        ("HALF_PI", [float(half_pi), float(half_pi - float(half_pi))], "π/2 as a sum of two."),
        ("TWO_THIRDS", [float(two_thirds), float(two_thirds - float(two_thirds))], "2/3 as a sum of two."),
    ):
        lines += [f"{name} = ("] + [f"    {value!r}," for value in values] + [")", f'"""{meaning}"""', ""]
    lines += [f"TWO_OVER_PI = {float(2 / mp.pi)!r}", ""]
    with mp.workprec(1400):
        bits = int(mp.floor(2 / mp.pi * mp.mpf(2) ** (64 * 19)))
    words = [bits >> 64 * (18 - i) & (1 << 64) - 1 for i in range(19)]
    lines += ["TWO_OVER_PI_WORDS = ("] + [f"    0x{word:016X}," for word in [0, *words]] + [")"]
    return [*lines, '"""The bits of 2/π, most significant first; the first word is its integer part."""', ""]


def literal(value: BigFloat, single: bool) -> str:
    """Return the nearest double, or float32, as Python writes it."""
    number = float(value)
    return repr(struct.unpack("<f", struct.pack("<f", number))[0] if single else number)


def main() -> None:
    """Fit everything and write the file."""
    with mp.workprec(PRECISION):
        write()


def write() -> None:
    """``main``, at full precision."""
    lines = [
        '"""Minimax polynomials, the constant term first. Made by ``tools/generate_coefficients.py``."""',
        "",
    ]
    for fit in fits():
        coefficients, error = smallest(fit)
        print(f"{fit.name}: degree {len(coefficients) - 1}, 2^{float(mp.log(error, 2)):.1f}", flush=True)
        lines += [f"{fit.name} = ("] + [f"    {literal(c, fit.single)}," for c in coefficients] + [")"]
        lines += [f'"""{fit.meaning}; error 2^{float(mp.log(error, 2)):.1f}."""', ""]
    TARGET.write_text("\n".join([*lines, *numbers()]))


if __name__ == "__main__":
    main()
