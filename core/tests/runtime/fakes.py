"""Fake kernels, loaders, devices and a registry of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from thalweg.errors import NotSupported
from thalweg.hal.binding_table import BindingTableCheck, resolve
from thalweg.hal.buffer import Buffer
from thalweg.hal.driver import Device, Driver
from thalweg.hal.executable import ExecutableLoader, HostKernel, LoadedLibrary
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_memory import HostAllocator
from thalweg.hal.host_processor import run_commands
from thalweg.hal.host_queue import HostQueue
from thalweg.hal.host_semaphore import HostSemaphore
from thalweg.hal.types import BufferParams, MemoryType
from thalweg.module.module import ExecutableRecord
from thalweg.plugin.entry_points import PluginEntry
from thalweg.plugin.hookspecs import hookimpl
from thalweg.plugin.known import KnownPlugins
from thalweg.plugin.registry import Registry
from thalweg.plugin.specs import ExecutableLoaderSpec, HalDriverSpec

FORMAT = "thalweg-test-1"


# Kernels: Python functions over NumPy views of the bindings.


def scale(x, w, t):
    """t = x * w, element by element."""
    t[:] = x * w


def add_scalar(t, s, zeros, y):
    """y = t + s + zeros: the sum of the transient's two halves, one of them filled with zeros."""
    y[:] = t + s[0] + zeros


def count_positive(x, n):
    """n = how many elements of x are positive."""
    n[0] = int((x > 0).sum())


def refuse_negative(x, y):
    """y = x; fails where x is negative."""
    if (x < 0).any():
        raise ValueError("a value is negative")
    y[:] = x


KERNELS: dict[str, tuple[Callable[..., None], tuple[str, ...], tuple[str, ...]]] = {
    "scale": (scale, ("f32", "f32", "f32"), ("r", "r", "w")),
    "add_scalar": (add_scalar, ("f32", "f32", "f32", "f32"), ("r", "r", "r", "w")),
    "count_positive": (count_positive, ("f32", "i64"), ("r", "w")),
    "refuse_negative": (refuse_negative, ("f32", "f32"), ("r", "w")),
}


def scale_by(constants, x, y):
    """y = x * (1000 * the first push constant + the second)."""
    y[:] = x * (1000 * constants[0] + constants[1])


WITH_CONSTANTS: dict[str, Callable[..., None]] = {"scale_by": scale_by}
"""Kernels on f32 alone that also take push constants."""

_DTYPES = {"f32": np.float32, "i64": np.int64}


class FakeLibrary(LoadedLibrary):
    """Kernels of ``KERNELS``, by the names in the record."""

    def __init__(self, record: ExecutableRecord):
        self.kernels = tuple(HostKernel(_host_kernel(entry.name)) for entry in record.entries)

    def close(self) -> None:
        """Do nothing."""


def _host_kernel(name: str):
    def run(bindings, constants, workgroup_id, workgroup_count):
        if name in WITH_CONSTANTS:
            WITH_CONSTANTS[name](constants, *(np.frombuffer(view, np.float32) for view in bindings))
            return
        function, dtypes, _ = KERNELS[name]
        function(*(np.frombuffer(view, _DTYPES[dtype]) for view, dtype in zip(bindings, dtypes)))

    return run


class FakeLoader(ExecutableLoader):
    """Loads ``FORMAT``; the machine has the feature ``numpy``."""

    def load(self, record: ExecutableRecord) -> FakeLibrary:
        """Load the record's kernels."""
        return FakeLibrary(record)

    def machine_features(self) -> frozenset[str]:
        """Return the one feature."""
        return frozenset({"numpy"})


# Devices: one with prepared calls, one without, one whose memory the host cannot address.


