"""Drivers with one fault each, made from the reference driver; ``FAULTS`` says which rule catches which.

A fault is placed where a vendor's driver would have it: in the allocator, the mapping, the transfers, the
queue, the semaphores, the binding table, the processor, the executables, or in what it says of itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from thalweg.api import Aborted, DeadlineExceeded, NotSupported
from thalweg.hal.binding_table import BoundRange
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import (
    BarrierRecord,
    BufferRef,
    CommandBuffer,
    CommandRecord,
    CopyRecord,
    DispatchRecord,
    FillRecord,
    UpdateRecord,
)
from thalweg.hal.driver import PreparedCall
from thalweg.hal.executable import ExecutableRecord, HostKernel
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_memory import HostAllocator, HostBuffer
from thalweg.hal.host_processor import locate_in, run_commands
from thalweg.hal.host_semaphore import HostSemaphore
from thalweg.hal.semaphore import SemaphoreList
from thalweg.hal.types import (
    WHOLE_BUFFER,
    BufferParams,
    BufferUsage,
    HostBytes,
    MemoryAccess,
)

from .reference_driver import CAPABILITIES, FORMAT, FUNCTIONS, Library, ReferenceDevice

# Allocators


class OverlappingAllocator(HostAllocator):
    """Every buffer starts in the last bytes of the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self._pool = np.zeros(1 << 23, np.uint8)
        self._next = 0

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        if self._next + size > self._pool.size:
            return super().allocate(size, params)
        start, self._next = self._next, self._next + max(size - 8, 0)
        return HostBuffer(self._pool[start : start + size], params.usage, params.access)


class RoundingAllocator(HostAllocator):
    """A buffer has the size that the memory manager found handy."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        return super().allocate(-(-size // 64) * 64, params)


class PermissiveAllocator(HostAllocator):
    """A buffer may be used for everything, whatever it was asked for."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        return super().allocate(size, replace(params, usage=BufferUsage.DEFAULT | BufferUsage.MAPPING))


class MisaligningAllocator(HostAllocator):
    """A buffer starts 4 bytes past the alignment."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        memory = np.empty(size + 2 * params.alignment, np.uint8)
        start = -int(memory.__array_interface__["data"][0]) % params.alignment + 4
        return HostBuffer(memory[start : start + size], params.usage, params.access)


class LeakingAllocator(HostAllocator):
    """Every buffer is remembered for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._remembered: list[HostBuffer] = []

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        buffer = super().allocate(size, params)
        self._remembered.append(buffer)
        return buffer


class CopyingAllocator(HostAllocator):
    """Imported memory is copied."""

    def import_host(self, memory: object, params: BufferParams = BufferParams()) -> HostBuffer:
        return super().import_host(np.frombuffer(memory, np.uint8).copy(), params)  # type: ignore[call-overload]  # whatever has the buffer protocol


class AbruptAllocator(HostAllocator):
    """What does not fit ends in Python's own error."""

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        if size > 1 << 40:
            raise MemoryError(f"{size} bytes")
        return super().allocate(size, params)


class _BufferAllocator(HostAllocator):
    """Makes buffers of ``buffer_class``."""

    buffer_class: type[HostBuffer] = HostBuffer

    def allocate(self, size: int, params: BufferParams = BufferParams()) -> HostBuffer:
        memory = np.empty(size, np.uint8)
        return self.buffer_class(memory, params.usage, params.access)


# Mappings


class MapsFromTheStart(HostBuffer):
    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        offset, length = self.resolve_range(offset, length)
        return super().map(access, 0, length)


class MapsWritably(HostBuffer):
    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        super().map(access, offset, length)
        return super().map(MemoryAccess.ALL, offset, length)


class MapsSnapshots(HostBuffer):
    def map(self, access: MemoryAccess, offset: int = 0, length: int = WHOLE_BUFFER) -> memoryview:
        view = super().map(access, offset, length)
        return view if MemoryAccess.WRITE in access else memoryview(bytes(view))


