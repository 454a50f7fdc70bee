"""The host program's encoding: functions and entry points to JSON and back, types and ranges checked.

What depends on the rest of the module (slot indices, span bounds, entry points) is checked by
``thalweg.module.verification``, on the decoded records, for files and for modules made in memory alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thalweg.dtypes import DTYPES
from thalweg.errors import ModuleFormatError
from thalweg.extents import as_json
from thalweg.module.checked_json import Field, canonical_json, parse_canonical
from thalweg.module.program import (
    BarrierCommand,
    Command,
    CopyCommand,
    DispatchCommand,
    EntryPoint,
    FillCommand,
    FunctionSignature,
    HostFunction,
    Limit,
    Slot,
    SlotKind,
    Span,
    TensorSignature,
)

BYTES_LIMIT = 1 << 48
"""The most bytes of a slot, and the largest offset."""
UINT32_LIMIT = (1 << 32) - 1
FUNCTION_LIMIT = 1 << 12
SLOT_LIMIT = 1 << 18
COMMAND_LIMIT = 1 << 20
BINDING_LIMIT = 1 << 10
CONSTANT_LIMIT = 1 << 8
ENTRY_LIMIT = 1 << 18
TENSOR_LIMIT = 1 << 12
RANK_LIMIT = 32
LOCAL_MEMORY_LIMIT = 1 << 30
WORKGROUP_SIZE_LIMIT = 1 << 16

_KINDS = {kind.value: kind for kind in SlotKind}
_ACCESSES = {access: access for access in ("r", "w", "rw")}


def encode_functions(functions: Sequence[HostFunction]) -> bytes:
    """Return the canonical encoding of a variant's functions."""
    return canonical_json({"functions": [_encode_function(function) for function in functions]})


def decode_functions(data: bytes, where: str) -> tuple[HostFunction, ...]:
    """Decode a variant's functions.

    :param where: what is being read, for messages.
    :raises ModuleFormatError: naming the place, what was expected and what was found.
    """
    (functions,) = parse_canonical(data, where).members("functions")
    return tuple(_decode_function(item) for item in functions.items(FUNCTION_LIMIT))


def _encode_function(function: HostFunction) -> dict[str, Any]:
    return {
        "name": function.name,
        "slots": [_encode_slot(slot) for slot in function.slots],
        "commands": [_encode_command(command) for command in function.commands],
    }


def _encode_slot(slot: Slot) -> list[Any]:
    return [slot.kind.value, slot.index, as_json(slot.size), *(slot.lifetime or ())]


def _encode_span(span: Span) -> list[Any]:
    return [span.slot, as_json(span.offset), as_json(span.length)]


def _encode_command(command: Command) -> dict[str, Any]:
    match command:
        case DispatchCommand():
            return {
                "op": "dispatch",
                "executable": command.executable,
                "entry": command.entry,
                "workgroups": [as_json(count) for count in command.workgroup_count],
                "constants": [as_json(constant) for constant in command.constants],
                "bindings": [_encode_span(span) for span in command.bindings],
            }
        case CopyCommand():
            return {
                "op": "copy",
                "source": _encode_span(command.source),
                "target": _encode_span(command.target),
            }
        case FillCommand():
            return {"op": "fill", "target": _encode_span(command.target), "pattern": command.pattern.hex()}
        case BarrierCommand():
            return {"op": "barrier"}


def _decode_function(field: Field) -> HostFunction:
    name, slots, commands = field.members("name", "slots", "commands")
    return HostFunction(
        name=name.text(),
        slots=tuple(_decode_slot(item) for item in slots.items(SLOT_LIMIT)),
        commands=tuple(_decode_command(item) for item in commands.items(COMMAND_LIMIT)),
    )


def _decode_slot(field: Field) -> Slot:
    parts = field.items(5)
    if len(parts) not in (3, 5):
        field.fail("[kind, index, size], or with the first and last epoch of a transient buffer's life")
    kind, index, size = parts[0].choice(_KINDS), parts[1].integer(UINT32_LIMIT), parts[2].extent(BYTES_LIMIT)
    if len(parts) == 3:
        return Slot(kind, index, size)
    return Slot(kind, index, size, (parts[3].integer(COMMAND_LIMIT), parts[4].integer(COMMAND_LIMIT)))


def _decode_span(field: Field) -> Span:
    slot, offset, length = field.extents(BYTES_LIMIT, 3, length=3)
    if not isinstance(slot, int):
        field.fail("the number of a slot")
    return Span(slot, offset, length)


def _decode_command(field: Field) -> Command:
    op = field.value.get("op") if type(field.value) is dict else None
    decode = _COMMANDS.get(op) if type(op) is str else None
    if decode is None:
        field.fail(f"a command whose op is one of {', '.join(_COMMANDS)}")
    return decode(field)


