"""The device: takes submissions, and has the card do what they say.

Order, waiting and failure are common code: ``HostQueue`` starts a submission when its semaphores say so, on
one thread, and signals. A card with queues of its own replaces that (``README.md``, step 6).
"""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.api import Aborted, InvalidArgument
from thalweg.hal.binding_table import BindingTableCheck, BoundRange, resolve
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import (
    BufferRef,
    CommandBuffer,
    CommandRecord,
    CopyRecord,
    DispatchRecord,
    FillRecord,
    UpdateRecord,
)
from thalweg.hal.driver import Device
from thalweg.hal.executable import ExecutableRecord, HostKernel
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_queue import HostQueue
from thalweg.hal.host_semaphore import HostSemaphore
from thalweg.hal.semaphore import SemaphoreList

from thalweg_driver_example.executables import create_loaders, prepare
from thalweg_driver_example.memory import CardAllocator, CardBuffer
from thalweg_driver_example.plugin import CAPABILITIES, NAME
from thalweg_driver_example.vendor import Card, Span

Table = dict[int, BoundRange]


class ExampleDevice(Device):
    """One card."""

    capabilities = CAPABILITIES

    def __init__(self, card: Card):
        self.identifier = f"{NAME}://{card.number}"
        self._card = card
        self._allocator = CardAllocator(card)
        self._loaders = create_loaders()
        self._queue = HostQueue(self.identifier, threaded=True)

    @property
    def allocator(self) -> CardAllocator:
        """The card's allocator."""
        return self._allocator

    def query(self, category: str, key: str) -> int:
        """Answer a constant question; see ``Device.query``."""
        answers = {
            ("hal.device.kind", NAME): 1,
            ("hal.device.kind", "local"): 1,  # as modules for portable bytecode ask for it
            ("hal.device", "concurrency"): 1,
            **{("hal.executable.format", format): 1 for format in self._loaders},
        }
        return answers.get((category, key), 0)

    def create_semaphore(self, initial_value: int = 0) -> HostSemaphore:
        """Create a timeline semaphore, in host memory."""
        return HostSemaphore(initial_value)

    def prepare_executable(self, record: ExecutableRecord) -> HostExecutable:
        """Load an executable; see ``Device.prepare_executable``."""
        return prepare(record, self._loaders)

    def queue_execute(
        self,
        command_buffer: CommandBuffer | None,
        bindings: Sequence[BufferRef] = (),
        *,
        wait: SemaphoreList = (),
        signal: SemaphoreList = (),
    ) -> None:
        """Submit a command buffer; see ``Device.queue_execute``. What can be checked is checked now."""
        if command_buffer is None:
            self._queue.submit(None, wait, signal)
            return
        table = BindingTableCheck(command_buffer).resolve(bindings)
        commands = command_buffer.commands
        direct = [ref.buffer for command in commands for ref in _references(command) if ref.buffer]
        for buffer in [*direct, *(bound.buffer for bound in table.values())]:
            _card_buffer(buffer)
        self._queue.submit(lambda: self._run(commands, table), wait, signal)

    def wait_idle(self) -> None:
        """Wait until everything that was submitted has ended (capability ``wait-idle``)."""
        self._queue.wait_idle()

    def close(self) -> None:
        """End the queue's thread, after what is ready has run."""
        self._queue.close()

    def _run(self, commands: Sequence[CommandRecord], table: Table) -> None:
        """Have the card run ``commands``, in order, which every barrier allows; on the queue's thread."""
        for index, command in enumerate(commands):
            if isinstance(command, DispatchRecord):
                self._dispatch(index, command, table)
            elif isinstance(command, CopyRecord):
                self._card.copy(_span(resolve(command.source, table)), _span(resolve(command.target, table)))
            elif isinstance(command, FillRecord):
                self._card.fill(_span(resolve(command.target, table)), command.pattern)
            elif isinstance(command, UpdateRecord):
                self._card.write(command.data, _span(resolve(command.target, table)))

    def _dispatch(self, index: int, command: DispatchRecord, table: Table) -> None:
        executable = command.executable
        if not isinstance(executable, HostExecutable):
            raise InvalidArgument(f"{self.identifier} did not prepare executable {executable.name!r}")
        entry, kernel = executable.entries[command.function], executable.library.kernels[command.function]
        if not isinstance(kernel, HostKernel):
            raise InvalidArgument(f"{self.identifier} runs no machine code, which {entry.name!r} is")
        spans = [_span(resolve(ref, table)) for ref in command.bindings]
        arguments = [(span, "w" in access) for span, access in zip(spans, entry.accesses())]
        try:
            self._card.launch(kernel.function, arguments, command.constants, command.workgroup_count)
        except Exception as error:  # whatever a kernel raises becomes the submission's failure
            raise Aborted(f"kernel {entry.name!r} (command {index}) failed: {error}") from error


def _references(command: CommandRecord) -> Sequence[BufferRef]:
    if isinstance(command, DispatchRecord):
        return command.bindings
    if isinstance(command, CopyRecord):
        return command.source, command.target
    return (command.target,) if isinstance(command, FillRecord | UpdateRecord) else ()


def _card_buffer(buffer: Buffer) -> CardBuffer:
    if not isinstance(buffer, CardBuffer):
        raise InvalidArgument(f"the card uses buffers that it made; got a {type(buffer).__name__}")
    return buffer


def _span(bound: BoundRange) -> Span:
    """Return a range as the vendor's library names it."""
    return _card_buffer(bound.buffer).span(bound.offset, bound.length)
