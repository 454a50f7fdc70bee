"""Emission of a ``linalg.generic``'s scalar body, on scalars or vectors of one lane count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from thalweg.api import NotSupported
from thalweg.ir import element_name
from thalweg.ir.dialects import linalg, tw
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from thalweg_target_llvm_cpu.builder import LLVM_TYPES, KernelBuilder, Value, mangled, vector_type

_BINARY = {
    "arith.addf": "fadd", "arith.subf": "fsub", "arith.mulf": "fmul", "arith.divf": "fdiv",
    "arith.addi": "add", "arith.subi": "sub", "arith.muli": "mul",
    "arith.andi": "and", "arith.ori": "or", "arith.xori": "xor",
}  # fmt: skip
_INTRINSICS = {
    "arith.maximumf": "llvm.maximum", "arith.minimumf": "llvm.minimum",
    "math.absf": "llvm.fabs", "math.sqrt": "llvm.sqrt", "math.ceil": "llvm.ceil", "math.floor": "llvm.floor",
    "math.roundeven": "llvm.roundeven",
}  # fmt: skip
_MATH = {
    "math.exp": "exp", "math.log": "log", "math.tanh": "tanh", "math.erf": "erf", "math.sin": "sin",
    "math.cos": "cos", "math.powf": "pow",
}  # fmt: skip
_CASTS = {
    "arith.uitofp": "uitofp", "arith.extf": "fpext", "arith.truncf": "fptrunc", "arith.extsi": "sext",
    "arith.extui": "zext", "arith.trunci": "trunc",
}  # fmt: skip
_FCMP = (
    "false",
    "oeq",
    "ogt",
    "oge",
    "olt",
    "ole",
    "one",
    "ord",
    "ueq",
    "ugt",
    "uge",
    "ult",
    "ule",
    "une",
    "uno",
    "true",
)
_ICMP = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


class ScalarBody:
    """Emits bodies into one kernel. ``index(dimension)`` gives the i64 lanes of an iteration index when
    asked.
    """

    def __init__(self, builder: KernelBuilder, lanes: int, index: Callable[[int], Value] | None = None):
        self._b = builder
        self._lanes = lanes
        self._index = index

    def emit(self, block: Block, arguments: Sequence[Value]) -> Value:
        """Emit ``block`` with its arguments bound to ``arguments`` and return the yielded value."""
        assert isinstance(block.last_op, linalg.YieldOp)
        return self.value(block, arguments, block.last_op.operands[0])

    def value(self, block: Block, arguments: Sequence[Value], wanted: SSAValue) -> Value:
        """Emit ``block`` up to ``wanted``, a value of it, and return that."""
        values: dict[SSAValue, Value] = dict(zip(block.args, arguments))
        for op in block.ops:
            if wanted in values:
                break
            values[op.results[0]] = self._operation(op, values)
        return values[wanted]

    def constant(self, op: arith.ConstantOp) -> Value:
        """Return a scalar ``arith.constant`` as a splat."""
        type_ = vector_type(LLVM_TYPES[element_name(op.result.type)], self._lanes)
        if isinstance(op.value, FloatAttr):
            return self._b.float(op.value.value.data, type_)
        assert isinstance(op.value, IntegerAttr)
        value = op.value.value.data
        return self._b.integer(abs(value) if type_ == "i1" or " i1" in type_ else value, type_)

    def _operation(self, op: Operation, values: Mapping[SSAValue, Value]) -> Value:
        if isinstance(op, arith.ConstantOp):
            return self.constant(op)
        if isinstance(op, linalg.IndexOp):
            if self._index is None:
                raise NotSupported("linalg.index in this kind of kernel")
            return self._index(op.dim.value.data)
        if isinstance(op, tw.ExtentOp):
            value = self._b.integer(op.extent())
            return self._b.broadcast(value, self._lanes)
        logistic = sigmoid_argument(op)
        if logistic is not None:
            return self._math("sigmoid", [values[logistic]], element_name(op.results[0].type))
        return self.apply(op, [values[v] for v in op.operands])

    def apply(self, op: Operation, operands: Sequence[Value]) -> Value:
        """Emit one arith or math op on ``operands`` in place of its own."""
        b, name = self._b, op.name
        element = element_name(op.results[0].type)
        if name in _BINARY:
            return b.binary(_BINARY[name], *operands)
        if name in _INTRINSICS:
            return b.call_intrinsic(_INTRINSICS[name], operands[0].type, operands)
        if name in _MATH:
            return self._math(_MATH[name], operands, element)
        if name in _CASTS:
            return b.cast(_CASTS[name], operands[0], LLVM_TYPES[element])
        special = getattr(self, "_" + name.replace(".", "_"), None)
        if special is None:
            raise NotSupported(name, f"llvm-cpu cannot lower {name} in a fused body")
        return special(op, operands)

    def _math(self, function: str, operands: Sequence[Value], element: str) -> Value:
        if element in ("f16", "bf16"):
            wide = [self._b.cast("fpext", v, "float") for v in operands]
            return self._b.cast("fptrunc", self._b.math(function, *wide), LLVM_TYPES[element])
        return self._b.math(function, *operands)

    def _arith_cmpf(self, op: arith.CmpfOp, operands: Sequence[Value]) -> Value:
        return self._b.fcmp(_FCMP[op.predicate.value.data], *operands)

    def _arith_cmpi(self, op: arith.CmpiOp, operands: Sequence[Value]) -> Value:
        return self._b.icmp(_ICMP[op.predicate.value.data], *operands)

    def _arith_select(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._b.select(*operands)

    def _arith_negf(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._b.emit(f"fneg {operands[0].type} {operands[0].text}", operands[0].type)

    def _arith_index_cast(self, op: Operation, operands: Sequence[Value]) -> Value:
        return operands[0]

    def _arith_sitofp(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._b.cast("sitofp", operands[0], LLVM_TYPES[element_name(op.results[0].type)])

    def _arith_fptosi(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._saturating("llvm.fptosi.sat", op, operands[0])

    def _arith_fptoui(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._saturating("llvm.fptoui.sat", op, operands[0])

    def _saturating(self, stem: str, op: Operation, operand: Value) -> Value:
        type_ = vector_type(LLVM_TYPES[element_name(op.results[0].type)], self._lanes)
        if LLVM_TYPES[element_name(op.results[0].type)] == "i1":  # one bit: 0 and -1, or 0 and 1
            predicate, limit = ("ole", -1.0) if stem == "llvm.fptosi.sat" else ("oge", 1.0)
            return self._b.fcmp(predicate, operand, self._b.float(limit, operand.type))
        return self._b.call(f"{stem}.{mangled(type_)}.{mangled(operand.type)}", type_, [operand])

    def _math_absi(self, op: Operation, operands: Sequence[Value]) -> Value:
        x = operands[0]
        return self._b.call(f"llvm.abs.{mangled(x.type)}", x.type, [x, Value("false", "i1")])

    def _math_rsqrt(self, op: Operation, operands: Sequence[Value]) -> Value:
        root = self._b.call_intrinsic("llvm.sqrt", operands[0].type, operands)
        return self._b.binary("fdiv", self._b.float(1.0, root.type), root)

    def _arith_maxsi(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._b.call_intrinsic("llvm.smax", operands[0].type, operands)

    def _arith_minsi(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._b.call_intrinsic("llvm.smin", operands[0].type, operands)

    def _arith_divsi(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._guarded_division("sdiv", operands)

    def _arith_remsi(self, op: Operation, operands: Sequence[Value]) -> Value:
        return self._guarded_division("srem", operands)

    def _guarded_division(self, opcode: str, operands: Sequence[Value]) -> Value:
        """Signed division that never traps: x / 0 is 0, and x / -1 is computed as negation (wrapping)."""
        b, (x, y) = self._b, operands
        zero, one, minus = (b.integer(v, x.type) for v in (0, 1, -1))
        by_zero, by_minus = b.icmp("eq", y, zero), b.icmp("eq", y, minus)
        safe = b.select(b.binary("or", by_zero, by_minus), one, y)
        quotient = b.binary(opcode, x, safe)
        negated = b.binary("sub", zero, x) if opcode == "sdiv" else zero
        return b.select(by_zero, zero, b.select(by_minus, negated, quotient))


def sigmoid_argument(op: Operation) -> SSAValue | None:
    """Return x where ``op`` is the division of 1 / (1 + e^-x); ``None`` for anything else.

    As it stands e^-x overflows, and the quotient is 0, while the sigmoid is still a number.
    """
    if not isinstance(op, arith.DivfOp) or not _is_one(op.lhs) or not isinstance(op.rhs.owner, arith.AddfOp):
        return None
    terms = list(op.rhs.owner.operands)
    rest = [term for term in terms if not _is_one(term)]
    if len(rest) != 1 or not isinstance(rest[0].owner, math.ExpOp):
        return None
    negation = rest[0].owner.operand.owner
    return negation.operand if isinstance(negation, arith.NegfOp) else None


def _is_one(value: SSAValue) -> bool:
    owner = value.owner
    return (
        isinstance(owner, arith.ConstantOp)
        and isinstance(owner.value, FloatAttr)
        and owner.value.value.data == 1.0
    )
