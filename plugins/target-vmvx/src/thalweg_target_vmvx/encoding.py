"""Functions and executables as bytes.

Reading checks every length and code; registers and types are checked by ``verification``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from thalweg.api import InvalidArgument, ModuleFormatError
from thalweg.dtypes import numpy_dtype
from thalweg.extents import MAX_TEXT, Extent, dimension, is_static, names_in, parse, static
from thalweg.semantics import GenericForm, ScalarStep

from thalweg_target_vmvx.bytecode import (
    DTYPE_CODES,
    SCALAR_CODES,
    STRUCTURED_CODES,
    Constant,
    Function,
    Generic,
    Instruction,
    Splat,
    Structured,
    TensorType,
)

MAGIC = b"TWVMVX01"
CONSTANT, GENERIC, SPLAT, STRUCTURED = 0, 1, 2, 16
"""Opcodes; a structured op's is ``STRUCTURED`` plus its code."""

DYNAMIC = b"\x80\x00"
"""What a function with dimensions starts with: no ``uint``, so that a loader without them refuses it."""

MAX_RANK = 16
MAX_DIMENSIONS = 64
MAX_EXPRESSIONS = 4096
MAX_INTEGER = 1 << 63

_STRUCTURED_NUMBER = {name: code for code, (name, _) in enumerate(STRUCTURED_CODES)}


class Writer:
    """Appends values to a byte string: integers as LEB128, signed ones in zigzag, the rest little-endian."""

    def __init__(self, expressions: dict[Extent, int] | None = None) -> None:
        self.data = bytearray()
        self.expressions = expressions
        """In a function with dimensions, the number of each extent that is not written as itself."""

    def byte(self, value: int) -> None:
        """Append one byte."""
        self.data.append(value)

    def uint(self, value: int) -> None:
        """Append an unsigned integer."""
        while value >= 0x80:
            self.data.append(value & 0x7F | 0x80)
            value >>= 7
        self.data.append(value)

    def int(self, value: int) -> None:
        """Append a signed integer."""
        self.uint(value << 1 if value >= 0 else (-value << 1) - 1)

    def ints(self, values: Sequence[int]) -> None:
        """Append a count and that many signed integers."""
        self.uint(len(values))
        for value in values:
            self.int(value)

    def extent(self, value: Extent) -> None:
        """Append an extent: a number from 0 on as it is, -1 - k for expression k."""
        if self.expressions is not None and not (isinstance(value, int) and value >= 0):
            value = -1 - self.expressions.setdefault(value, len(self.expressions))
        self.int(static((value,))[0])

    def extents(self, values: Sequence[Extent]) -> None:
        """Append a count and that many extents."""
        self.uint(len(values))
        for value in values:
            self.extent(value)

    def number(self, value: float | int) -> None:
        """Append a tag (0 integer, 1 float64) and a number."""
        if isinstance(value, float):
            self.byte(1)
            self.data += struct.pack("<d", value)
        else:
            self.byte(0)
            self.int(value)

    def text(self, value: str) -> None:
        """Append a count of bytes and UTF-8."""
        encoded = value.encode()
        self.uint(len(encoded))
        self.data += encoded

    def dtype(self, name: str) -> None:
        """Append an element type's code."""
        self.byte(DTYPE_CODES.index(name))

    def tensor(self, type_: TensorType) -> None:
        """Append a tensor type."""
        self.dtype(type_.dtype)
        self.extents(type_.shape)

    def array(self, array: np.ndarray) -> None:
        """Append an array's elements, row-major."""
        bits = np.array(array, order="C").view(f"u{array.itemsize}")
        self.data += bits.astype(f"<u{array.itemsize}").tobytes()


