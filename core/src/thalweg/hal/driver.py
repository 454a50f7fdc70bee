"""What a HAL driver implements: ``Driver`` and ``Device``.

A minimal driver implements ``Driver.query_available_devices``, ``Driver.create_device`` and the abstract
methods of ``Device``; what it leaves out is either common code or raises ``NotSupported``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg.errors import NotSupported
from thalweg.hal.types import DeviceInfo, HostBytes

if TYPE_CHECKING:
    from thalweg.hal.buffer import Allocator, Buffer
    from thalweg.hal.command_buffer import BufferRef, CommandBuffer
    from thalweg.hal.executable import Executable
    from thalweg.hal.semaphore import Semaphore, SemaphoreList
    from thalweg.module.module import ExecutableRecord


class Driver(ABC):
    """A family of devices."""

    name: str
    """The slug it is installed under."""

    @abstractmethod
    def query_available_devices(self) -> list[DeviceInfo]:
        """Return the devices that can be created now; may be empty. Touches no device more than needed."""

    @abstractmethod
    def create_device(self, path: str = "", params: Mapping[str, str] | None = None) -> Device:
        """Create the device at ``path`` (empty: the driver's choice).

        :param params: from the URI's query, as ``threads=4``.
        :raises UnknownName: no device at that path; the message lists the paths there are.
        :raises InvalidArgument: an unknown or malformed parameter.
        :raises Unavailable: it is there but cannot be opened.
        """

    def dump_device_info(self, path: str = "") -> dict[str, object]:
        """Return what there is to know of a device, as key → value, for people."""
        return {}


class Device(ABC):
    """One device: makes buffers, semaphores and executables, and runs queue operations.

    Queue operations return at once. They start when every (semaphore, value) of ``wait`` has been reached,
    signal ``signal`` when done, and fail ``signal`` with the first cause when a wait or they themselves fail.
    A device is thread-safe.
    """

    identifier: str
    """The URI that names it, as ``local-task://``."""
    capabilities: frozenset[str] = frozenset()
    """Optional features: ``host-addressable`` (buffers have ``host_address``), ``prepared-calls``, …"""

    @property
    @abstractmethod
    def allocator(self) -> Allocator:
        """The device's allocator."""

    @abstractmethod
    def query(self, category: str, key: str) -> int:
        """Answer a constant question with an integer, 0 for unknown.

        Categories: ``hal.device.kind`` (key ``local``, …), ``hal.executable.format`` (key: a format),
        ``hal.device.feature`` (key: a CPU feature such as ``avx2``), ``hal.device`` (key ``concurrency``).
        """

    @abstractmethod
    def create_semaphore(self, initial_value: int = 0) -> Semaphore:
        """Create a timeline semaphore at ``initial_value`` (unsigned 64-bit)."""

    @abstractmethod
    def prepare_executable(self, record: ExecutableRecord) -> Executable:
        """Load an executable.

        :raises NotSupported: for a format that this device does not run; the message lists those it does.
        :raises ModuleFormatError: for damaged data.
        """

    @abstractmethod
    def queue_execute(
        self,
        command_buffer: CommandBuffer | None,
        bindings: Sequence[BufferRef] = (),
        *,
        wait: SemaphoreList = (),
        signal: SemaphoreList = (),
    ) -> None:
        """Submit a finalized command buffer (``None``: a barrier) with its binding table, captured at the
        call.
        """

    # The operations below have defaults in ``thalweg.hal.queue_emulation`` (a one-shot command buffer each).

    def queue_fill(
        self, target: BufferRef, pattern: bytes, *, wait: SemaphoreList = (), signal: SemaphoreList = ()
    ):
        """Fill with a pattern of 1, 2 or 4 bytes."""
        from thalweg.hal import queue_emulation  # queue_emulation imports this module

        queue_emulation.fill(self, target, pattern, wait, signal)

    def queue_update(
        self, source: HostBytes, target: BufferRef, *, wait: SemaphoreList = (), signal: SemaphoreList = ()
    ):
        """Write host bytes, captured at the call."""
        from thalweg.hal import queue_emulation  # queue_emulation imports this module

        queue_emulation.update(self, source, target, wait, signal)

    def queue_copy(
        self, source: BufferRef, target: BufferRef, *, wait: SemaphoreList = (), signal: SemaphoreList = ()
    ):
        """Copy between buffers of this device; the ranges have one length and do not overlap."""
        from thalweg.hal import queue_emulation  # queue_emulation imports this module

        queue_emulation.copy(self, source, target, wait, signal)

    def prepare_call(
        self, command_buffer: CommandBuffer, static_bindings: Mapping[int, Buffer]
    ) -> PreparedCall:
        """Prepare a command buffer for calls that only change addresses (capability ``prepared-calls``).

        :param static_bindings: slot → buffer for the slots that stay the same (constants, the arena).
        """
        raise NotSupported("prepared-calls")

    def wait_idle(self) -> None:
        """Wait until everything that was submitted has ended."""
        raise NotSupported("wait-idle")

    def close(self) -> None:  # noqa: B027  (a device that holds nothing has nothing to end)
        """End the device's threads and free what it holds; idempotent. Work in flight ends first."""


PreparedCall = Callable[[Sequence[int]], Any]
"""Called with one host address per remaining slot, in slot order; runs to the end and raises ``Aborted`` on
failure.
"""