class MapsWithoutAsking(HostBuffer):
    def require(self, usage: BufferUsage | None = None, access: MemoryAccess | None = None) -> None:
        super().require(None if usage is BufferUsage.MAPPING else usage, None if usage else access)


# The processor: each takes a command and returns what runs in its place.


class _ChangesCommands(ReferenceDevice):
    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        run_commands([self.change(command) for command in command_buffer.commands], locate_in(table))

    def change(self, command: CommandRecord) -> CommandRecord:
        raise NotImplementedError


class CopiesFromTheStart(_ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, CopyRecord) and command.source.buffer is not None:
            length = command.source.buffer.resolve_range(command.source.offset, command.source.length)[1]
            return replace(command, source=replace(command.source, offset=0, length=length))
        return command


class DropsTheLastByte(_ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, CopyRecord) and command.source.buffer is not None:
            length = command.source.buffer.resolve_range(command.source.offset, command.source.length)[1]
            return replace(command, source=replace(command.source, length=max(length - 1, 0)))
        return command


class FillsWithTheFirstByte(_ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        return replace(command, pattern=command.pattern[:1]) if isinstance(command, FillRecord) else command


class FillsInWords(_ChangesCommands):
    """A fill's end is rounded up to 4 bytes, where the buffer has them."""

    def change(self, command: CommandRecord) -> CommandRecord:
        if (
            isinstance(command, FillRecord)
            and command.target.buffer is not None
            and len(command.pattern) == 1
        ):
            buffer = command.target.buffer
            offset, length = buffer.resolve_range(command.target.offset, command.target.length)
            length = min(-(-length // 4) * 4, buffer.size - offset)
            return replace(command, target=BufferRef(buffer, offset, length))
        return command


class UpdatesAtTheStart(_ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, UpdateRecord):
            return replace(command, target=replace(command.target, offset=0))
        return command


class DropsPushConstants(_ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord):
            return replace(command, constants=(0,) * len(command.constants))
        return command


class RunsTheFirstFunction(_ChangesCommands):
    """The function's number is not looked at, where the interfaces agree."""

    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord) and len(command.bindings) == 2 and not command.constants:
            return replace(command, function=0)
        return command


class SwapsTheInputs(_ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord) and len(command.bindings) == 3:
            first, second, output = command.bindings
            return replace(command, bindings=(second, first, output))
        return command


class ForgetsBindingOffsets(_ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord):
            refs = tuple(replace(ref, offset=0) for ref in command.bindings)
            return replace(command, bindings=refs)
        return command


class SkipsTheLastWorkgroup(ReferenceDevice):
    def prepare_executable(self, record: ExecutableRecord) -> HostExecutable:
        executable = super().prepare_executable(record)

        def skipping(kernel: HostKernel) -> HostKernel:
            def run(views: Sequence[memoryview], constants: tuple, workgroup: tuple, count: tuple) -> None:
                if count == (1, 1, 1) or workgroup != tuple(size - 1 for size in count):
                    kernel.function(views, constants, workgroup, count)

            return HostKernel(run)

        kernels = [kernel for kernel in executable.library.kernels if isinstance(kernel, HostKernel)]
        executable.library.kernels = tuple(map(skipping, kernels))
        return executable


class RunsEmptyDispatches(_ChangesCommands):
    """A count of 0 is taken for 1."""

    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord):
            x, y, z = (max(size, 1) for size in command.workgroup_count)
            return replace(command, workgroup_count=(x, y, z))
        return command


class LosesKernelFailures(ReferenceDevice):
    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        try:
            super().execute(command_buffer, table)
        except Aborted:
            return


class RunsBetweenBarriersOnly(ReferenceDevice):
    """What stands after a barrier runs before what stands before it."""

    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        groups: list[list[CommandRecord]] = [[]]
        for command in command_buffer.commands:
            if isinstance(command, BarrierRecord):
                groups.append([])
            else:
                groups[-1].append(command)
        for group in reversed(groups):
            run_commands(group, locate_in(table))


class RunsOnce(ReferenceDevice):
    """A command buffer that has run is not run again."""

    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        if command_buffer.compiled is None:
            command_buffer.compiled = self
            super().execute(command_buffer, table)


class RunsShortLists(ReferenceDevice):
    """The command ring has 1024 places."""

    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        run_commands(command_buffer.commands[:1024], locate_in(table))


class CapturesUpdatesLate(ReferenceDevice):
    def queue_update(
        self, source: HostBytes, target: BufferRef, *, wait: SemaphoreList = (), signal: SemaphoreList = ()
    ) -> None:
        super().queue_update(bytes(source), target)  # checks it; the bytes are taken again when it runs

        def write() -> None:
            commands = CommandBuffer()
            commands.copy(BufferRef(self.allocator.import_host(bytes(source))), target)
            self.execute(commands.finalize(), {})

        self.queue.submit(write, wait, signal)


# The queue


class IgnoresWaits(ReferenceDevice):
    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        super().submit(command_buffer, table, (), signal)


class WaitsForTheFirst(ReferenceDevice):
    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        super().submit(command_buffer, table, wait[:1], signal)


class SignalsTheFirst(ReferenceDevice):
    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        super().submit(command_buffer, table, wait, signal[:1])


class SignalsEarly(ReferenceDevice):
    """A submission signals as soon as it may start; its work runs when the next one comes."""

    def __init__(self) -> None:
        super().__init__()
        self._put_off: list[Callable[[], None]] = []

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        def work() -> None:
            put_off, self._put_off = self._put_off, []
            for call in put_off:
                call()
            if commands is not None:
                self._put_off.append(partial(self.execute, commands, table))

        commands = command_buffer
        self.queue.submit(work, wait, signal)


class RunsInOrderOfSubmission(ReferenceDevice):
    """A submission waits for the one before it, as on a queue that knows no timeline."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[HostSemaphore, int] | None = None

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        before = [self._last] if self._last is not None else []
        self._last = (HostSemaphore(), 1)
        super().submit(command_buffer, table, [*wait, *before], [*signal, self._last])


class LosesFailures(ReferenceDevice):
    """Work whose wait has failed is dropped, and signals as if it had run."""

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        inner = HostSemaphore()
        super().submit(command_buffer, table, wait, [(inner, 1)])

        def pass_on(cause: BaseException | None) -> None:
            for semaphore, value in signal:
                semaphore.signal(value)

        inner.add_timepoint(1, pass_on)


class CloseAbandonsWork(ReferenceDevice):
    """Work that follows the 25th value of a timeline never starts, and close gives it up."""

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        forgotten = [(HostSemaphore(), 1)] if [value for _, value in wait] == [25] else []
        super().submit(command_buffer, table, [*wait, *forgotten], signal)


class IdlesEarly(ReferenceDevice):
    """wait_idle looks once, and the queue is slow."""

    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        self._slow.wait(0.02)
        super().execute(command_buffer, table)

    def __init__(self) -> None:
        super().__init__()
        self._slow = threading.Event()

    def wait_idle(self) -> None:
        return


# Semaphores


class _OwnSemaphores(ReferenceDevice):
    semaphore_class: type[HostSemaphore] = HostSemaphore

    def create_semaphore(self, initial_value: int = 0) -> HostSemaphore:
        return self.semaphore_class(initial_value)


class NarrowSemaphore(HostSemaphore):
    """A timeline of 32 bits."""

    def query(self) -> int:
        return super().query() & 0xFFFFFFFF


class RewindingSemaphore(HostSemaphore):
    """A signal to a smaller value is taken."""

    def signal(self, value: int) -> None:
        with self._condition:
            self._value = min(self._value, value - 1)
        super().signal(value)


class LastCauseSemaphore(HostSemaphore):
    """A second failure replaces the first."""

    def fail(self, cause: BaseException) -> None:
        super().fail(cause)
        self._cause = cause


class ForgivingSemaphore(HostSemaphore):
    """A failed semaphore can be signaled again."""

    def signal(self, value: int) -> None:
        self._cause = None
        super().signal(value)


class ReturningSemaphore(HostSemaphore):
    """A wait that runs out returns."""

    def wait(self, value: int, timeout: float | None = None) -> None:
        try:
            super().wait(value, timeout)
        except DeadlineExceeded:
            return


class DeafSemaphore(HostSemaphore):
    """A failure wakes nobody who waits in this process."""

    def fail(self, cause: BaseException) -> None:
        if self._cause is None:
            self._cause = cause
            waiting, self._timepoints = self._timepoints, []
            for _, call in waiting:
                call(cause)

    def wait(self, value: int, timeout: float | None = None) -> None:
        with self._condition:
            if self._cause is None and not self._condition.wait_for(lambda: self._value >= value, timeout):
                raise DeadlineExceeded(f"semaphore is at {self._value}")
        super().wait(value, 0)


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


# Executables


class TakesAnyFormat(ReferenceDevice):
    def prepare_executable(self, record: ExecutableRecord) -> HostExecutable:
        if record.format != FORMAT:
            kernels = tuple(HostKernel(FUNCTIONS["absolute"][0]) for _ in record.entries)
            return HostExecutable(record, Library(kernels))
        return super().prepare_executable(record)


class TakesDamagedData(ReferenceDevice):
    def prepare_executable(self, record: ExecutableRecord) -> HostExecutable:
        if record.format != FORMAT:
            return super().prepare_executable(record)
        known = [FUNCTIONS.get(entry.name, FUNCTIONS["absolute"]) for entry in record.entries]
        return HostExecutable(record, Library(tuple(HostKernel(function) for function, _ in known)))


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


@dataclass(frozen=True)
class Fault:
    """A mutant, and the rule (with its area) that must catch it."""

    device: type[ReferenceDevice]
    rule: str
    area: str


def _with_allocator(allocator: type[HostAllocator], name: str = "") -> type[ReferenceDevice]:
    def make(self: ReferenceDevice) -> None:
        ReferenceDevice.__init__(self)
        self.host_allocator = allocator()

    return type(name or allocator.__name__, (ReferenceDevice,), {"__init__": make})


def _with_buffers(buffer: type[HostBuffer]) -> type[ReferenceDevice]:
    return _with_allocator(type("A", (_BufferAllocator,), {"buffer_class": buffer}), buffer.__name__)


def _with_semaphores(semaphore: type[HostSemaphore]) -> type[ReferenceDevice]:
    return type(semaphore.__name__, (_OwnSemaphores,), {"semaphore_class": semaphore})


FAULTS = (
    Fault(_with_allocator(OverlappingAllocator), "HAL-ALC-4", "allocator"),
    Fault(_with_allocator(RoundingAllocator), "HAL-ALC-1:3", "allocator"),
    Fault(_with_allocator(PermissiveAllocator), "HAL-XFR-14", "transfer"),
    Fault(_with_allocator(MisaligningAllocator), "HAL-ALC-6:4096", "allocator"),
    Fault(_with_allocator(LeakingAllocator), "HAL-ALC-10", "allocator"),
    Fault(_with_allocator(CopyingAllocator), "HAL-ALC-7", "allocator"),
    Fault(_with_allocator(AbruptAllocator), "HAL-ALC-5", "allocator"),
    Fault(_with_buffers(MapsFromTheStart), "HAL-MAP-2", "mapping"),
    Fault(_with_buffers(MapsWritably), "HAL-MAP-3", "mapping"),
    Fault(_with_buffers(MapsSnapshots), "HAL-MAP-7", "mapping"),
    Fault(_with_buffers(MapsWithoutAsking), "HAL-MAP-6", "mapping"),
    Fault(CopiesFromTheStart, "HAL-XFR-10:1-2-3", "transfer"),
    Fault(DropsTheLastByte, "HAL-XFR-9", "transfer"),
    Fault(FillsWithTheFirstByte, "HAL-XFR-1:4-byte", "transfer"),
    Fault(FillsInWords, "HAL-XFR-3", "transfer"),
    Fault(UpdatesAtTheStart, "HAL-XFR-5:3-5", "transfer"),
    Fault(CapturesUpdatesLate, "HAL-XFR-6", "transfer"),
    Fault(IgnoresWaits, "HAL-QUE-1", "queue"),
    Fault(WaitsForTheFirst, "HAL-QUE-2", "queue"),
    Fault(SignalsTheFirst, "HAL-QUE-3", "queue"),
    Fault(SignalsEarly, "HAL-QUE-4", "queue"),
    Fault(RunsInOrderOfSubmission, "HAL-QUE-5", "queue"),
    Fault(LosesFailures, "HAL-QUE-8", "queue"),
    Fault(_with_semaphores(NarrowSemaphore), "HAL-SEM-1:4611686018427387905", "semaphore"),
    Fault(_with_semaphores(RewindingSemaphore), "HAL-SEM-3", "semaphore"),
    Fault(_with_semaphores(ReturningSemaphore), "HAL-SEM-5", "semaphore"),
    Fault(_with_semaphores(ForgivingSemaphore), "HAL-SEM-6", "semaphore"),
    Fault(_with_semaphores(LastCauseSemaphore), "HAL-SEM-7", "semaphore"),
    Fault(_with_semaphores(DeafSemaphore), "HAL-SEM-11", "semaphore"),
    Fault(CountsSlotsFromOne, "HAL-BND-1", "binding table"),
    Fault(ForgetsTableOffsets, "HAL-BND-2", "binding table"),
    Fault(ForgetsTableLengths, "HAL-BND-3", "binding table"),
    Fault(ReadsTheTableLate, "HAL-BND-5", "binding table"),
    Fault(RunsBetweenBarriersOnly, "HAL-CMD-7", "command buffer"),
    Fault(RunsOnce, "HAL-CMD-8", "command buffer"),
    Fault(RunsShortLists, "HAL-CMD-12", "command buffer"),
    Fault(TakesAnyBuffer, "HAL-CMD-13", "command buffer"),
    Fault(SwapsTheInputs, "HAL-DSP-2", "dispatch"),
    Fault(RunsTheFirstFunction, "HAL-DSP-3", "dispatch"),
    Fault(ForgetsBindingOffsets, "HAL-DSP-4", "dispatch"),
    Fault(RunsEmptyDispatches, "HAL-DSP-11", "dispatch"),
    Fault(DropsPushConstants, "HAL-DSP-12", "dispatch"),
    Fault(SkipsTheLastWorkgroup, "HAL-DSP-13", "dispatch"),
    Fault(LosesKernelFailures, "HAL-DSP-14", "dispatch"),
    Fault(PromisesTooMuch, "HAL-DSP-16", "dispatch"),
    Fault(TakesAnyFormat, "HAL-EXE-1", "executable"),
    Fault(TakesDamagedData, "HAL-EXE-5", "executable"),
    Fault(CloseAbandonsWork, "HAL-DRV-9", "driver"),
    Fault(IdlesEarly, "HAL-DRV-10", "driver"),
    Fault(KeepsACapabilityToItself, "HAL-DRV-10", "driver"),
    Fault(RefusesWithAnotherError, "HAL-DRV-10", "driver"),
    Fault(RefusesAsAnotherCapability, "HAL-DRV-10", "driver"),
    Fault(FailsToClose, "HAL-DRV-11", "driver"),
)
