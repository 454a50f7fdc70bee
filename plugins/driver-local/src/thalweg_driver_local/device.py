"""A local device: host memory, an engine that runs submissions, and executable loaders."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence

from thalweg.api import InvalidArgument
from thalweg.hal.binding_table import BindingTableCheck
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import BufferRef, CommandBuffer, DispatchRecord
from thalweg.hal.driver import Device, PreparedCall
from thalweg.hal.executable import ExecutableRecord
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_memory import HostAllocator, HostBuffer
from thalweg.hal.semaphore import Semaphore, SemaphoreList

from thalweg_driver_local.engine import CompiledCommands, Engine
from thalweg_driver_local.loading import LoaderSet
from thalweg_driver_local.perf_map import write_symbols
from thalweg_driver_local.plugin import CAPABILITIES


class LocalDevice(Device):
    """This machine's processors, through one engine. Thread-safe.

    A device belongs to the process that made it: after a fork, the child's use of it raises ``Aborted``. It
    is closed when it is collected and when the interpreter exits: work that is ready ends, work that waits
    fails.
    :param masked: processor features that the device denies having; it takes variants that run without them.
    :param perf_map: the names and addresses of loaded kernels are written where ``perf`` looks for them.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        identifier: str,
        engine: Engine,
        loaders: LoaderSet,
        masked: frozenset[str] = frozenset(),
        perf_map: bool = False,
    ):
        self.identifier = identifier
        self._engine = engine
        self._loaders = loaders
        self._masked = masked
        self._perf_map = perf_map
        self._allocator = HostAllocator()
        self._finalizer = weakref.finalize(self, _close_engine, engine, os.getpid())

    @property
    def allocator(self) -> HostAllocator:
        """The allocator of this device's buffers, in host memory."""
        return self._allocator

    @property
    def processor(self) -> str:
        """Which processor replays command buffers: ``native`` or ``python``."""
        return self._engine.processor

    def query(self, category: str, key: str) -> int:
        """Answer a constant question; see ``Device.query``."""
        if category == "hal.device.kind":
            return int(key == "local")
        if category == "hal.executable.format":
            return int(key in self._loaders.formats())
        if category == "hal.device.feature":
            return int(key not in self._masked and key in self._loaders.features())
        if category == "hal.device" and key == "concurrency":
            return self._engine.threads
        return 0

    def create_semaphore(self, initial_value: int = 0) -> Semaphore:
        """Create a timeline semaphore, for the local devices with this one's processor."""
        return self._engine.create_semaphore(initial_value)

    def prepare_executable(self, record: ExecutableRecord) -> HostExecutable:
        """Load an executable; see ``Device.prepare_executable``."""
        executable = self._loaders.load(record)
        if self._perf_map:
            write_symbols(executable.library.symbols)
        return executable

    def queue_execute(
        self,
        command_buffer: CommandBuffer | None,
        bindings: Sequence[BufferRef] = (),
        *,
        wait: SemaphoreList = (),
        signal: SemaphoreList = (),
    ) -> None:
        """Submit a command buffer; see ``Device.queue_execute``."""
        if command_buffer is None:
            self._engine.submit(None, {}, wait, signal)
            return
        compiled = self._compiled(command_buffer)
        table = compiled.check.resolve(bindings)
        for bound in table.values():
            _require_host_buffer(bound.buffer)
        self._engine.submit(compiled, table, wait, signal)

    def prepare_call(
        self, command_buffer: CommandBuffer, static_bindings: Mapping[int, Buffer]
    ) -> PreparedCall:
        """Prepare a command buffer for calls with addresses; see ``Device.prepare_call``.

        The addresses are trusted: nothing can check that they have the bytes that the commands use.
        References to the remaining slots need a length of their own where it has a meaning (transfers, host
        kernels).
        """
        check = self._checked(command_buffer)
        static = check.resolve_static({slot: BufferRef(buffer) for slot, buffer in static_bindings.items()})
        remaining = tuple(
            slot for slot in range(command_buffer.binding_capacity) if slot not in static_bindings
        )
        return self._engine.prepare_call(CompiledCommands(command_buffer, check), static, remaining)

    def wait_idle(self) -> None:
        """Wait until everything that was submitted has ended."""
        self._engine.wait_idle()

    def close(self) -> None:
        """End the device's threads; work that is ready ends, work that still waits fails. Idempotent."""
        self._finalizer()

    def _compiled(self, command_buffer: CommandBuffer) -> CompiledCommands:
        compiled = command_buffer.compiled
        if not isinstance(compiled, CompiledCommands) or compiled.owner is not self._engine:
            compiled = CompiledCommands(command_buffer, self._checked(command_buffer), owner=self._engine)
            self._engine.compile(compiled)
            command_buffer.compiled = compiled
        return compiled

    def _checked(self, command_buffer: CommandBuffer) -> BindingTableCheck:
        check = BindingTableCheck(command_buffer)
        for command in command_buffer.commands:
            if isinstance(command, DispatchRecord):
                if not isinstance(command.executable, HostExecutable):
                    kind = type(command.executable).__name__
                    raise InvalidArgument(
                        f"{self.identifier} runs executables that it prepared; got a {kind}"
                    )
                refs = command.bindings
            else:
                refs = [getattr(command, name) for name in ("source", "target") if hasattr(command, name)]
            for ref in refs:
                if ref.buffer is not None:
                    _require_host_buffer(ref.buffer)
        return check


def _require_host_buffer(buffer: Buffer) -> None:
    if not isinstance(buffer, HostBuffer):
        raise InvalidArgument(f"a local device uses buffers in host memory; got a {type(buffer).__name__}")


def _close_engine(engine: Engine, process: int) -> None:
    """Close ``engine`` in the process that made it; a forked child has none of its threads."""
    if os.getpid() == process:
        engine.close()
