"""Assertions that say what was asked, what came and what should have come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from thalweg.api import NotSupported

from thalweg_conformance.outcomes import one_line


def equal(came: Any, should: Any, asked: str) -> None:
    """Check one value."""
    if came != should:
        raise AssertionError(f"{asked}: came {came!r}, but should be {should!r}")


def holds(condition: bool, came: object, should: str, asked: str) -> None:
    """Check a condition on what came; ``should`` says it in words."""
    if not condition:
        raise AssertionError(f"{asked}: came {came!r}, but should be {should}")


def same_bytes(came: bytes, should: bytes, asked: str) -> None:
    """Check bytes; names the first that differs."""
    if len(came) != len(should):
        raise AssertionError(f"{asked}: came {len(came)} bytes, but should be {len(should)}")
    if came != should:
        different = np.flatnonzero(np.frombuffer(came, np.uint8) != np.frombuffer(should, np.uint8))
        first = int(different[0])
        raise AssertionError(
            f"{asked}: byte {first} came as {came[first]:#04x}, but should be {should[first]:#04x}"
            f" ({len(different)} of {len(should)} bytes differ)"
        )


def same_floats(came: bytes, should: np.ndarray, asked: str) -> None:
    """Check float32 values, to a relative error of 1e-6."""
    values = np.frombuffer(came, np.float32)
    equal(values.size, should.size, f"{asked}: number of elements")
    wrong = np.flatnonzero(~np.isclose(values, should.astype(np.float32).reshape(-1), rtol=1e-6, atol=0))
    if wrong.size:
        first = int(wrong[0])
        raise AssertionError(
            f"{asked}: element {first} came as {values[first]!r}, but should be {should.reshape(-1)[first]!r}"
            f" ({wrong.size} of {should.size} elements differ)"
        )


@contextmanager
def raises(
    kind: type[BaseException] | tuple[type[BaseException], ...], asked: str
) -> Iterator[list[BaseException]]:
    """Check that the block raises ``kind``; gives a list that holds the error afterwards.

    A ``NotSupported`` that is not asked for passes through, because it may be the right answer.
    """
    wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
    caught: list[BaseException] = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
        return
    except NotSupported:
        raise
    except Exception as error:
        raise AssertionError(f"{asked}: raised {one_line(error)}, but should raise {wanted}") from error
    raise AssertionError(f"{asked}: nothing was raised, but should raise {wanted}")
