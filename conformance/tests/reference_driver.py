"""A HAL driver in plain Python without a fault: what the mutants are made from."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from thalweg.api import DeviceUri, InvalidArgument, ModuleFormatError, NotSupported, UnknownName
from thalweg.hal.binding_table import BindingTableCheck, BoundRange
from thalweg.hal.buffer import Buffer
from thalweg.hal.command_buffer import (
    BufferRef,
    CommandBuffer,
    CopyRecord,
    DispatchRecord,
    FillRecord,
    UpdateRecord,
)
from thalweg.hal.driver import Device, Driver
from thalweg.hal.executable import EntryPoint, ExecutableRecord, HostKernel, LoadedLibrary
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_memory import HostAllocator, HostBuffer
from thalweg.hal.host_processor import locate_in, run_commands
from thalweg.hal.host_queue import HostQueue
from thalweg.hal.host_semaphore import HostSemaphore
from thalweg.hal.semaphore import SemaphoreList
from thalweg.hal.types import DeviceInfo
from thalweg_conformance import KernelLibrary, Subject
from thalweg_conformance.opt_outs import OptOuts

FORMAT = "reference-python-1"
CAPABILITIES = frozenset({"host-addressable", "import-host", "allocator-statistics", "wait-idle"})

HostFunction = Callable[[Sequence[memoryview], tuple[int, ...], tuple[int, ...], tuple[int, ...]], None]


def _elementwise(compute: Callable[..., np.ndarray]) -> HostFunction:
    def run(bindings: Sequence[memoryview], constants: tuple, workgroup: tuple, count: tuple) -> None:
        *inputs, output = (np.frombuffer(view, np.float32) for view in bindings)
        output[:] = compute(*inputs)

    return run


def _gather(bindings: Sequence[memoryview], constants: tuple, workgroup: tuple, count: tuple) -> None:
    data, output = (np.frombuffer(bindings[index], np.float32) for index in (0, 2))
    indices = np.frombuffer(bindings[1], np.int64)
    if np.any((indices < 0) | (indices >= data.size)):
        raise IndexError("an index is out of range")
    output[:] = data[indices]


def _scale_and_offset(
    bindings: Sequence[memoryview], constants: tuple, workgroup: tuple, count: tuple
) -> None:
    scale, offset = struct.unpack("<ff", struct.pack("<II", *constants))
    source, output = (np.frombuffer(view, np.float32) for view in bindings)
    output[:] = source * np.float32(scale) + np.float32(offset)


def _workgroup_ids(bindings: Sequence[memoryview], constants: tuple, workgroup: tuple, count: tuple) -> None:
    x, y, z = workgroup
    number = x + count[0] * (y + count[1] * z)
    np.frombuffer(bindings[0], np.uint32)[4 * number : 4 * number + 4] = x, y, z, 1


FUNCTIONS: dict[str, tuple[HostFunction, EntryPoint]] = {
    "absolute": (_elementwise(np.abs), EntryPoint("absolute", 2, binding_access=("r", "w"))),
    "negate": (_elementwise(np.negative), EntryPoint("negate", 2, binding_access=("r", "w"))),
    "double": (_elementwise(lambda a: a + a), EntryPoint("double", 2, binding_access=("r", "w"))),
    "add": (_elementwise(np.add), EntryPoint("add", 3, binding_access=("r", "r", "w"))),
    "gather": (_gather, EntryPoint("gather", 3, binding_access=("r", "r", "w"))),
    "scale_and_offset": (_scale_and_offset, EntryPoint("scale_and_offset", 2, 2, binding_access=("r", "w"))),
    "workgroup_ids": (_workgroup_ids, EntryPoint("workgroup_ids", 1, binding_access=("w",))),
}


def kernel_library(*names: str) -> KernelLibrary:
    """Return an executable in the reference's own format: names of functions, and an end mark."""
    names = names or tuple(FUNCTIONS)
    data = "\n".join([*names, "end"]).encode()
    record = ExecutableRecord("conformance", FORMAT, data, tuple(FUNCTIONS[name][1] for name in names))
    return KernelLibrary(record, origin="the reference driver's own")


class Library(LoadedLibrary):
    """Functions of this process."""

    def __init__(self, kernels: tuple[HostKernel, ...]):
        self.kernels = kernels

    def close(self) -> None:
        """Nothing to unload."""


def references(command_buffer: CommandBuffer) -> list[BufferRef]:
    """Return what the commands refer to, direct or not."""
    found: list[BufferRef] = []
    for command in command_buffer.commands:
        if isinstance(command, DispatchRecord):
            found.extend(command.bindings)
        elif isinstance(command, CopyRecord):
            found.extend((command.source, command.target))
        elif isinstance(command, FillRecord | UpdateRecord):
            found.append(command.target)
    return found


