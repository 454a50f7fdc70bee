"""How a rule of the bytecode is stated and broken; shared by the verifier's parts."""

from __future__ import annotations

from thalweg_target_vmvx.bytecode import TensorType

FLOATS = frozenset({"f16", "bf16", "f32", "f64"})


class Malformed(Exception):
    """A rule that does not hold; ``verify`` adds where."""


def require(condition: bool, rule: str) -> None:
    """Raise ``Malformed`` with ``rule`` unless ``condition`` holds."""
    if not condition:
        raise Malformed(rule)


def is_float(type_: TensorType | str) -> bool:
    """Return whether elements are floats."""
    return (type_ if isinstance(type_, str) else type_.dtype) in FLOATS
