"""Functions on any device: buffers, one submission, one semaphore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import BufferRef
from thalweg.hal.driver import Device
from thalweg.hal.semaphore import Semaphore
from thalweg.module.program import FunctionSignature
from thalweg.runtime import transfer
from thalweg.runtime.addresses import WRITABLE_CONTIGUOUS_ALIGNED, bytes_of
from thalweg.runtime.arguments import TensorCheck
from thalweg.runtime.device_array import DeviceArray
from thalweg.runtime.function import StaticFunction
from thalweg.runtime.recording import RecordedFunction


@dataclass
class _Submission:
    """What one call in flight owns."""

    arena: Buffer | None
    timeline: Semaphore
    value: int = 0


class QueuedFunction(StaticFunction):
    """Submits the recorded command buffer with a binding table and waits for its semaphore.

    Host arrays are imported where the device computes in host memory, and copied to and from the device
    elsewhere.
    """

    def __init__(self, signature: FunctionSignature, device: Device, recorded: RecordedFunction):
        super().__init__(signature)
        self._device = device
        self._recorded = recorded
        self._idle: list[_Submission] = []

    def _run(
        self, inputs: Sequence[np.ndarray | DeviceArray], targets: Sequence[np.ndarray | DeviceArray | None]
    ) -> list[np.ndarray | DeviceArray]:
        bindings = [BufferRef(self._input_buffer(value)) for value in inputs]
        results: list[np.ndarray | DeviceArray] = []
        copies: list[tuple[np.ndarray | DeviceArray, DeviceArray]] = []
        for check, target in zip(self._outputs, targets):
            buffer = self._target_buffer(target)
            if target is None:
                target = self._new_array(check)
                buffer = target.buffer
            elif buffer is None:
                copies.append((target, self._new_array(check)))
                buffer = copies[-1][1].buffer
            bindings.append(BufferRef(buffer))
            results.append(target)
        self._submit(bindings)
        for target, fresh in copies:
            if isinstance(target, DeviceArray):
                target.write(fresh.to_numpy())
            else:
                np.copyto(target, fresh.to_numpy(), casting="no")
        return results

    def _input_buffer(self, value: np.ndarray | DeviceArray) -> Buffer:
        if isinstance(value, DeviceArray):
            if value.device is self._device and value.buffer is not None:
                return value.buffer
            value = value.to_numpy()
        data = bytes_of(value)
        if transfer.is_host_addressable(self._device):
            return self._device.allocator.import_host(data, transfer.RESULT)
        return transfer.upload(self._device, data)

    def _target_buffer(self, target: np.ndarray | DeviceArray | None) -> Buffer | None:
        """Return a buffer that *is* the target's memory, or ``None`` if there is none."""
        if isinstance(target, DeviceArray):
            return target.buffer if target.device is self._device else None
        if target is None or not transfer.is_host_addressable(self._device):
            return None
        behaved = target.flags.num & WRITABLE_CONTIGUOUS_ALIGNED == WRITABLE_CONTIGUOUS_ALIGNED
        return self._device.allocator.import_host(bytes_of(target), transfer.RESULT) if behaved else None

    def _new_array(self, check: TensorCheck) -> DeviceArray:
        buffer = self._device.allocator.allocate(check.nbytes, transfer.result_params(self._device))
        return DeviceArray(check.shape, check.dtype, device=self._device, buffer=buffer)

    def _submit(self, bindings: list[BufferRef]) -> None:
        try:
            submission = self._idle.pop()
        except IndexError:
            submission = self._new_submission()
        if submission.arena is not None:
            bindings.append(BufferRef(submission.arena))
        submission.value += 1
        self._device.queue_execute(
            self._recorded.command_buffer, bindings, signal=[(submission.timeline, submission.value)]
        )
        submission.timeline.wait(submission.value)
        self._idle.append(submission)  # a failed timeline is dropped

    def _new_submission(self) -> _Submission:
        arena = None
        if self._recorded.transient_slot is not None:
            arena = self._device.allocator.allocate(self._recorded.transient_bytes)
        return _Submission(arena, self._device.create_semaphore(0))