class Reader:
    """Reads what ``Writer`` wrote; every method raises ``ModuleFormatError`` at the end of the data."""

    def __init__(self, data: bytes | memoryview, what: str):
        self.data = memoryview(data)
        self.offset = 0
        self.what = what
        self.expressions: Sequence[Extent] | None = None

    def fail(self, problem: str) -> ModuleFormatError:
        """Return the error to raise for a problem at this place."""
        return ModuleFormatError(f"vmvx bytecode of {self.what}: {problem} at byte {self.offset}")

    def take(self, count: int) -> memoryview:
        """Return the next ``count`` bytes."""
        if count > len(self.data) - self.offset:
            raise self.fail(f"{count} bytes expected, {len(self.data) - self.offset} left")
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def byte(self) -> int:
        """Read one byte."""
        return self.take(1)[0]

    def uint(self) -> int:
        """Read an unsigned integer below 2**64, in its shortest form."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self.fail("integer too long")
        if value >> 64 or (shift and not byte):
            raise self.fail("malformed integer")
        return value

    def int(self) -> int:
        """Read a signed integer."""
        value = self.uint()
        return value >> 1 if not value & 1 else -(value + 1 >> 1)

    def count(self, limit: int | None = None) -> int:
        """Read a count of things that take at least a byte each."""
        value = self.uint()
        if value > len(self.data) - self.offset or (limit is not None and value > limit):
            raise self.fail(f"count {value} too large")
        return value

    def ints(self, limit: int = MAX_RANK) -> tuple[int, ...]:
        """Read a count and that many signed integers."""
        return tuple(self.int() for _ in range(self.count(limit)))

    def extent(self) -> Extent:
        """Read an extent."""
        value = self.int()
        if value >= 0 or self.expressions is None:
            return value
        if -1 - value >= len(self.expressions):
            raise self.fail(f"expression {-1 - value} of {len(self.expressions)}")
        return self.expressions[-1 - value]

    def extents(self) -> tuple[Extent, ...]:
        """Read a count and that many extents."""
        return tuple(self.extent() for _ in range(self.count(MAX_RANK)))

    def number(self) -> float | int:
        """Read a tagged number."""
        tag = self.byte()
        if tag > 1:
            raise self.fail(f"unknown number tag {tag}")
        return struct.unpack("<d", self.take(8))[0] if tag else self.int()

    def text(self, limit: int | None = None) -> str:
        """Read UTF-8 of at most ``limit`` bytes."""
        try:
            return bytes(self.take(self.count(limit))).decode()
        except UnicodeDecodeError:
            raise self.fail("text that is not UTF-8") from None

    def dtype(self) -> str:
        """Read an element type."""
        code = self.byte()
        if code >= len(DTYPE_CODES):
            raise self.fail(f"unknown element type {code}")
        return DTYPE_CODES[code]

    def tensor(self) -> TensorType:
        """Read a tensor type."""
        type_ = TensorType(self.dtype(), self.extents())
        if any(isinstance(extent, int) and extent < 0 for extent in type_.shape):
            raise self.fail(f"impossible shape {type_.shape}")
        if is_static(type_.shape) and type_.size >= MAX_INTEGER:
            raise self.fail(f"impossible shape {type_.shape}")
        return type_

    def array(self, type_: TensorType) -> np.ndarray:
        """Read the elements of a tensor."""
        if not is_static(type_.shape):
            raise self.fail(f"elements of a {type_}, whose shape is not known here")
        shape = static(type_.shape)
        raw = self.take(static((type_.size,))[0])
        dtype = numpy_dtype(type_.dtype)
        if dtype == np.bool_ and max(raw, default=0) > 1:
            raise self.fail("i1 element that is neither 0 nor 1")
        bits = np.frombuffer(bytes(raw), f"<u{dtype.itemsize}").astype(f"u{dtype.itemsize}")
        return bits.view(dtype).reshape(shape)


def encode_function(function: Function) -> bytes:
    """Return a function as bytes."""
    if not function.dimensions:
        return _encode_body(function, Writer())
    expressions: dict[Extent, int] = {}
    body = _encode_body(function, Writer(expressions))
    head = Writer()
    head.data += DYNAMIC
    for texts in (function.dimensions, [str(extent) for extent in expressions]):
        head.uint(len(texts))
        for text in texts:
            head.text(text)
    return bytes(head.data) + body


def _encode_body(function: Function, out: Writer) -> bytes:
    out.text(function.name)
    for types in (function.operands, function.results):
        out.uint(len(types))
        for type_ in types:
            out.tensor(type_)
    out.uint(len(function.instructions))
    for instruction in function.instructions:
        _encode_instruction(out, instruction)
    for register in function.returned:
        out.uint(register)
    return bytes(out.data)


def _encode_instruction(out: Writer, instruction: Instruction) -> None:
    if isinstance(instruction, Constant):
        array = instruction.array
        splat = _is_splat(array)
        out.byte(SPLAT if splat else CONSTANT)
        out.tensor(_type_of(array))
        out.array(array.flat[:1] if splat else array)
    elif isinstance(instruction, Splat):
        out.byte(SPLAT)
        out.tensor(instruction.result)
        out.array(instruction.element)
    elif isinstance(instruction, Generic):
        out.byte(GENERIC)
        _encode_generic(out, instruction)
    else:
        code = _STRUCTURED_NUMBER[instruction.name]
        out.byte(STRUCTURED + code)
        out.ints(instruction.operands)
        for name, kind in STRUCTURED_CODES[code][1]:
            getattr(out, kind)(instruction.parameters[name])
        out.tensor(instruction.result)


def _is_splat(array: np.ndarray) -> bool:
    bits = np.array(array, order="C").view(f"u{array.itemsize}")
    return array.size > 1 and bool((bits == bits.flat[0]).all())


def _type_of(array: np.ndarray) -> TensorType:
    name = next(name for name in DTYPE_CODES if numpy_dtype(name) == array.dtype)
    return TensorType(name, array.shape)


def _encode_generic(out: Writer, instruction: Generic) -> None:
    form = instruction.form
    out.extents(form.extents)
    out.ints(form.reductions)
    out.ints(instruction.inputs)
    for map_ in form.input_maps:
        out.ints(map_)
    out.ints([-1 if register is None else register for register in instruction.initial])
    for map_, dtype in zip(form.output_maps, form.output_dtypes):
        out.ints(map_)
        out.dtype(dtype)
    out.uint(len(form.steps))
    for step in form.steps:
        _encode_step(out, step)
    for value in form.yields:
        out.uint(value)


def _encode_step(out: Writer, step: ScalarStep) -> None:
    out.byte(SCALAR_CODES.index(step.name))
    out.ints(step.operands)
    out.byte(DTYPE_CODES.index(step.dtype) + 1 if step.dtype else 0)
    if step.name == "constant":
        out.array(np.asarray(step.value, numpy_dtype(step.dtype)))
    elif step.name == "index":
        out.uint(step.dimension)
    elif step.name == "extent":
        out.extent(step.extent)
    elif step.name in ("cmpf", "cmpi"):
        out.byte(step.predicate)


def decode_function(data: bytes | memoryview, what: str) -> Function:
    """Read a function; its types are not checked yet.

    :raises ModuleFormatError: for damaged data.
    """
    reader = Reader(data, what)
    dimensions = _decode_dimensions(reader) if reader.data[: len(DYNAMIC)] == DYNAMIC else ()
    name = reader.text()
    operands = tuple(reader.tensor() for _ in range(reader.count()))
    results = tuple(reader.tensor() for _ in range(reader.count()))
    instructions = tuple(_decode_instruction(reader) for _ in range(reader.count()))
    returned = tuple(reader.uint() for _ in results)
    if reader.offset != len(reader.data):
        raise reader.fail(f"{len(reader.data) - reader.offset} bytes too many")
    return Function(name, operands, results, instructions, returned, dimensions)


def _decode_dimensions(reader: Reader) -> tuple[str, ...]:
    """Read a function's dimensions, and give the reader the expressions of them."""
    reader.take(len(DYNAMIC))
    names = [reader.text(MAX_TEXT) for _ in range(reader.count(MAX_DIMENSIONS))]
    if not names or len(set(names)) != len(names):
        raise reader.fail(f"dimensions {names}")
    try:
        for name in names:
            dimension(name)
        texts = [reader.text(MAX_TEXT) for _ in range(reader.count(MAX_EXPRESSIONS))]
        expressions = [parse(text) for text in texts]
    except InvalidArgument as error:
        raise reader.fail(str(error)) from None
    unknown = sorted(set(names_in(expressions)) - set(names))
    if unknown:
        raise reader.fail(f"the dimension {unknown[0]!r}, which is not one of {', '.join(names)},")
    reader.expressions = expressions
    return tuple(names)


