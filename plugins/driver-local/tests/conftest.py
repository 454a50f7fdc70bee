"""Fixtures: devices of both drivers and both processors, and kernels compiled by the system's C compiler."""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from thalweg.hal.command_buffer import BufferRef, CommandBuffer
from thalweg.hal.executable import ExecutableLoader, HostKernel, LoadedLibrary
from thalweg.hal.host_executable import HostExecutable
from thalweg.hal.host_memory import HostBuffer
from thalweg.hal.types import BufferParams, BufferUsage, MemoryAccess
from thalweg.module.module import ExecutableRecord
from thalweg.module.program import EntryPoint
from thalweg_driver_local.device import LocalDevice
from thalweg_driver_local.driver import LocalDriver
from thalweg_driver_local.elf_loader import ElfLoader
from thalweg_driver_local.loading import LoaderEntry, LoaderSet
from thalweg_driver_local.plugin import ELF_FORMATS

from .kernel_images import ENTRIES, compile_kernels, host_format

TEST_SECONDS = 60
"""How long one test, with its fixtures, may take; a test that waits for ever fails then."""

MAPPED = BufferParams(usage=BufferUsage.DEFAULT | BufferUsage.MAPPING)

CONFIGURATIONS = (
    "local-sync native",
    "local-sync python",
    "local-task native 1",
    "local-task native 2",
    "local-task native 4",
    "local-task python",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End a test that hangs.

    The alarm interrupts waits for locks, and native waits between two slices. Should something native not
    come back at all, the process ends a little later, with the stacks of its threads.
    """

    def too_long(signal_number: int, frame: object) -> None:
        raise TimeoutError(f"{item.nodeid} took more than {TEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(TEST_SECONDS)
    faulthandler.dump_traceback_later(TEST_SECONDS + 15, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class PythonLoader(ExecutableLoader):
    """Loads executables whose kernels are Python callables, by entry point name."""

    def __init__(self, functions: dict[str, Callable[..., None]]):
        self._functions = functions

    def load(self, record: ExecutableRecord) -> LoadedLibrary:
        library = PythonLibrary()
        library.kernels = tuple(HostKernel(self._functions[entry.name]) for entry in record.entries)
        return library


class PythonLibrary(LoadedLibrary):
    def close(self) -> None:
        pass


def add_one(bindings, constants, workgroup_id, workgroup_count) -> None:
    """A host kernel: each workgroup adds 1 to one word."""
    np.frombuffer(bindings[0], np.uint32)[workgroup_id[0]] += 1


def explode(bindings, constants, workgroup_id, workgroup_count) -> None:
    """A host kernel that fails."""
    raise ValueError("boom")


HOST_ENTRIES = (EntryPoint("add_one", 1, binding_access=("rw",)), EntryPoint("explode", 0))


def make_loaders(**more: Callable[..., None]) -> LoaderSet:
    """Return the ELF loader, and one for host kernels (these, and ``more``) under the format ``python``."""
    functions = {"add_one": add_one, "explode": explode, **more}
    return LoaderSet(
        [
            LoaderEntry("thalweg-elf", ELF_FORMATS, ElfLoader),
            LoaderEntry("python", ("python",), lambda: PythonLoader(functions)),
        ]
    )


def make_device(configuration: str, **kernels: Callable[..., None]) -> LocalDevice:
    """Create the device that a configuration names (driver, processor, threads), with these host kernels."""
    driver, processor, *threads = configuration.split()
    params = {"processor": processor}
    if threads:
        params["threads"] = threads[0]
    return LocalDriver(driver, make_loaders(**kernels)).create_device("", params)


@pytest.fixture(params=CONFIGURATIONS)
def configuration(request: pytest.FixtureRequest) -> str:
    """Each driver with each processor."""
    return request.param


@pytest.fixture
def device(configuration: str) -> Iterator[LocalDevice]:
    """A device of each configuration."""
    made = make_device(configuration)
    yield made
    made.close()


@pytest.fixture(scope="session")
def kernel_image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The test kernels as an ELF image of this machine."""
    return compile_kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def kernel_record(kernel_image: bytes) -> ExecutableRecord:
    """The test kernels as an executable record."""
    return ExecutableRecord("kernels", host_format(), kernel_image, ENTRIES)


@pytest.fixture
def kernels(device: LocalDevice, kernel_record: ExecutableRecord) -> HostExecutable:
    """The test kernels, prepared on ``device``."""
    return device.prepare_executable(kernel_record)


@pytest.fixture
def host_kernels(device: LocalDevice) -> HostExecutable:
    """The kernels that are Python callables, prepared on ``device``."""
    return device.prepare_executable(ExecutableRecord("host", "python", b"", HOST_ENTRIES))


@pytest.fixture
def words(device: LocalDevice) -> Callable[[object], tuple[HostBuffer, np.ndarray]]:
    """A function: values → a buffer that holds them (integers as uint32) and an array over its bytes."""
    return lambda values: hold(device, values)


def hold(device: LocalDevice, values: object) -> tuple[HostBuffer, np.ndarray]:
    """Return a buffer of ``device`` that holds ``values``, and an array over its bytes."""
    source = np.asarray(values)
    source = source.astype(np.uint32) if source.dtype == np.int64 else source
    buffer = device.allocator.allocate(source.nbytes, MAPPED)
    array = np.frombuffer(buffer.map(MemoryAccess.ALL), source.dtype)
    array[:] = source
    return buffer, array


@pytest.fixture
def run(device: LocalDevice) -> Callable[..., None]:
    """A function: submit finalized commands with bindings and wait for their end, at most a minute."""

    def submit(commands: CommandBuffer, bindings: tuple[BufferRef, ...] = ()) -> None:
        done = device.create_semaphore()
        device.queue_execute(commands.finalize(), bindings, signal=[(done, 1)])
        done.wait(1, 60)

    return submit


@pytest.fixture(scope="session")
def open_device() -> Callable[..., LocalDevice]:
    """A function: create the device that a configuration's words describe; the test closes it."""
    return make_device
