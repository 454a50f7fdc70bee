"""Functions on devices with prepared calls: arguments checked, addresses placed, one native call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from thalweg.hal.driver import Device, PreparedCall
from thalweg.module.program import FunctionSignature
from thalweg.runtime import transfer
from thalweg.runtime.addresses import (
    CONTIGUOUS_ALIGNED,
    WRITABLE_CONTIGUOUS_ALIGNED,
    address_of,
)
from thalweg.runtime.arguments import TensorCheck
from thalweg.runtime.device_array import DeviceArray
from thalweg.runtime.host_memory_function import HostMemoryFunction
from thalweg.runtime.recording import RecordedFunction


class PreparedFunction(HostMemoryFunction):
    """Calls through a pool of prepared calls, each with an arena of its own: calls may overlap in time.

    The pool grows to the largest number of calls that were in flight at once.
    """

    def __init__(self, signature: FunctionSignature, device: Device, recorded: RecordedFunction):
        super().__init__(signature)
        self._device = device
        self._recorded = recorded
        self._idle: list[PreparedCall] = []
        self._shapes = tuple((check.dtype, check.shape, check.nbytes) for check in self._inputs)
        self._only_output = self._shape_of_only_output()
        self._idle.append(self._prepare())

    def _shape_of_only_output(self) -> tuple[np.dtype, tuple[int, ...], int] | None:
        if len(self._outputs) != 1:
            return None
        check = self._outputs[0]
        return check.dtype, check.shape, check.nbytes

    def _prepare(self) -> PreparedCall:
        recorded = self._recorded
        static = {}
        if recorded.transient_slot is not None:
            static[recorded.transient_slot] = self._device.allocator.allocate(recorded.transient_bytes)
        return self._device.prepare_call(recorded.command_buffer, static)

    def __call__(self, /, *positional: Any, out: Any = None, **named: Any) -> Any:
        """Run the function to its end; see ``ProgramFunction``.

        The common call (positional arrays of the right form, ``out=`` one array) is checked and placed here
        in a few microseconds. Whatever else comes takes the general way, which accepts the same and explains
        what it refuses.
        """
        if out is not None and not named and self._only_output is not None:
            addresses = self._place(positional, out)
            if addresses is not None:
                self._invoke(addresses)
                return out
        return super().__call__(*positional, out=out, **named)

    def _place(self, positional: tuple[Any, ...], out: Any) -> list[int] | None:
        """Return the addresses of arguments that are right and need no copy, else ``None``."""
        shapes = self._shapes
        if len(positional) != len(shapes):
            return None
        dtype, shape, size = self._only_output  # type: ignore[misc]
        if type(out) is np.ndarray:
            behaved = out.flags.num & WRITABLE_CONTIGUOUS_ALIGNED == WRITABLE_CONTIGUOUS_ALIGNED
            if not behaved or out.dtype is not dtype or out.shape != shape:
                return None
            target = address_of(out)
        elif (
            type(out) is DeviceArray
            and out.dtype is dtype
            and out.shape == shape
            and out._address is not None
        ):
            target = out._address
        else:
            return None
        addresses = []
        for value, (dtype, shape, input_size) in zip(positional, shapes):
            if type(value) is np.ndarray:
                aligned = value.flags.num & CONTIGUOUS_ALIGNED == CONTIGUOUS_ALIGNED
                if not aligned or value.dtype is not dtype or value.shape != shape:
                    return None
                address = address_of(value)
            elif type(value) is DeviceArray and value.dtype is dtype and value.shape == shape:
                address = value._address
            else:
                return None
            if address is None or (address < target + size and target < address + input_size):
                return None
            addresses.append(address)
        addresses.append(target)
        return addresses

    def _invoke(self, addresses: list[int]) -> None:
        try:
            call = self._idle.pop()
        except IndexError:
            call = self._prepare()
        call(addresses)
        self._idle.append(call)  # a call that failed is dropped

    def compute(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Run the commands on these arrays."""
        self._invoke([address_of(array) for array in (*inputs, *outputs)])

    def new_result(self, check: TensorCheck) -> DeviceArray:
        """Return a new array in a buffer of the device."""
        buffer = self._device.allocator.allocate(check.nbytes, transfer.RESULT)
        return DeviceArray(check.shape, check.dtype, device=self._device, buffer=buffer)