def _decode_instruction(reader: Reader) -> Instruction:
    opcode = reader.byte()
    if opcode == CONSTANT:
        return Constant(reader.array(reader.tensor()))
    if opcode == SPLAT:
        type_ = reader.tensor()
        element = reader.array(TensorType(type_.dtype, ()))
        if not is_static(type_.shape):
            return Splat(element, type_)
        return Constant(np.broadcast_to(element, static(type_.shape)))
    if opcode == GENERIC:
        return _decode_generic(reader)
    if not STRUCTURED <= opcode < STRUCTURED + len(STRUCTURED_CODES):
        raise reader.fail(f"unknown opcode {opcode}")
    name, schema = STRUCTURED_CODES[opcode - STRUCTURED]
    operands = reader.ints(limit=1 << 16)
    parameters = {parameter: getattr(reader, kind)() for parameter, kind in schema}
    return Structured(name, operands, parameters, reader.tensor())


def _decode_generic(reader: Reader) -> Generic:
    extents, reductions = reader.extents(), reader.ints()
    inputs = reader.ints(limit=1 << 16)
    input_maps = tuple(reader.ints() for _ in inputs)
    initial = tuple(None if register == -1 else register for register in reader.ints(limit=1 << 16))
    outputs = [(reader.ints(), reader.dtype()) for _ in initial]
    steps = tuple(_decode_step(reader) for _ in range(reader.count()))
    yields = tuple(reader.uint() for _ in outputs)
    maps, dtypes = tuple(map_ for map_, _ in outputs), tuple(dtype for _, dtype in outputs)
    form = GenericForm(extents, reductions, input_maps, maps, dtypes, steps, yields)
    return Generic(form, inputs, initial)


