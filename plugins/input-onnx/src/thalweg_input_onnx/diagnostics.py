"""What in a model cannot be imported, collected so that all of it is reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.api import CompileError, NotSupported


class UnsupportedForm(NotSupported):
    """A node whose op is known but whose form (attribute, dtype, unknown value) is not; raised by op
    functions.

    :param reason: what is not supported.
    :param remedy: what would help.
    """

    def __init__(self, reason: str, remedy: str = ""):
        super().__init__("onnx-op-form", reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Problem:
    """One node that cannot be imported."""

    node: str
    op: str
    domain: str
    opset: int
    reason: str
    remedy: str

    def __str__(self) -> str:
        domain = self.domain or "ai.onnx"
        help_ = f"; {self.remedy}" if self.remedy else ""
        return f"node {self.node!r}: {self.op} (domain {domain}, opset {self.opset}): {self.reason}{help_}"


def unsupported(problems: Sequence[Problem]) -> CompileError:
    """Return the one error that lists every problem."""
    if len(problems) == 1:
        return CompileError(f"input: this ONNX model cannot be compiled: {problems[0]}")
    lines = "\n".join(f"  {problem}" for problem in problems)
    return CompileError(
        f"input: this ONNX model cannot be compiled, {len(problems)} nodes are not supported:\n{lines}"
    )
