"""Whether a module's records fit each other: every index, span and interface, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NoReturn

from thalweg.dtypes import numpy_dtype
from thalweg.errors import ModuleFormatError
from thalweg.extents import Extent, is_static, names_in
from thalweg.module.encoding import BYTES_LIMIT
from thalweg.module.module import PARAMETERS_FEATURE, ExecutableRecord, Module, Variant
from thalweg.module.program import (
    BarrierCommand,
    Command,
    CopyCommand,
    DispatchCommand,
    FillCommand,
    FunctionSignature,
    HostFunction,
    Slot,
    SlotKind,
    Span,
    TensorSignature,
)

_WRITABLE = frozenset({SlotKind.TRANSIENT, SlotKind.OUTPUT})


def tensor_bytes(tensor: TensorSignature) -> Extent:
    """Return how many bytes a tensor takes."""
    return prod(tensor.shape) * numpy_dtype(tensor.dtype).itemsize


def verify_specialized(
    function: HostFunction,
    signature: FunctionSignature,
    variant: Variant,
    constant_sizes: Sequence[int],
    where: str,
) -> None:
    """Check a function whose dimensions have become numbers, as the functions of a static module are checked.

    :raises ModuleFormatError: naming the place and what does not fit.
    """
    _FunctionVerifier(function, signature, variant.executables, constant_sizes, where).verify()


def verify_module(module: Module, where: str) -> None:
    """Check a module's records against each other.

    :param where: the file or module, for messages.
    :raises ModuleFormatError: naming the place and what does not fit.
    """
    signatures = {signature.name: signature for signature in module.functions}
    if len(signatures) != len(module.functions):
        raise ModuleFormatError(f"{where}: two exported functions have one name")
    if not module.variants:
        raise ModuleFormatError(f"{where}: a module has at least one variant")
    _verify_parameters(module, where)
    for signature in module.functions:
        _verify_dimensions(signature, where)
    for variant in module.variants:
        _verify_variant(module, variant, signatures, f"{where}: variant {variant.name!r}")


def _verify_parameters(module: Module, where: str) -> None:
    twice = sorted(module.constants.keys() & module.parameters.keys())
    if twice:
        raise ModuleFormatError(f"{where}: {twice[0]!r} is both a constant and a parameter")
    if bool(module.parameters) != (PARAMETERS_FEATURE in module.required_features):
        raise ModuleFormatError(
            f"{where}: {len(module.parameters)} parameters, but the required features are"
            f" {', '.join(module.required_features) or 'none'}"
        )
    for name in module.parameters:
        if module.parameters[name].nbytes > BYTES_LIMIT:
            raise ModuleFormatError(f"{where}: parameter {name!r} has more than {BYTES_LIMIT} bytes")


def _verify_dimensions(signature: FunctionSignature, where: str) -> None:
    given = {str(extent) for tensor in signature.inputs for extent in tensor.shape}
    tensors = (*signature.inputs, *signature.outputs)
    extents = [
        *(e for tensor in tensors for e in tensor.shape),
        *(limit.extent for limit in signature.limits),
    ]
    unknown = sorted(set(names_in(extents)) - given)
    if unknown:
        raise ModuleFormatError(
            f"{where}: {signature.name!r} has the dimension {unknown[0]!r}, which no input's shape gives"
        )


def _verify_variant(
    module: Module, variant: Variant, signatures: Mapping[str, FunctionSignature], where: str
) -> None:
    for name in variant.constants:
        if name not in module.constants and name not in module.parameters:
            raise ModuleFormatError(f"{where} refers to a constant {name!r} that the module does not hold")
    names = [function.name for function in variant.functions]
    if sorted(names) != sorted(signatures):
        raise ModuleFormatError(
            f"{where} has the functions {', '.join(names) or 'none'}; the module exports"
            f" {', '.join(signatures) or 'none'}"
        )
    sizes = [module.constant_bytes(name) for name in variant.constants]
    for function in variant.functions:
        _FunctionVerifier(function, signatures[function.name], variant.executables, sizes, where).verify()


class _FunctionVerifier:
    """Checks one function; ``where`` grows to the command at hand."""

    def __init__(
        self,
        function: HostFunction,
        signature: FunctionSignature,
        executables: Sequence[ExecutableRecord],
        constant_sizes: Sequence[int],
        where: str,
    ):
        self.function = function
        self.executables = executables
        self.where = f"{where}, function {function.name!r}"
        self.dimensions = frozenset(names_in(e for tensor in signature.inputs for e in tensor.shape))
        self.expected: dict[SlotKind, Sequence[Extent]] = {
            SlotKind.CONSTANT: constant_sizes,
            SlotKind.INPUT: [tensor_bytes(tensor) for tensor in signature.inputs],
            SlotKind.OUTPUT: [tensor_bytes(tensor) for tensor in signature.outputs],
        }

    def fail(self, message: str) -> NoReturn:
        raise ModuleFormatError(f"{self.where}: {message}")

    def verify(self) -> None:
        for number, slot in enumerate(self.function.slots):
            self.verify_slot(number, slot)
        owners = [(slot.kind, slot.index) for slot in self.function.slots]
        if len(set(owners)) != len(owners):
            self.fail("two slots stand for the same memory")
        outputs = sum(slot.kind is SlotKind.OUTPUT for slot in self.function.slots)
        if outputs != len(self.expected[SlotKind.OUTPUT]):
            self.fail(f"{len(self.expected[SlotKind.OUTPUT])} outputs but {outputs} slots for them")
        where = self.where
        for number, command in enumerate(self.function.commands):
            self.where = f"{where}, command {number}"
            _CHECKS[type(command)](self, command)

    def verify_extents(self, *extents: Extent) -> bool:
        """Check that the expressions use the function's dimensions only; return whether all are numbers."""
        if is_static(extents):
            return True
        unknown = sorted(set(names_in(extents)) - self.dimensions)
        if unknown:
            self.fail(f"the dimension {unknown[0]!r} is not one of the function's")
        return False

    def verify_slot(self, number: int, slot: Slot) -> None:
        self.verify_extents(slot.size)
        if isinstance(slot.size, int) and not 0 <= slot.size <= BYTES_LIMIT:
            self.fail(f"slot {number} has {slot.size} bytes; the limit is {BYTES_LIMIT}")
        if slot.kind is SlotKind.TRANSIENT:
            if slot.index != 0 and slot.lifetime is None:
                self.fail(f"slot {number} is transient arena {slot.index}; there is only 0")
            if slot.lifetime is not None and not self.dimensions:
                self.fail(f"slot {number} has a lifetime, but the function has no dimensions")
            return
        sizes = self.expected[slot.kind]
        if not 0 <= slot.index < len(sizes):
            self.fail(f"slot {number} is {slot.kind.value} {slot.index}; there are {len(sizes)}")
        if slot.size != sizes[slot.index]:
            self.fail(
                f"slot {number} has {slot.size} bytes; {slot.kind.value} {slot.index} has {sizes[slot.index]}"
            )

    def verify_span(self, span: Span, writer: str = "") -> None:
        if not 0 <= span.slot < len(self.function.slots):
            self.fail(f"slot {span.slot} of a function with {len(self.function.slots)} slots")
        slot = self.function.slots[span.slot]
        if not self.verify_extents(span.offset, span.length, slot.size):
            pass  # the bounds are known, and checked, once the dimensions are
        elif span.offset < 0 or span.length < 0 or span.offset + span.length > slot.size:
            end = span.offset + span.length
            self.fail(f"bytes [{span.offset}, {end}) of slot {span.slot}, which has {slot.size}")
        if writer and slot.kind not in _WRITABLE:
            self.fail(f"{writer} writes {slot.kind.value} {slot.index}, which is read-only")

    def verify_dispatch(self, command: DispatchCommand) -> None:
        if not 0 <= command.executable < len(self.executables):
            self.fail(f"executable {command.executable} of a variant with {len(self.executables)}")
        entries = self.executables[command.executable].entries
        if not 0 <= command.entry < len(entries):
            self.fail(f"entry {command.entry} of an executable with {len(entries)}")
        entry = entries[command.entry]
        if len(command.bindings) != entry.binding_count or len(command.constants) != entry.constant_count:
            self.fail(
                f"{entry.name!r} takes {entry.binding_count} bindings and {entry.constant_count} constants;"
                f" the command gives {len(command.bindings)} and {len(command.constants)}"
            )
        self.verify_extents(*command.workgroup_count, *command.constants)
        accesses = entry.binding_access or ("rw",) * entry.binding_count
        for number, (span, access) in enumerate(zip(command.bindings, accesses)):
            self.verify_span(
                span, writer=f"{entry.name!r} (access {access} to binding {number})" * ("w" in access)
            )

    def verify_copy(self, command: CopyCommand) -> None:
        source, target = command.source, command.target
        self.verify_span(source)
        self.verify_span(target, writer="copy")
        if source.length != target.length:
            self.fail(f"copies {source.length} bytes to {target.length}")
        if not is_static((source.offset, source.length, target.offset, target.length)):
            return
        apart = (
            source.offset + source.length <= target.offset or target.offset + target.length <= source.offset
        )
        if source.slot == target.slot and source.length and not apart:
            self.fail(f"copies between overlapping bytes of slot {source.slot}")

    def verify_fill(self, command: FillCommand) -> None:
        self.verify_span(command.target, writer="fill")
        if len(command.pattern) not in (1, 2, 4):
            self.fail(f"a fill pattern has 1, 2 or 4 bytes; this has {len(command.pattern)}")
        if is_static(command.target.length) and command.target.length % len(command.pattern):
            self.fail(f"fills {command.target.length} bytes with a pattern of {len(command.pattern)}")

    def verify_barrier(self, command: BarrierCommand) -> None:
        pass


_CHECKS: dict[type[Command], Callable[[_FunctionVerifier, Command], None]] = {
    DispatchCommand: _FunctionVerifier.verify_dispatch,
    CopyCommand: _FunctionVerifier.verify_copy,
    FillCommand: _FunctionVerifier.verify_fill,
    BarrierCommand: _FunctionVerifier.verify_barrier,
}  # pyright: ignore[reportAssignmentType]