def _decode_dispatch(field: Field) -> DispatchCommand:
    _, executable, entry, workgroups, constants, bindings = field.members(
        "op", "executable", "entry", "workgroups", "constants", "bindings"
    )
    x, y, z = workgroups.extents(UINT32_LIMIT, 3, length=3)
    return DispatchCommand(
        executable=executable.integer(UINT32_LIMIT),
        entry=entry.integer(UINT32_LIMIT),
        workgroup_count=(x, y, z),
        constants=constants.extents(UINT32_LIMIT, CONSTANT_LIMIT),
        bindings=tuple(_decode_span(item) for item in bindings.items(BINDING_LIMIT)),
    )


def _decode_copy(field: Field) -> CopyCommand:
    _, source, target = field.members("op", "source", "target")
    return CopyCommand(_decode_span(source), _decode_span(target))


def _decode_fill(field: Field) -> FillCommand:
    _, target, pattern = field.members("op", "target", "pattern")
    text = pattern.text(8)
    if len(text) not in (2, 4, 8) or any(digit not in "0123456789abcdef" for digit in text):
        pattern.fail("1, 2 or 4 bytes as hexadecimal digits")
    return FillCommand(_decode_span(target), bytes.fromhex(text))


def _decode_barrier(field: Field) -> BarrierCommand:
    field.members("op")
    return BarrierCommand()


_COMMANDS = {
    "dispatch": _decode_dispatch,
    "copy": _decode_copy,
    "fill": _decode_fill,
    "barrier": _decode_barrier,
}


def encode_entry(entry: EntryPoint) -> dict[str, Any]:
    """Return an entry point as JSON."""
    return {
        "name": entry.name,
        "bindings": entry.binding_count,
        "constants": entry.constant_count,
        "local_memory": entry.local_memory,
        "workgroup_size": list(entry.workgroup_size),
        "access": list(entry.binding_access),
    }


def decode_entry(field: Field) -> EntryPoint:
    """Decode an entry point. :raises ModuleFormatError: naming the place."""
    name, bindings, constants, local_memory, workgroup_size, access = field.members(
        "name", "bindings", "constants", "local_memory", "workgroup_size", "access"
    )
    x, y, z = workgroup_size.integers(WORKGROUP_SIZE_LIMIT, 3, length=3)
    entry = EntryPoint(
        name=name.text(),
        binding_count=bindings.integer(BINDING_LIMIT),
        constant_count=constants.integer(CONSTANT_LIMIT),
        local_memory=local_memory.integer(LOCAL_MEMORY_LIMIT),
        workgroup_size=(x, y, z),
        binding_access=tuple(item.choice(_ACCESSES) for item in access.items(BINDING_LIMIT)),
    )
    if len(entry.binding_access) not in (0, entry.binding_count):
        access.fail(f"one access for each of {entry.binding_count} bindings, or none")
    return entry


def encode_signature(signature: FunctionSignature) -> dict[str, Any]:
    """Return an exported function's signature as JSON."""
    return {
        "name": signature.name,
        "inputs": [_encode_tensor(tensor) for tensor in signature.inputs],
        "outputs": [_encode_tensor(tensor) for tensor in signature.outputs],
        "limits": [[as_json(limit.extent), limit.maximum, limit.reason] for limit in signature.limits],
    }


def decode_signature(field: Field) -> FunctionSignature:
    """Decode a signature. :raises ModuleFormatError: naming the place."""
    name, inputs, outputs, limits = field.members("name", "inputs", "outputs", "limits")
    signature = FunctionSignature(
        name=name.text(),
        inputs=tuple(_decode_tensor(item) for item in inputs.items(TENSOR_LIMIT)),
        outputs=tuple(_decode_tensor(item) for item in outputs.items(TENSOR_LIMIT)),
        limits=tuple(_decode_limit(item) for item in limits.items(TENSOR_LIMIT)),
    )
    for tensors, kind in ((signature.inputs, "inputs"), (signature.outputs, "outputs")):
        if len({tensor.name for tensor in tensors}) != len(tensors):
            raise ModuleFormatError(f"{field.where}: two {kind} of {signature.name!r} have one name")
    return signature


def _decode_limit(field: Field) -> Limit:
    parts = field.items(3)
    if len(parts) != 3:
        field.fail("[extent, maximum, reason]")
    return Limit(parts[0].extent(BYTES_LIMIT), parts[1].integer(BYTES_LIMIT), parts[2].text())


def _encode_tensor(tensor: TensorSignature) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": [as_json(extent) for extent in tensor.shape],
        "dtype": tensor.dtype,
    }


def _decode_tensor(field: Field) -> TensorSignature:
    name, shape, dtype = field.members("name", "shape", "dtype")
    extents = shape.extents(BYTES_LIMIT, RANK_LIMIT)
    return TensorSignature(name.text(), extents, dtype.choice({name: name for name in DTYPES}))


def decode_shape(field: Field) -> tuple[int, ...]:
    """Decode a shape of at most ``RANK_LIMIT`` static extents."""
    return field.integers(BYTES_LIMIT, RANK_LIMIT)
