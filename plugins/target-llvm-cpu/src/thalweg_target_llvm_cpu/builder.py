"""A writer of LLVM IR text for kernels: typed values, structured control flow, vectors.

It makes text and calls no LLVM. Mutable state (loop counters, accumulators) lives in allocas of the entry
block, which LLVM's SROA turns into registers, so loops need no explicit phi.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from thalweg.extents import Atom, Expression, Extent, floor_divide, minimum
from thalweg.hal import kernel_abi

LLVM_TYPES = {
    "f32": "float", "f64": "double", "f16": "half", "bf16": "bfloat",
    "i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "index": "i64",
    "ui8": "i8", "ui16": "i16", "ui32": "i32", "ui64": "i64",
}  # fmt: skip
"""Element name → LLVM scalar type in registers (``i1`` is one byte in memory)."""

ELEMENT_BYTES = {
    "f32": 4, "f64": 8, "f16": 2, "bf16": 2, "i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "index": 8,
    "ui8": 1, "ui16": 2, "ui32": 4, "ui64": 8,
}  # fmt: skip

FLOATS = frozenset({"f16", "bf16", "f32", "f64"})
"""The element names of floats."""

_MANGLED = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}


@dataclass(frozen=True)
class Value:
    """An SSA value or a literal: its text and LLVM type (``float``, ``<16 x float>``, ``i64``, ``ptr``,
    …).
    """

    text: str
    type: str

    @property
    def lanes(self) -> int:
        """Vector length; 1 for a scalar."""
        return int(self.type[1:].split(" x ")[0]) if self.type.startswith("<") else 1

    @property
    def scalar_type(self) -> str:
        """The element's LLVM type."""
        return self.type[:-1].split(" x ")[1] if self.type.startswith("<") else self.type


Int = Value | Extent
"""An i64: a value, a Python int that is folded where it can be, or an expression of the dispatch's
dimensions, which is folded with its like and computed once, at the kernel's start, where a value is needed.
"""


def vector_type(scalar: str, lanes: int) -> str:
    """Return ``<lanes x scalar>``, or the scalar type for one lane."""
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def mangled(type_: str) -> str:
    """Return an intrinsic's type suffix (``<16 x float>`` → ``v16f32``)."""
    if type_.startswith("<"):
        lanes, scalar = type_[1:-1].split(" x ")
        return f"v{lanes}{mangled(scalar)}"
    return "p0" if type_ == "ptr" else _MANGLED.get(type_, type_)


def float_literal(value: float, scalar: str) -> str:
    """Return a float constant as LLVM writes it exactly: the bits of the double, or of the half types."""
    if scalar in ("float", "double"):
        if scalar == "float":
            value = (
                struct.unpack("<f", struct.pack("<f", value))[0]
                if abs(value) <= 3.4028235677973366e38
                else value
            )
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if scalar == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # bfloat: round to nearest even
    return f"0xR{bits & 0xFFFF:04X}"


class Variable:
    """A mutable cell of a kernel, held in a register after optimisation."""

    def __init__(self, builder: KernelBuilder, type_: str):
        self._builder = builder
        self.type = type_
        self.pointer = builder.alloca(type_)

    def get(self) -> Value:
        """Read the cell."""
        return self._builder.emit(f"load {self.type}, ptr {self.pointer.text}", self.type)

    def set(self, value: Value) -> None:
        """Write the cell."""
        assert value.type == self.type, (value, self.type)
        self._builder.line(f"store {self.type} {value.text}, ptr {self.pointer.text}")


