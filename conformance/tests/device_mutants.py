"""Faults of binding tables, and of what the device says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from thalweg.api import NotSupported
from thalweg.hal.binding_table import BoundRange
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import (
    BufferRef,
    CommandBuffer,
)
from thalweg.hal.driver import PreparedCall
from thalweg.hal.semaphore import SemaphoreList
from thalweg.hal.types import (
    WHOLE_BUFFER,
)

from .reference_driver import CAPABILITIES, ReferenceDevice

# Binding tables


class CountsSlotsFromOne(ReferenceDevice):
    def resolve(self, command_buffer: CommandBuffer, bindings: Sequence[BufferRef]) -> dict[int, BoundRange]:
        return super().resolve(command_buffer, [*bindings[-1:], *bindings[:-1]])


class ForgetsTableOffsets(ReferenceDevice):
    def resolve(self, command_buffer: CommandBuffer, bindings: Sequence[BufferRef]) -> dict[int, BoundRange]:
        table = super().resolve(command_buffer, bindings)
        return {slot: replace(bound, offset=0) for slot, bound in table.items()}


class ForgetsTableLengths(ReferenceDevice):
    """A table's range reaches to the end of its buffer."""

    def resolve(self, command_buffer: CommandBuffer, bindings: Sequence[BufferRef]) -> dict[int, BoundRange]:
        return super().resolve(command_buffer, [replace(ref, length=WHOLE_BUFFER) for ref in bindings])


class ReadsTheTableLate(ReferenceDevice):
    def queue_execute(
        self,
        command_buffer: CommandBuffer | None,
        bindings: Sequence[BufferRef] = (),
        *,
        wait: SemaphoreList = (),
        signal: SemaphoreList = (),
    ) -> None:
        if command_buffer is None:
            super().queue_execute(None, wait=wait, signal=signal)
            return
        self.resolve(command_buffer, bindings)
        commands = command_buffer
        late = lambda: self.execute(commands, self.resolve(commands, bindings))
        self.queue.submit(late, wait, signal)


class TakesAnyBuffer(ReferenceDevice):
    def check_buffers(self, buffers: Sequence[Buffer]) -> None:
        return


# What the device says of itself


class KeepsACapabilityToItself(ReferenceDevice):
    """wait_idle works, and is not declared."""

    capabilities = CAPABILITIES - {"wait-idle"}


class RefusesWithAnotherError(ReferenceDevice):
    """wait_idle is not declared, and ends in an error of Python's."""

    capabilities = CAPABILITIES - {"wait-idle"}

    def wait_idle(self) -> None:
        raise RuntimeError("no such command")


class RefusesAsAnotherCapability(ReferenceDevice):
    """wait_idle is not declared, and refused under another name."""

    capabilities = CAPABILITIES - {"wait-idle"}

    def wait_idle(self) -> None:
        raise NotSupported("idling")


class PromisesTooMuch(ReferenceDevice):
    """Prepared calls are declared, and refused."""

    capabilities = CAPABILITIES | {"prepared-calls"}

    def prepare_call(
        self, command_buffer: CommandBuffer, static_bindings: Mapping[int, Buffer]
    ) -> PreparedCall:
        raise NotSupported("prepared-calls")


class FailsToClose(ReferenceDevice):
    def close(self) -> None:
        super().close()
        raise OSError("the queue is still busy")
