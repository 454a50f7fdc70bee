"""A program in the IR: an MLIR module and the constants it refers to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from xdsl.context import Context
from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
from xdsl.dialects import arith, builtin, func, math, tensor
from xdsl.ir import Dialect, SSAValue
from xdsl.parser import Parser
from xdsl.utils.exceptions import DiagnosticException, ParseError, VerifyException

from thalweg.dtypes import numpy_dtype
from thalweg.errors import InvalidArgument
from thalweg.ir.dialects import linalg
from thalweg.ir.dialects.tw import TW
from thalweg.ir.types import element_name


def context() -> Context:
    """Return an xDSL context with every dialect of Thalweg's pipeline."""
    from thalweg.ir.dialects.host import FLOW, HAL, STREAM, VM  # only the compiler's later phases need them

    # xDSL's builtin dialect object keeps the resource names of all it ever parsed, and renames equal ones
    own_builtin = Dialect(
        "builtin",
        list(builtin.Builtin.operations),
        list(builtin.Builtin.attributes),
        [OpAsmDialectInterface()],
    )
    ctx = Context()
    others = (func.Func, arith.Arith, math.Math, linalg.Linalg, tensor.Tensor, TW, FLOW, STREAM, HAL, VM)
    for dialect in (own_builtin, *others):
        ctx.load_dialect(dialect)
    return ctx


class _Parser(Parser):
    """xDSL's parser; in dense literals it takes ``0xFF800000`` as a float's bits, which xDSL prints but
    misreads.
    """

    class _TensorLiteralElement(Parser._TensorLiteralElement):
        def to_type(self, parser, type):
            if isinstance(type, builtin.AnyFloat) and self.span.text.startswith("0x"):
                dtype = numpy_dtype(element_name(type))
                return float(np.array(self.value, np.dtype(f"u{dtype.itemsize}")).view(dtype))
            return super().to_type(parser, type)


def parse_module(text: str, name: str = "<text>") -> builtin.ModuleOp:
    """Parse and verify MLIR text.

    :raises InvalidArgument: with xDSL's diagnostic (file:line:col and carets).
    """
    try:
        module = _Parser(context(), text, name).parse_module()
        module.verify()
    except (ParseError, VerifyException, DiagnosticException) as error:
        raise InvalidArgument(f"{name} is not valid IR: {error}") from None
    return module


def returned_values(function: func.FuncOp) -> tuple[SSAValue, ...]:
    """Return the values that a function's ``return`` gives back.

    :raises InvalidArgument: the body does not end in ``return``.
    """
    terminator = function.body.block.last_op
    if not isinstance(terminator, func.ReturnOp):
        raise InvalidArgument(f"the body of function {function.sym_name.data!r} does not end in func.return")
    return tuple(terminator.operands)


@dataclass
class Program:
    """``resources``: name → array; ``arith.constant dense_resource<name>`` refers to it. Arrays are not
    copied.
    """

    module: builtin.ModuleOp
    resources: dict[str, np.ndarray] = field(default_factory=dict)

    def text(self) -> str:
        """Return the MLIR text, without the resources' bytes."""
        return str(self.module) + "\n"

    @classmethod
    def parse(
        cls, text: str, resources: dict[str, np.ndarray] | None = None, name: str = "<text>"
    ) -> Program:
        """Parse MLIR text; see ``parse_module``."""
        return cls(parse_module(text, name), dict(resources or {}))

    def functions(self) -> list[func.FuncOp]:
        """Return the public functions, in order."""
        return [op for op in self.module.ops if isinstance(op, func.FuncOp)]
