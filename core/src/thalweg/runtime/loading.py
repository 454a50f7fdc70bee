"""Loads a module: chooses the variant, prepares executables, places constants, records functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from thalweg.errors import InvalidArgument
from thalweg.hal.buffer import Buffer
from thalweg.hal.driver import Device
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess
from thalweg.module.file import read_module
from thalweg.module.module import Module, Variant
from thalweg.module.program import FunctionSignature, HostFunction
from thalweg.module.reader import Verify
from thalweg.module.specialization import specialize, specialize_signature
from thalweg.module.verification import verify_module, verify_specialized
from thalweg.parameters import ParameterSource, bind_parameters, open_parameters
from thalweg.plugin.device_uri import DeviceUri
from thalweg.plugin.registry import Registry
from thalweg.runtime import transfer
from thalweg.runtime.addresses import aligned_bytes
from thalweg.runtime.dynamic_function import DynamicFunction
from thalweg.runtime.function import ProgramFunction
from thalweg.runtime.inline_function import InlineFunction
from thalweg.runtime.loaders import Loaders
from thalweg.runtime.prepared_function import PreparedFunction
from thalweg.runtime.program import Program
from thalweg.runtime.queued_function import QueuedFunction
from thalweg.runtime.recording import record
from thalweg.runtime.selection import select_variant

READ_ONLY = BufferParams(
    usage=BufferUsage.DISPATCH_READ | BufferUsage.TRANSFER_SOURCE, access=MemoryAccess.READ
)
"""How constants are imported."""


def load(
    source: Any,
    device: str | DeviceUri | Device | None = "local-task",
    *,
    verify: Verify = "code",
    allow_native: bool = True,
    parameters: ParameterSource = None,
    registry: Registry | None = None,
) -> Program:
    """Load a compiled module onto a device.

    A module may hold machine code, which runs with the rights of this process: load modules that you trust,
    or refuse machine code with ``allow_native=False``.
    :param source: a module file's path or bytes, a ``Module``, or a result of the compiler with ``.module``.
    :param device: a device, or the URI of one to create; ``None`` for inline variants only.
    :param verify: ``"full"`` verifies the digests of the constants (of files) and parameters too.
    :param allow_native: ``False`` takes variants of host kernels (bytecode) only.
    :param parameters: where constants that the module keeps outside are: files, as
        ``thalweg.parameters.open_parameters`` takes them, or what it returned.
    :param registry: where plugins are found; by default what is installed.
    :raises ModuleFormatError: the module is damaged, truncated or too new.
    :raises NotSupported: no variant fits the device; says what the module holds and what the device offers.
    :raises ParameterError: a parameter is missing or not what the module asks for, or a file is damaged.
    :raises PermissionDenied: every variant that fits holds machine code and ``allow_native`` is false.
    """
    module = _module_of(source, verify)
    index = open_parameters(parameters)
    registry = Registry.from_environment() if registry is None else registry
    loaders = Loaders(registry)
    owned = not (device is None or isinstance(device, Device))
    opened = registry.create_device(device) if isinstance(device, (str, DeviceUri)) else device
    try:
        variant = select_variant(module, opened, loaders, allow_native)
        module = bind_parameters(module, variant.constants, index, verify)
        functions = _load_functions(module, variant, opened, loaders)
    except BaseException:
        if owned and opened is not None:
            opened.close()
        raise
    return Program(module, variant, {function.name: function for function in functions}, opened, owned)


def _module_of(source: Any, verify: Verify) -> Module:
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        return read_module(source, verify)
    module = source if isinstance(source, Module) else getattr(source, "module", None)
    if not isinstance(module, Module):
        raise InvalidArgument(f"load() takes a module, its file's path or bytes; got {type(source).__name__}")
    verify_module(module, f"module {module.name!r}")
    return module


def _load_functions(
    module: Module, variant: Variant, device: Device | None, loaders: Loaders
) -> Sequence[ProgramFunction]:
    arrays = [module.constants[name] for name in variant.constants]
    if variant.inline or device is None:
        make = _inline_maker(variant, arrays, loaders)
    else:
        make = _device_maker(variant, arrays, device)
    by_name = {function.name: function for function in variant.functions}
    sizes = [array.nbytes for array in arrays]

    def function(signature: FunctionSignature) -> ProgramFunction:
        stored = by_name[signature.name]
        if signature.is_static:
            return make(signature, stored)

        def at(dimensions: Mapping[str, int]) -> ProgramFunction:
            fixed, special = specialize_signature(signature, dimensions), specialize(stored, dimensions)
            where = f"module {module.name!r}, variant {variant.name!r}"
            verify_specialized(special, fixed, variant, sizes, where)
            return make(fixed, special)

        return DynamicFunction(signature, at)

    return [function(signature) for signature in module.functions]


Maker = Callable[[FunctionSignature, HostFunction], ProgramFunction]
"""Makes a verified function of static shapes callable."""


def _inline_maker(variant: Variant, arrays: Sequence[np.ndarray], loaders: Loaders) -> Maker:
    libraries = [(item, loaders.loader(item.format).load(item)) for item in variant.executables]
    constants = [aligned_bytes(array) for array in arrays]
    return lambda signature, function: InlineFunction(signature, function, libraries, constants)


def _device_maker(variant: Variant, arrays: Sequence[np.ndarray], device: Device) -> Maker:
    executables = [device.prepare_executable(item) for item in variant.executables]
    buffers = place_constants(device, arrays)
    is_prepared = {"prepared-calls", "host-addressable"} <= device.capabilities
    kind = PreparedFunction if is_prepared else QueuedFunction

    def make(signature: FunctionSignature, function: HostFunction) -> ProgramFunction:
        return kind(signature, device, record(function, signature, executables, buffers))

    return make


def place_constants(device: Device, arrays: Sequence[np.ndarray]) -> list[Buffer]:
    """Return the constants' buffers: over the mapped file itself where the device computes in host memory."""
    data = [aligned_bytes(array) for array in arrays]
    if transfer.is_host_addressable(device):
        return [device.allocator.import_host(array, READ_ONLY) for array in data]
    return [transfer.upload(device, array) for array in data]
