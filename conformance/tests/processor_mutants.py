"""Faults of the processor, which runs the commands, and of executables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from thalweg.api import Aborted
from thalweg.hal.binding_table import BoundRange
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
from thalweg.hal.executable import ExecutableRecord, HostKernel
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_processor import locate_in, run_commands
from thalweg.hal.semaphore import SemaphoreList
from thalweg.hal.types import (
    HostBytes,
)

from .reference_driver import FORMAT, FUNCTIONS, Library, ReferenceDevice

# The processor: each takes a command and returns what runs in its place.


class ChangesCommands(ReferenceDevice):
    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        run_commands([self.change(command) for command in command_buffer.commands], locate_in(table))

    def change(self, command: CommandRecord) -> CommandRecord:
        raise NotImplementedError


class CopiesFromTheStart(ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, CopyRecord) and command.source.buffer is not None:
            length = command.source.buffer.resolve_range(command.source.offset, command.source.length)[1]
            return replace(command, source=replace(command.source, offset=0, length=length))
        return command


class DropsTheLastByte(ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, CopyRecord) and command.source.buffer is not None:
            length = command.source.buffer.resolve_range(command.source.offset, command.source.length)[1]
            return replace(command, source=replace(command.source, length=max(length - 1, 0)))
        return command


class FillsWithTheFirstByte(ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        return replace(command, pattern=command.pattern[:1]) if isinstance(command, FillRecord) else command


class FillsInWords(ChangesCommands):
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


class UpdatesAtTheStart(ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, UpdateRecord):
            return replace(command, target=replace(command.target, offset=0))
        return command


class DropsPushConstants(ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord):
            return replace(command, constants=(0,) * len(command.constants))
        return command


class RunsTheFirstFunction(ChangesCommands):
    """The function's number is not looked at, where the interfaces agree."""

    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord) and len(command.bindings) == 2 and not command.constants:
            return replace(command, function=0)
        return command


class SwapsTheInputs(ChangesCommands):
    def change(self, command: CommandRecord) -> CommandRecord:
        if isinstance(command, DispatchRecord) and len(command.bindings) == 3:
            first, second, output = command.bindings
            return replace(command, bindings=(second, first, output))
        return command


class ForgetsBindingOffsets(ChangesCommands):
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


class RunsEmptyDispatches(ChangesCommands):
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
