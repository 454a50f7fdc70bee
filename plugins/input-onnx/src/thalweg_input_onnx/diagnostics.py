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


class UnknownValue(UnsupportedForm):
    """A node that needs an input's elements while the model is compiled, where they are computed from the
    model's inputs.
    """


class UnsupportedModel(CompileError):
    """A valid model with nodes that cannot be imported: all of them, in ``problems``."""

    def __init__(self, message: str, problems: Sequence[Problem]):
        super().__init__(message)
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Problem:
    """One node that cannot be imported.

    ``needs_constant``: the node would be supported if its inputs (but for the first) were constants.
    """

    node: str
    op: str
    domain: str
    opset: int
    reason: str
    remedy: str
    needs_constant: bool = False

    def __str__(self) -> str:
        domain, op = (t if t.isprintable() else repr(t) for t in (self.domain or "ai.onnx", self.op))
        help_ = f"; {self.remedy}" if self.remedy else ""
        return f"node {self.node!r}: {op} (domain {domain}, opset {self.opset}): {self.reason}{help_}"


def unsupported(problems: Sequence[Problem]) -> UnsupportedModel:
    """Return the one error that lists every problem."""
    start = "input: this ONNX model cannot be compiled"
    if len(problems) == 1:
        return UnsupportedModel(f"{start}: {problems[0]}", problems)
    lines = "\n".join(f"  {problem}" for problem in problems)
    return UnsupportedModel(f"{start}, {len(problems)} nodes are not supported:\n{lines}", problems)