class ReferenceDevice(Device):
    """Host memory and one thread."""

    identifier = "reference://"
    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.host_allocator = HostAllocator()
        self.queue = HostQueue(self.identifier, threaded=True)

    @property
    def allocator(self) -> HostAllocator:
        """The allocator."""
        return self.host_allocator

    def query(self, category: str, key: str) -> int:
        """Answer a question."""
        answers = {
            ("hal.device.kind", "local"): 1,
            ("hal.executable.format", FORMAT): 1,
            ("hal.device", "concurrency"): 1,
        }
        return answers.get((category, key), 0)

    def create_semaphore(self, initial_value: int = 0) -> HostSemaphore:
        """Create a semaphore."""
        return HostSemaphore(initial_value)

    def prepare_executable(self, record: ExecutableRecord) -> HostExecutable:
        """Load an executable of the reference's format."""
        if record.format != FORMAT:
            raise NotSupported("executable-format", f"format {record.format!r}; this device runs {FORMAT}")
        *names, end = record.data.decode().split("\n")
        if end != "end" or any(name not in FUNCTIONS for name in names):
            raise ModuleFormatError(f"executable {record.name!r} is damaged")
        return HostExecutable(record, Library(tuple(HostKernel(FUNCTIONS[name][0]) for name in names)))

    def queue_execute(
        self,
        command_buffer: CommandBuffer | None,
        bindings: Sequence[BufferRef] = (),
        *,
        wait: SemaphoreList = (),
        signal: SemaphoreList = (),
    ) -> None:
        """Submit a command buffer."""
        if command_buffer is None:
            self.submit(None, {}, wait, signal)
        else:
            self.submit(command_buffer, self.resolve(command_buffer, bindings), wait, signal)

    def resolve(self, command_buffer: CommandBuffer, bindings: Sequence[BufferRef]) -> dict[int, BoundRange]:
        """Check the binding table, and whose buffers they are."""
        table = BindingTableCheck(command_buffer).resolve(bindings)
        self.check_buffers([bound.buffer for bound in table.values()])
        self.check_buffers([ref.buffer for ref in references(command_buffer) if ref.buffer is not None])
        return table

    def check_buffers(self, buffers: Sequence[Buffer]) -> None:
        """Refuse what is not in host memory."""
        for buffer in buffers:
            if not isinstance(buffer, HostBuffer):
                raise InvalidArgument(f"reference uses host memory; got a {type(buffer).__name__}")

    def submit(
        self,
        command_buffer: CommandBuffer | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        """Queue checked work."""
        work = None if command_buffer is None else lambda: self.execute(command_buffer, table)
        self.queue.submit(work, wait, signal)

    def execute(self, command_buffer: CommandBuffer, table: dict[int, BoundRange]) -> None:
        """Run a command buffer, on the queue's thread."""
        run_commands(command_buffer.commands, locate_in(table))

    def wait_idle(self) -> None:
        """Wait until everything has ended."""
        self.queue.wait_idle()

    def close(self) -> None:
        """End the thread."""
        self.queue.close()


class ReferenceDriver(Driver):
    """Has one device, which ``make_device`` makes."""

    name = "reference"

    def __init__(self, make_device: Callable[[], ReferenceDevice] = ReferenceDevice):
        self.make_device = make_device

    def query_available_devices(self) -> list[DeviceInfo]:
        """Return the device."""
        return [DeviceInfo(0, "", "default")]

    def create_device(self, path: str = "", params: Mapping[str, str] | None = None) -> ReferenceDevice:
        """Create the device."""
        if path:
            raise UnknownName(f"reference has no device {path!r}; it has one, with the empty path")
        if params:
            raise InvalidArgument(f"reference has no parameter {next(iter(params))!r}; it has none")
        return self.make_device()

    def dump_device_info(self, path: str = "") -> dict[str, object]:
        """Say where it computes."""
        return {"runs_on": "interpreter"}


def subject(
    make_device: Callable[[], ReferenceDevice] = ReferenceDevice,
    opt_outs: str = "",
    kernels: Callable[[Device], KernelLibrary] = lambda device: kernel_library(),
) -> Subject:
    """Return the reference driver, or a mutant of it, for the suite to test."""
    return Subject(
        driver_name="reference",
        driver=ReferenceDriver(make_device),
        uri=DeviceUri("reference"),
        kernels=kernels,
        opt_outs=OptOuts.parse(opt_outs, "reference 1.0"),
        distribution="reference",
        version="1.0",
    )
