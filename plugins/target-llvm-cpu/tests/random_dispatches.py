"""Random operands and epilogues for the emitters' tests; everything follows from a generator with a printed
seed.
"""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import FLOATS, PROCESSORS
from thalweg.dtypes import numpy_dtype
from thalweg.ir import FunctionBuilder, element_name
from xdsl.ir import SSAValue

EXTENTS = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 23, 31, 32, 33, 37, 64, 67)
"""Ones, powers of two, primes, and their neighbours."""


def cases(count: int):
    """Give a test the arguments ``case`` and ``cpu``: a processor for each case, all of them in ``make
    test-full``.
    """
    found = []
    for case in range(count):
        for number, cpu in enumerate(PROCESSORS):
            marks = () if case % len(PROCESSORS) == number else (pytest.mark.full,)
            found.append(pytest.param(case, cpu, marks=marks))
    return pytest.mark.parametrize(("case", "cpu"), found)


def generator(test: str, case: int) -> np.random.Generator:
    """Return the generator of a case; pytest shows the line when the test fails."""
    print(f"seed: {test} {case}")
    return np.random.default_rng([*test.encode(), case])


def extents(rng: np.random.Generator, rank: int, most: int = 1 << 14) -> tuple[int, ...]:
    """Return a shape of at most ``most`` elements."""
    while True:
        shape = tuple(int(v) for v in rng.choice(EXTENTS, rank))
        if np.prod(shape, dtype=np.int64) <= most:
            return shape


def tensor(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> np.ndarray:
    """Return a tensor of ordinary floats, or of integers of any size."""
    kind = numpy_dtype(dtype)
    if dtype in FLOATS:
        return (rng.normal(size=shape) * scale).astype(kind)
    if dtype == "i1":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, shape, kind, endpoint=True)


def epilogue(
    rng: np.random.Generator, f: FunctionBuilder, root: SSAValue, other: SSAValue | None
) -> SSAValue:
    """Return ``root`` as it is, or after an elementwise function of it and of ``other`` (broadcast to it)."""
    kind, dtype = int(rng.integers(0, 4)), element_name(root.type)
    if kind == 0:
        return root
    floating = dtype in FLOATS
    if kind == 1 or other is None:
        if floating:
            return f.elementwise([root], lambda s, x: s.maximumf(x, s.constant(0.0, dtype)))
        return f.elementwise([root], lambda s, x: s.muli(x, x))
    if kind == 2:
        name = "addf" if floating else "addi"
        return f.elementwise([root, other], lambda s, x, y: getattr(s, name)(x, y))
    if floating:
        return f.elementwise([other, root], lambda s, y, x: s.tanh(s.mulf(s.addf(y, x), x)))
    return f.elementwise([other, root], lambda s, y, x: s.select(s.cmpi("slt", y, x), y, x))


def broadcast_operand(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return an operand that broadcasts to ``shape``: some leading dimensions missing, some of extent 1."""
    kept = shape[int(rng.integers(0, len(shape) + 1)) :]
    return tensor(rng, tuple(1 if rng.random() < 0.3 else n for n in kept), dtype)
