"""Which function imports which op: filled by ``@onnx_op`` beside each function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx.defs

OpFunction = Callable[..., Any]
"""(Emitter, Node, one ``Tensor`` or None per input …) → the output ``Tensor``, or a tuple of them."""


class OpTable:
    """(domain, op type, schema version) → the function that imports it.

    A schema version that is not in the table was not reviewed: its meaning may have changed, so it is
    reported instead of being read as an older one.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], dict[int, OpFunction]] = {}

    def register(self, op: str, since: Sequence[int], domain: str = "") -> Callable[[OpFunction], OpFunction]:
        """Return a decorator: the function imports ``op`` in the schema versions ``since``."""

        def decorate(function: OpFunction) -> OpFunction:
            versions = self._functions.setdefault((domain, op), {})
            for version in since:
                assert version not in versions, f"{op} version {version} is registered twice"
                versions[version] = function
            return function

        return decorate

    def names(self) -> list[tuple[str, str]]:
        """Return (domain, op type) of every op, sorted."""
        return sorted(self._functions)

    def versions(self, domain: str, op: str) -> tuple[int, ...]:
        """Return the reviewed schema versions of an op; empty for an unknown one."""
        return tuple(sorted(self._functions.get((domain, op), {})))

    def function(self, domain: str, op: str, version: int) -> OpFunction | None:
        """Return the function for exactly this schema version."""
        return self._functions.get((domain, op), {}).get(version)


def schema_version(domain: str, op: str, opset: int) -> int | None:
    """Return the version of the schema that a model at ``opset`` uses; ``None`` for an op onnx does not
    define.
    """
    schema = find_schema(domain, op, opset)
    return None if schema is None else schema.since_version


def find_schema(domain: str, op: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return the schema in force at ``opset``, or ``None``."""
    if not 0 < opset < 2**31:  # what the lookup takes
        return None
    try:
        return onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None


OPS = OpTable()
"""The ops of this package; ``thalweg_input_onnx.ops`` fills it when imported."""

onnx_op = OPS.register