class FakeDevice(Device):
    """Host memory and the plain Python processor, on the submitting thread."""

    def __init__(self, identifier: str, capabilities: set[str]):
        self.identifier = identifier
        self.capabilities = frozenset(capabilities)
        self.closed = False
        self._allocator = HostAllocator()
        self._queue = HostQueue(identifier, threaded=False)
        self.loader = FakeLoader()

    @property
    def allocator(self):
        """The allocator."""
        return self._allocator

    def query(self, category: str, key: str) -> int:
        """Answer: of kind ``local``, of the fake format, with the feature ``numpy``."""
        known = {"hal.device.kind": "local", "hal.executable.format": FORMAT, "hal.device.feature": "numpy"}
        return int(known.get(category) == key)

    def create_semaphore(self, initial_value: int = 0):
        """Create a semaphore."""
        return HostSemaphore(initial_value)

    def prepare_executable(self, record: ExecutableRecord):
        """Load an executable."""
        return HostExecutable(record, self.loader.load(record))

    def address(self, buffer: Buffer) -> int:
        """Return where a buffer lies, for the processor."""
        return buffer.host_address

    def queue_execute(self, command_buffer, bindings=(), *, wait=(), signal=()):
        """Run the commands, once ``wait`` is reached."""
        if command_buffer is None:
            self._queue.submit(lambda: None, wait, signal)
            return
        commands = command_buffer.commands
        table = BindingTableCheck(command_buffer).resolve(bindings)

        def locate(ref):
            bound = resolve(ref, table)
            return self.address(bound.buffer) + bound.offset, bound.length

        self._queue.submit(lambda: run_commands(commands, locate), wait, signal)

    def prepare_call(self, command_buffer, static_bindings):
        """Prepare a call with addresses."""
        remaining = [n for n in range(command_buffer.binding_capacity) if n not in static_bindings]

        def call(addresses):
            assert len(addresses) == len(remaining)
            places = dict(zip(remaining, addresses))
            places.update({slot: buffer.host_address for slot, buffer in static_bindings.items()})

            def locate(ref):
                base = places[ref.slot] if ref.buffer is None else ref.buffer.host_address
                return base + ref.offset, ref.length

            run_commands(command_buffer.commands, locate)

        return call

    def close(self) -> None:
        """Close the queue."""
        self.closed = True
        self._queue.close()


class RemoteBuffer(Buffer):
    """Memory that the host cannot address, and maps only if it was allocated for staging."""

    def __init__(self, inner, params: BufferParams):
        self.inner = inner
        self.size, self.usage, self.access = inner.size, inner.usage, inner.access
        self.memory_type = params.memory_type

    def map(self, access, offset=0, length=-1):
        """Map staging memory only."""
        if MemoryType.HOST_VISIBLE not in self.memory_type:
            raise NotSupported("mapping")
        return self.inner.map(access, offset, length)


class RemoteAllocator(HostAllocator):
    """Makes remote buffers; imports nothing."""

    def allocate(self, size, params=BufferParams()):
        """Allocate."""
        return RemoteBuffer(super().allocate(size, params), params)

    def import_host(self, memory, params=BufferParams()):
        """Refuse."""
        raise NotSupported("import-host")


class RemoteDevice(FakeDevice):
    """A device with memory of its own."""

    def __init__(self):
        super().__init__("remote://", set())
        self._allocator = RemoteAllocator()

    def address(self, buffer):
        """Return where a remote buffer lies."""
        assert isinstance(buffer, RemoteBuffer)
        return buffer.inner.host_address


class FakeDriver(Driver):
    """Makes ``FakeDevice``s and remembers them."""

    name = "fake"

    def __init__(self):
        self.devices: list[FakeDevice] = []

    def query_available_devices(self):
        """Return none."""
        return []

    def create_device(self, path="", params=None):
        """Create a device with prepared calls."""
        self.devices.append(prepared_device())
        return self.devices[-1]


def prepared_device() -> FakeDevice:
    """Return a device with prepared calls."""
    return FakeDevice("fake://", {"host-addressable", "prepared-calls"})


DEVICES = {
    "prepared": prepared_device,
    "queued": lambda: FakeDevice("queued://", {"host-addressable"}),
    "remote": RemoteDevice,
    "inline": lambda: None,
}


# A registry that holds the fakes.


@dataclass(frozen=True)
class FakeEntry(PluginEntry):
    """An entry point whose object is at hand."""

    holder: object = None

    def load(self) -> object:
        """Return the object."""
        return self.holder


def make_registry(*, capabilities=frozenset({"host-kernels"}), driver: FakeDriver | None = None) -> Registry:
    """Return a registry with the fake loader, with ``capabilities``, and a fake driver."""
    driver = driver or FakeDriver()

    @hookimpl
    def thalweg_executable_loader(name):
        return ExecutableLoaderSpec(
            name=name, summary="test", formats=(FORMAT,), create=FakeLoader, capabilities=capabilities
        )

    @hookimpl
    def thalweg_hal_driver(name):
        return HalDriverSpec(name=name, summary="test", create=lambda: driver)

    loader_holder = SimpleNamespace(thalweg_executable_loader=thalweg_executable_loader)
    driver_holder = SimpleNamespace(thalweg_hal_driver=thalweg_hal_driver)
    entries = [
        FakeEntry("thalweg.executable_loaders", "fake", "fake:loader", holder=loader_holder),
        FakeEntry("thalweg.hal_drivers", "fake", "fake:driver", holder=driver_holder),
    ]
    return Registry(entries, known=KnownPlugins(()))
