"""A dispatch as a target backend sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xdsl.dialects import arith, func, tensor
from xdsl.ir import Operation, SSAValue

from thalweg.ir.dialects import linalg
from thalweg.ir.dialects.tw import StructuredOp
from thalweg.ir.program import parse_module, returned_values


@dataclass(frozen=True)
class Dispatch:
    """One ``func.func`` on tensors that becomes a kernel: structured ops, then ``return``.

    ``constant_operands``: the operands (by index) that are constants, and may therefore be packed.
    """

    function: func.FuncOp
    constant_operands: frozenset[int] = frozenset()
    packed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Dispatch:
        """Parse the text of one function."""
        module = parse_module(text)
        (function,) = [op for op in module.ops if isinstance(op, func.FuncOp)]
        return cls(function)

    @property
    def name(self) -> str:
        """The function's symbol: the kernel's name."""
        return self.function.sym_name.data

    @property
    def operands(self) -> tuple[SSAValue, ...]:
        """The operands; bindings 0 … n-1."""
        return tuple(self.function.body.block.args)

    @property
    def results(self) -> tuple[SSAValue, ...]:
        """The values that ``return`` gives back; bindings n …"""
        return returned_values(self.function)

    def structured_ops(self) -> Iterator[Operation]:
        """Yield the ``linalg.generic`` and ``tw`` ops in order: the work of this dispatch."""
        for op in self.function.body.block.ops:
            if isinstance(op, StructuredOp | linalg.GenericOp):
                yield op

    def is_scaffold(self, op: Operation) -> bool:
        """Return whether ``op`` is a constant or ``tensor.empty``: no work of its own."""
        return isinstance(op, arith.ConstantOp | tensor.EmptyOp)

    def text(self) -> str:
        """Return the MLIR text of the function."""
        return str(self.function)
