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
        self._forms = tuple((check.dtype, check.shape, check.nbytes) for check in self._inputs)
        self._output_forms = tuple((check.dtype, check.shape, check.nbytes) for check in self._outputs)
        self._idle.append(self._prepare())

    def _prepare(self) -> PreparedCall:
        recorded = self._recorded
        static = {}
        if recorded.transient_slot is not None:
            static[recorded.transient_slot] = self._device.allocator.allocate(recorded.transient_bytes)
        return self._device.prepare_call(recorded.command_buffer, static)

    def __call__(self, /, *positional: Any, out: Any = None, **named: Any) -> Any:
        """Run the function to its end; see ``ProgramFunction``.

        The common call (positional arrays of the right form, results new or in ``out=`` arrays of the right
        form) is checked and placed here in a few microseconds. Whatever else comes takes the general way,
        which accepts the same and explains what it refuses.
        """
        if not named and len(positional) == len(self._forms):
            addresses = self._place_inputs(positional)
            if addresses is not None:
                if out is None:
                    results: Any = [self.new_result(check) for check in self._outputs]
                    addresses += [result._address for result in results]
                    self._invoke(addresses)
                    return self._result(results)
                targets = out if type(out) is tuple else (out,)
                if len(targets) == len(self._output_forms) and self._place_targets(addresses, targets):
                    self._invoke(addresses)
                    return self._result(targets)
        return super().__call__(*positional, out=out, **named)

    def _place_inputs(self, values: tuple[Any, ...]) -> list[int] | None:
        """Return the addresses of inputs that are right and need no copy, else ``None``."""
        addresses = []
        for value, (dtype, shape, _) in zip(values, self._forms):
            if type(value) is np.ndarray:
                aligned = value.flags.num & CONTIGUOUS_ALIGNED == CONTIGUOUS_ALIGNED
                if not aligned or value.dtype is not dtype or value.shape != shape:
                    return None
                addresses.append(address_of(value))
            elif type(value) is DeviceArray and value.dtype is dtype and value.shape == shape:
                if value._address is None:
                    return None
                addresses.append(value._address)
            else:
                return None
        return addresses

    def _place_targets(self, addresses: list[int], targets: tuple[Any, ...]) -> bool:
        """Append the addresses of targets that are right and share no memory; return whether all are."""
        sizes = [form[2] for form in self._forms]
        for target, (dtype, shape, size) in zip(targets, self._output_forms):
            if type(target) is np.ndarray:
                behaved = target.flags.num & WRITABLE_CONTIGUOUS_ALIGNED == WRITABLE_CONTIGUOUS_ALIGNED
                if not behaved or target.dtype is not dtype or target.shape != shape:
                    return False
                address = address_of(target)
            elif type(target) is DeviceArray and target.dtype is dtype and target.shape == shape:
                if target._address is None:
                    return False
                address = target._address
            else:
                return False
            end = address + size
            for other, other_size in zip(addresses, sizes):
                if address < other + other_size and other < end:
                    return False
            addresses.append(address)
            sizes.append(size)
        return True

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
