"""A module loaded onto a device."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from thalweg.dtypes import dtype_name
from thalweg.errors import UnknownName
from thalweg.hal.driver import Device
from thalweg.module.module import Module, Variant
from thalweg.runtime import transfer
from thalweg.runtime.addresses import bytes_of
from thalweg.runtime.device_array import DeviceArray
from thalweg.runtime.function import ProgramFunction


class Program:
    """A module on a device; functions are attributes (``program.main``) and items (``program["main"]``).

    **Threads.** Functions may be called from any number of threads at once: each call has its own transient
    arena, and the interpreter lock is released while kernels run natively. Calls on the same ``out=`` array,
    or that write an array another call reads, are the caller's to order. ``close`` must not run beside calls.
    """

    def __init__(
        self,
        module: Module,
        variant: Variant,
        functions: Mapping[str, ProgramFunction],
        device: Device | None,
        owns_device: bool = False,
    ):
        """Wrap loaded functions; use ``thalweg.runtime.load``."""
        self.module = module
        self.variant = variant
        self.device = device
        self.functions: Mapping[str, ProgramFunction] = MappingProxyType(dict(functions))
        self._owns_device = owns_device
        for name, function in functions.items():
            if name.isidentifier() and not hasattr(self, name):
                setattr(self, name, function)

    def __getitem__(self, name: str) -> ProgramFunction:
        """Return a function by name.

        :raises UnknownName: naming those there are.
        """
        try:
            return self.functions[name]
        except KeyError:
            raise UnknownName(self._unknown(name)) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "functions" not in self.__dict__:
            raise AttributeError(name)
        raise AttributeError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.functions, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return (
            f"no function {name!r} in module {self.module.name!r}; it has: {', '.join(self.functions)}{hint}"
        )

    def to_device(self, array: Any) -> DeviceArray:
        """Return a copy of ``array`` in the device's memory, to be passed to calls without copying again.

        :raises InvalidArgument: a dtype that Thalweg has no name for.
        """
        host = np.array(array, order="C")
        dtype_name(host.dtype)
        if self.variant.inline or self.device is None:
            return DeviceArray(host.shape, host.dtype, host=host)
        buffer = transfer.upload(self.device, bytes_of(host))
        return DeviceArray(host.shape, host.dtype, device=self.device, buffer=buffer)

    def close(self) -> None:
        """Drop the functions, and end the device's work if ``load`` created the device. Arrays stay valid."""
        for name in self.functions:
            self.__dict__.pop(name, None)
        self.functions = MappingProxyType({})
        if self._owns_device and self.device is not None:
            self.device.close()
        self._owns_device = False

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = self.device.identifier if self.device is not None else "host"
        functions = ", ".join(repr(function) for function in self.functions.values())
        return f"<program {self.module.name!r} on {where}, variant {self.variant.name!r}: {functions}>"