class KernelBuilder:
    """Writes one kernel function of the kernel C ABI.

    :param dimensions: the names of the dispatch's dynamic dimensions; push constant i is the value of name i.
    """

    def __init__(self, name: str, dimensions: Sequence[str] = ()):
        self.name = name
        self._dimensions = tuple(dimensions)
        self._extents: dict[object, Value] = {}
        self._entry: list[str] = []
        self._prologue: list[str] = []
        self._body: list[str] = []
        self._declarations: dict[str, str] = {}
        self._globals: list[str] = []
        self._count = 0
        self.math_calls: set[tuple[str, int, str]] = set()
        """(function, lanes, element name) of each vector-math function the kernel calls."""
        self.dispatch = Value("%dispatch", "ptr")
        self.workgroup = Value("%workgroup", "ptr")
        self._bindings: dict[int, Value] = {}

    # -- text
    # -----------------------------------------------------------------------------------------------------

    def _fresh(self, stem: str = "v") -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def line(self, text: str) -> None:
        """Append an instruction without a result."""
        self._body.append("  " + text)

    def emit(self, text: str, type_: str) -> Value:
        """Append an instruction with a result of ``type_``."""
        name = "%" + self._fresh()
        self._body.append(f"  {name} = {text}")
        return Value(name, type_)

    def alloca(self, type_: str) -> Value:
        """Reserve a stack slot in the entry block."""
        name = "%" + self._fresh("a")
        self._entry.append(f"  {name} = alloca {type_}")
        return Value(name, "ptr")

    def variable(self, value: Value) -> Variable:
        """Return a mutable cell that starts as ``value``."""
        cell = Variable(self, value.type)
        cell.set(value)
        return cell

    def text(self) -> str:
        """Return the function's text with the declarations of the intrinsics it uses."""
        lines = [
            f"define i32 @{self.name}(ptr noalias readonly %dispatch, ptr noalias readonly %workgroup)"
            " nounwind {"
        ]
        lines += ["entry:", *self._entry, *self._prologue, "  br label %start", "start:", *self._body]
        lines += [f"  ret i32 {kernel_abi.STATUS_OK}", "}"]
        return "\n".join([*self._globals, *sorted(self._declarations.values()), "", *lines, ""])

    # -- extents
    # --------------------------------------------------------------------------------------------------

    @contextmanager
    def _in_prologue(self) -> Iterator[None]:
        body, self._body = self._body, self._prologue
        try:
            yield
        finally:
            self._body = body

    def extent(self, extent: Expression) -> Value:
        """Return the value of an expression of dimensions; it is computed once, before everything else."""
        if extent not in self._extents:
            with self._in_prologue():
                self._extents[extent] = self._sum(extent)
        return self._extents[extent]

    def _sum(self, extent: Expression) -> Value:
        total: Value | None = None
        for monomial, coefficient in extent.terms:
            product: Value | None = None
            for atom in monomial:
                factor = self._atom(atom)
                product = factor if product is None else self.binary("mul nsw", product, factor)
            if product is None:
                product = Value(str(coefficient), "i64")
            elif coefficient != 1:
                product = self.binary("mul nsw", product, Value(str(coefficient), "i64"))
            total = product if total is None else self.binary("add nsw", total, product)
        assert total is not None
        return total

    def _atom(self, atom: Atom) -> Value:
        if atom not in self._extents:
            if isinstance(atom, str):
                self._extents[atom] = self._dimension(atom)
            else:
                left, right = self.integer(atom.left), self.integer(atom.right)
                if atom.operator == "//":
                    self._extents[atom] = self._floor_division(left, right)
                else:
                    self._extents[atom] = self.call_intrinsic(f"llvm.s{atom.operator}", "i64", [left, right])
        return self._extents[atom]

    def _floor_division(self, a: Value, b: Value) -> Value:
        """Round down, also for negative ``a``; ``b`` > 0."""
        remainder = self.binary("srem", a, b)
        sign = self.binary("ashr", remainder, Value("63", "i64"))
        return self.binary("add nsw", self.binary("sdiv", a, b), sign)

    def _dimension(self, name: str) -> Value:
        table = self._field(self.dispatch, kernel_abi.DISPATCH_CONSTANTS, "ptr")
        value = self._field(table, 4 * self._dimensions.index(name), "i32")
        return self.emit(f"zext i32 {value.text} to i64", "i64")

    # -- the kernel's interface
    # -----------------------------------------------------------------------------------

    def _field(self, base: Value, offset: int, type_: str) -> Value:
        address = self.emit(f"getelementptr inbounds i8, ptr {base.text}, i64 {offset}", "ptr")
        return self.emit(f"load {type_}, ptr {address.text}, !invariant.load !{{}}", type_)

    def binding(self, index: int) -> Value:
        """The address of binding ``index``. Ask for all bindings before the first loop or branch."""
        if index not in self._bindings:
            table = self._field(self.dispatch, kernel_abi.DISPATCH_BINDINGS, "ptr")
            self._bindings[index] = self._field(table, 8 * index, "ptr")
        return self._bindings[index]

    def workgroup_id(self, axis: int) -> Value:
        """The workgroup's id along ``axis`` (0 is x), as i64."""
        value = self._field(self.workgroup, kernel_abi.WORKGROUP_ID + 4 * axis, "i32")
        return self.emit(f"zext i32 {value.text} to i64", "i64")

    def local_memory(self) -> Value:
        """The address of the workgroup's local memory (64-byte aligned)."""
        return self._field(self.workgroup, kernel_abi.WORKGROUP_LOCAL_MEMORY, "ptr")

    def fail(self, status: int) -> None:
        """End the kernel with a status of the kernel ABI."""
        self.line(f"ret i32 {status}")
        self.label(self._fresh("dead"))

    # -- constants
    # ------------------------------------------------------------------------------------------------

    def integer(self, value: Int, type_: str = "i64") -> Value:
        """Return an integer literal (splat for a vector type); a ``Value`` is passed through."""
        if isinstance(value, Value):
            return value
        if isinstance(value, Expression):
            scalar = self.extent(value)
            return scalar if type_ == "i64" else self._as(scalar, type_)
        if type_.startswith("<"):
            _, scalar = type_[1:-1].split(" x ")
            return Value(f"splat ({scalar} {value})", type_)
        if type_ == "i1":
            return Value("true" if value else "false", "i1")
        return Value(str(value), type_)

    def _as(self, value: Value, type_: str) -> Value:
        """Return an i64 as another integer type, or as a vector of one."""
        lanes, scalar = (1, type_)
        if type_.startswith("<"):
            words = type_[1:-1].split(" x ")
            lanes, scalar = int(words[0]), words[1]
        return self.broadcast(value if scalar == "i64" else self.cast("trunc", value, scalar), lanes)

    def float(self, value: float, type_: str) -> Value:
        """Return a float literal (splat for a vector type)."""
        if type_.startswith("<"):
            scalar = type_[1:-1].split(" x ")[1]
            return Value(f"splat ({scalar} {float_literal(value, scalar)})", type_)
        return Value(float_literal(value, type_), type_)

    def iota(self, lanes: int, type_: str = "i64") -> Value:
        """Return the vector 0, 1, …, lanes-1."""
        if lanes == 1:
            return Value("0", type_)
        return Value("<" + ", ".join(f"{type_} {i}" for i in range(lanes)) + ">", f"<{lanes} x {type_}>")

    def constant_vector(self, values: Sequence[int], type_: str = "i64") -> Value:
        """Return a vector of integer literals (a scalar for one value)."""
        if len(values) == 1:
            return Value(str(values[0]), type_)
        return Value("<" + ", ".join(f"{type_} {v}" for v in values) + ">", f"<{len(values)} x {type_}>")

    def mask(self, lanes: Sequence[bool]) -> Value:
        """Return a constant i1 vector."""
        return self.constant_vector([int(lane) for lane in lanes], "i1")

    def constant_array(self, values: Sequence[float | int], element: str) -> Value:
        """Put ``values`` into read-only memory of the object, as elements named ``element``; returns their
        address.
        """
        scalar = "i8" if element == "i1" else LLVM_TYPES[element]
        if element in ("f16", "bf16", "f32", "f64"):
            literals = [f"{scalar} {float_literal(float(value), scalar)}" for value in values]
        else:
            literals = [f"{scalar} {int(value)}" for value in values]
        name = f"@{self.name}.{self._fresh('constant')}"
        self._globals.append(
            f"{name} = private unnamed_addr constant [{len(literals)} x {scalar}]"
            f" [{', '.join(literals)}], align 64"
        )
        return Value(name, "ptr")

    # -- arithmetic
    # -----------------------------------------------------------------------------------------------

    def binary(self, opcode: str, a: Value, b: Value) -> Value:
        """An LLVM binary instruction (``fadd``, ``add nsw``, ``shl`` …) on two values of one type."""
        assert a.type == b.type, (opcode, a, b)
        return self.emit(f"{opcode} {a.type} {a.text}, {b.text}", a.type)

    def add(self, a: Int, b: Int) -> Int:
        """i64 addition; folds extents."""
        if not isinstance(a, Value) and not isinstance(b, Value):
            return a + b
        if isinstance(a, int) and a == 0:
            return b
        if isinstance(b, int) and b == 0:
            return a
        return self.binary("add nsw", self.integer(a), self.integer(b))

    def sub(self, a: Int, b: Int) -> Int:
        """i64 subtraction; folds extents."""
        if not isinstance(a, Value) and not isinstance(b, Value):
            return a - b
        if isinstance(b, int) and b == 0:
            return a
        return self.binary("sub nsw", self.integer(a), self.integer(b))

    def mul(self, a: Int, b: Int) -> Int:
        """i64 multiplication; folds extents."""
        if not isinstance(a, Value) and not isinstance(b, Value):
            return a * b
        for x, y in ((a, b), (b, a)):
            if isinstance(x, int) and x in (0, 1):
                return 0 if x == 0 else y
        return self.binary("mul nsw", self.integer(a), self.integer(b))

    def udiv(self, a: Int, b: Int) -> Int:
        """Unsigned i64 division by a positive number; folds extents."""
        if isinstance(b, int) and b == 1:
            return a
        if not isinstance(a, Value) and not isinstance(b, Value):
            return floor_divide(a, b)
        return self.binary("udiv", self.integer(a), self.integer(b))

    def urem(self, a: Int, b: Int) -> Int:
        """Unsigned i64 remainder by a positive number; folds extents."""
        if isinstance(b, int) and b == 1:
            return 0
        if not isinstance(a, Value) and not isinstance(b, Value):
            return a - floor_divide(a, b) * b
        return self.binary("urem", self.integer(a), self.integer(b))

    def minimum(self, a: Int, b: Int) -> Int:
        """Signed i64 minimum; folds extents."""
        if not isinstance(a, Value) and not isinstance(b, Value):
            return minimum(a, b)
        return self.call_intrinsic("llvm.smin", "i64", [self.integer(a), self.integer(b)])

    def icmp(self, predicate: str, a: Value, b: Value) -> Value:
        """Integer or pointer comparison → i1 (vector)."""
        return self.emit(f"icmp {predicate} {a.type} {a.text}, {b.text}", vector_type("i1", a.lanes))

    def fcmp(self, predicate: str, a: Value, b: Value) -> Value:
        """Float comparison → i1 (vector)."""
        return self.emit(f"fcmp {predicate} {a.type} {a.text}, {b.text}", vector_type("i1", a.lanes))

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """``a`` where ``condition``, else ``b``."""
        return self.emit(
            f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}", a.type
        )

    def cast(self, opcode: str, a: Value, scalar: str) -> Value:
        """An LLVM cast (``sext``, ``sitofp``, ``fptrunc`` …) to element type ``scalar``."""
        target = vector_type(scalar, a.lanes)
        return self.emit(f"{opcode} {a.type} {a.text} to {target}", target)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Fused ``a * b + c``; where the target lacks it, LLVM splits it (``llvm.fmuladd``)."""
        return self.call_intrinsic("llvm.fmuladd", a.type, [a, b, c])

    def call_intrinsic(self, stem: str, type_: str, arguments: Sequence[Value]) -> Value:
        """Call an intrinsic overloaded on its result type alone (``llvm.fma``, ``llvm.maximum``,
        ``llvm.smin`` …).
        """
        return self.call(f"{stem}.{mangled(type_)}", type_, arguments)

    def call(
        self, name: str, type_: str, arguments: Sequence[Value], attributes: Sequence[str] = ()
    ) -> Value:
        """Call an external function or intrinsic by its full name, declaring it."""
        marks = [*attributes, *[""] * (len(arguments) - len(attributes))]
        parameters = ", ".join(a.type for a in arguments)
        self._declarations[name] = f"declare {type_} @{name}({parameters})"
        given = ", ".join(f"{a.type} {m + ' ' if m else ''}{a.text}" for a, m in zip(arguments, marks))
        if type_ == "void":
            self.line(f"call void @{name}({given})")
            return Value("", "void")
        return self.emit(f"call {type_} @{name}({given})", type_)

    def math(self, function: str, x: Value, *more: Value) -> Value:
        """Call the plugin's own vector math (``exp``, ``tanh``, …) on a float scalar or vector."""
        element = mangled(x.scalar_type)
        self.math_calls.add((function, x.lanes, element))
        given = ", ".join(f"{a.type} {a.text}" for a in (x, *more))
        return self.emit(f"call {x.type} @thalweg.{function}.{mangled(x.type)}({given})", x.type)

    # -- vectors
    # --------------------------------------------------------------------------------------------------

    def broadcast(self, x: Value, lanes: int) -> Value:
        """Return a vector whose lanes are all the scalar ``x``."""
        if lanes == 1:
            return x
        type_ = vector_type(x.type, lanes)
        one = self.emit(f"insertelement {type_} poison, {x.type} {x.text}, i64 0", type_)
        return self.emit(
            f"shufflevector {type_} {one.text}, {type_} poison, <{lanes} x i32> zeroinitializer", type_
        )

    def broadcast_literal(self, literal: Value, lanes: int) -> Value:
        """Return a literal (of ``integer`` or ``float``) as a splat vector."""
        return (
            literal
            if lanes == 1
            else Value(f"splat ({literal.type} {literal.text})", vector_type(literal.type, lanes))
        )

    def shuffle(self, a: Value, b: Value, indices: Sequence[int]) -> Value:
        """``shufflevector`` of two vectors of one type."""
        mask = ", ".join(f"i32 {i}" for i in indices)
        type_ = vector_type(a.scalar_type, len(indices))
        return self.emit(
            f"shufflevector {a.type} {a.text}, {b.type} {b.text}, <{len(indices)} x i32> <{mask}>", type_
        )

    def extract(self, x: Value, lane: int) -> Value:
        """Return one lane."""
        if x.lanes == 1:
            return x
        return self.emit(f"extractelement {x.type} {x.text}, i64 {lane}", x.scalar_type)

    def insert(self, x: Value, element: Value, lane: int) -> Value:
        """Return ``x`` with one lane replaced."""
        return self.emit(
            f"insertelement {x.type} {x.text}, {element.type} {element.text}, i64 {lane}", x.type
        )

    def lane_mask(self, count: Int, lanes: int) -> Value:
        """Return the i1 vector that is true in lanes below ``count`` (i64)."""
        limit = self.broadcast(self.integer(count), lanes)
        return self.icmp("slt", self.iota(lanes), limit)

    # -- memory
    # ---------------------------------------------------------------------------------------------------

    def address(self, base: Value, index: Int, scalar: str) -> Value:
        """``&base[index]`` for elements of LLVM type ``scalar`` (``i1`` counts as a byte)."""
        if isinstance(index, int) and index == 0:
            return base
        scalar = "i8" if scalar == "i1" else scalar
        index = self.integer(index)
        return self.emit(f"getelementptr inbounds {scalar}, ptr {base.text}, i64 {index.text}", "ptr")

    def load(self, pointer: Value, type_: str, align: int, invariant: bool = False) -> Value:
        """Load a scalar or vector; ``align`` in bytes. ``invariant``: nobody writes there while the kernel
        runs.
        """
        mark = ", !invariant.load !{}" if invariant else ""
        return self.emit(f"load {type_}, ptr {pointer.text}, align {align}{mark}", type_)

    def store(self, value: Value, pointer: Value, align: int) -> None:
        """Store a scalar or vector; ``align`` in bytes."""
        self.line(f"store {value.type} {value.text}, ptr {pointer.text}, align {align}")

    def masked_load(self, pointer: Value, mask: Value, passthrough: Value, align: int) -> Value:
        """Load the lanes where ``mask`` is true; the others come from ``passthrough``."""
        name = f"llvm.masked.load.{mangled(passthrough.type)}.p0"
        return self.call(name, passthrough.type, [pointer, mask, passthrough], [f"align {align}"])

    def masked_store(self, value: Value, pointer: Value, mask: Value, align: int) -> None:
        """Store the lanes where ``mask`` is true."""
        name = f"llvm.masked.store.{mangled(value.type)}.p0"
        self.call(name, "void", [value, pointer, mask], ["", f"align {align}"])

    def gather(self, base: Value, indices: Value, mask: Value, passthrough: Value, align: int) -> Value:
        """Load ``base[indices]`` lane by lane where ``mask`` is true."""
        scalar = passthrough.scalar_type
        type_ = vector_type("ptr", indices.lanes)
        pointers = self.emit(
            f"getelementptr inbounds {scalar}, ptr {base.text}, {indices.type} {indices.text}", type_
        )
        name = f"llvm.masked.gather.{mangled(passthrough.type)}.v{indices.lanes}p0"
        return self.call(name, passthrough.type, [pointers, mask, passthrough], [f"align {align}"])

    # -- control flow
    # ---------------------------------------------------------------------------------------------

    def label(self, name: str) -> None:
        """Start a basic block."""
        self._body.append(f"{name}:")

    def branch(self, label: str) -> None:
        """Jump."""
        self.line(f"br label %{label}")

    @contextmanager
    def loop(self, start: Int, stop: Int, step: int = 1) -> Iterator[Int]:
        """``for index in range(start, stop, step)`` with ``step`` > 0; yields the i64 index.

        A loop of exactly one known iteration is written straight, its index a Python int.
        """
        if isinstance(start, int) and isinstance(stop, int) and start < stop <= start + step:
            yield start
            return
        cell = self.variable(self.integer(start))
        head, body, end = self._fresh("head"), self._fresh("body"), self._fresh("end")
        self.branch(head)
        self.label(head)
        index = cell.get()
        inside = self.icmp("slt", index, self.integer(stop))
        self.line(f"br i1 {inside.text}, label %{body}, label %{end}")
        self.label(body)
        yield index
        cell.set(self.binary("add nsw", index, self.integer(step)))
        self.branch(head)
        self.label(end)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Write a block that runs only if ``condition`` (i1) holds."""
        body, end = self._fresh("then"), self._fresh("endif")
        self.line(f"br i1 {condition.text}, label %{body}, label %{end}")
        self.label(body)
        yield
        self.branch(end)
        self.label(end)

    def choose(self, condition: Value, then, otherwise) -> None:
        """Write ``then()`` for the case that ``condition`` (i1) holds and ``otherwise()`` for the other."""
        yes, no, end = self._fresh("then"), self._fresh("else"), self._fresh("endif")
        self.line(f"br i1 {condition.text}, label %{yes}, label %{no}")
        self.label(yes)
        then()
        self.branch(end)
        self.label(no)
        otherwise()
        self.branch(end)
        self.label(end)
