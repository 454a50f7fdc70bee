"""A dispatch as a target backend sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xdsl.dialects import arith, builtin, func, tensor
from xdsl.ir import Operation, SSAValue

from thalweg.extents import Extent, names_in
from thalweg.ir.dialects import linalg
from thalweg.ir.dialects.tw import ExtentOp, SliceOp, SplatOp, StructuredOp
from thalweg.ir.program import parse_module, returned_values
from thalweg.ir.types import extents_of


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

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of the dynamic dimensions that the kernel needs, sorted: its push constants, in this
        order.
        """
        extents: list[Extent] = []
        for op in (self.function, *self.function.walk()):
            values = [*op.operands, *op.results, *(a for r in op.regions for b in r.blocks for a in b.args)]
            for value in values:
                if isinstance(value.type, builtin.TensorType):
                    extents += extents_of(value)
            if isinstance(op, ExtentOp):
                extents.append(op.extent())
            if isinstance(op, SliceOp):
                extents += op.offset_extents()
        return names_in(extents)

    def structured_ops(self) -> Iterator[Operation]:
        """Yield the ``linalg.generic`` and ``tw`` ops in order: the work of this dispatch."""
        for op in self.function.body.block.ops:
            if isinstance(op, StructuredOp | linalg.GenericOp) and not isinstance(op, SplatOp):
                yield op

    def is_scaffold(self, op: Operation) -> bool:
        """Return whether ``op`` is a constant or ``tensor.empty``: no work of its own."""
        return isinstance(op, arith.ConstantOp | tensor.EmptyOp | SplatOp)

    def text(self) -> str:
        """Return the MLIR text of the function."""
        return str(self.function)