def _decode_step(reader: Reader) -> ScalarStep:
    code = reader.byte()
    if code >= len(SCALAR_CODES):
        raise reader.fail(f"unknown scalar operation {code}")
    name, operands, dtype_code = SCALAR_CODES[code], reader.ints(), reader.byte()
    if dtype_code > len(DTYPE_CODES):
        raise reader.fail(f"unknown element type {dtype_code - 1}")
    dtype = DTYPE_CODES[dtype_code - 1] if dtype_code else ""
    if name == "constant" and dtype:
        return ScalarStep(name, operands, dtype, value=reader.array(TensorType(dtype, ())).item())
    if name == "index":
        return ScalarStep(name, operands, dtype, dimension=reader.uint())
    if name == "extent":
        return ScalarStep(name, operands, dtype, extent=reader.extent())
    predicate = reader.byte() if name in ("cmpf", "cmpi") else 0
    return ScalarStep(name, operands, dtype, predicate)


def encode_executable(functions: Sequence[bytes]) -> bytes:
    """Return encoded functions as one executable, with a checksum at its end."""
    out = bytearray(MAGIC + struct.pack("<I", len(functions)))
    for function in functions:
        out += struct.pack("<I", len(function)) + function
    return bytes(out + struct.pack("<I", zlib.crc32(out)))


def decode_executable(data: bytes | memoryview, what: str) -> list[Function]:
    """Read an executable's functions.

    :raises ModuleFormatError: for damaged data.
    """
    reader = Reader(data, what)
    if bytes(reader.take(len(MAGIC))) != MAGIC:
        raise ModuleFormatError(f"vmvx bytecode of {what} does not start with {MAGIC.decode()}")
    if len(data) < len(MAGIC) + 8 or zlib.crc32(reader.data[:-4]) != struct.unpack("<I", reader.data[-4:])[0]:
        raise ModuleFormatError(
            f"vmvx bytecode of {what} is truncated or damaged: its checksum does not match"
        )
    reader.data = reader.data[:-4]
    functions = []
    for _ in range(struct.unpack("<I", reader.take(4))[0]):
        (length,) = struct.unpack("<I", reader.take(4))
        functions.append(decode_function(reader.take(length), what))
    if reader.offset != len(reader.data):
        raise reader.fail(f"{len(reader.data) - reader.offset} bytes too many")
    return functions
