"""How a rule of the bytecode is stated and broken; shared by the verifier's parts."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.extents import Extent, UnknownOrder, lower_bound, upper_bound

from thalweg_target_vmvx.bytecode import TensorType

FLOATS = frozenset({"f16", "bf16", "f32", "f64"})


class Malformed(Exception):
    """A rule that does not hold; ``verify`` adds where."""


def require(condition: bool, rule: str) -> None:
    """Raise ``Malformed`` with ``rule`` unless ``condition`` holds."""
    if not condition:
        raise Malformed(rule)


def same(a: Extent, b: Extent) -> bool:
    """Return whether two extents are equal.

    :raises UnknownOrder: they are at some calls and not at others, as far as is known.
    """
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    if lower_bound(difference) > 0 or upper_bound(difference) < 0:
        return False
    raise UnknownOrder(f"whether {a} is {b} depends on the call")


def same_shape(a: Sequence[Extent], b: Sequence[Extent]) -> bool:
    """Return whether two shapes are equal. :raises UnknownOrder: see ``same``."""
    return len(a) == len(b) and all(same(m, n) for m, n in zip(a, b))


def same_type(a: TensorType, b: TensorType) -> bool:
    """Return whether two types are equal. :raises UnknownOrder: see ``same``."""
    return a.dtype == b.dtype and same_shape(a.shape, b.shape)


def is_float(type_: TensorType | str) -> bool:
    """Return whether elements are floats."""
    return (type_ if isinstance(type_, str) else type_.dtype) in FLOATS
