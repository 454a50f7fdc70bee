"""What runs a local device's submissions: the contract, and the choice of the native or Python engine."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from thalweg.api import Unavailable
from thalweg.hal.binding_table import BindingTableCheck, BoundRange
from thalweg.hal.command_buffer import CommandBuffer
from thalweg.hal.driver import PreparedCall
from thalweg.hal.semaphore import Semaphore, SemaphoreList

LOGGER = logging.getLogger("thalweg.driver.local")
ABSENT = "the package was built without its native library"


class CompiledCommands:
    """A finalized command buffer, its demands on the binding table, and the engine's own form of it."""

    def __init__(self, command_buffer: CommandBuffer, check: BindingTableCheck, owner: Engine | None = None):
        self.commands = tuple(command_buffer.commands)
        self.binding_capacity = command_buffer.binding_capacity
        self.check = check
        self.owner = owner
        self.program: Any = None


class Engine(ABC):
    """Runs command lists for one device. Thread-safe."""

    processor: str
    threads: int

    @abstractmethod
    def create_semaphore(self, initial_value: int) -> Semaphore:
        """Create a semaphore of the kind that ``submit`` takes."""

    @abstractmethod
    def compile(self, compiled: CompiledCommands) -> None:
        """Set ``compiled.program``."""

    @abstractmethod
    def submit(
        self,
        compiled: CompiledCommands | None,
        table: dict[int, BoundRange],
        wait: SemaphoreList,
        signal: SemaphoreList,
    ) -> None:
        """Run ``compiled`` over a checked table once every wait is reached, then signal."""

    @abstractmethod
    def prepare_call(
        self, compiled: CompiledCommands, static: Mapping[int, BoundRange], remaining: tuple[int, ...]
    ) -> PreparedCall:
        """Prepare ``compiled`` with the slots ``static`` bound, for one address per slot of ``remaining``."""

    @abstractmethod
    def wait_idle(self) -> None:
        """Wait until every submission has ended."""

    @abstractmethod
    def close(self) -> None:
        """End what is ready, fail what waits, and end the threads. Idempotent."""


def create_engine(identifier: str, processor: str, threads: int, background: bool) -> Engine:
    """Create the engine that ``processor`` (``auto``, ``native``, ``python``) names.

    :param background: submissions run on a thread of the engine's own, and not on the caller's.
    :raises Unavailable: the native one was asked for, and its library is not there.
    """
    from thalweg_driver_local.native import load_library  # the engines import this module
    from thalweg_driver_local.native_engine import NativeEngine
    from thalweg_driver_local.python_engine import PythonEngine

    library = None if processor == "python" else load_library()
    if library is not None:
        return NativeEngine(library, identifier, threads, background)
    if processor == "native":
        raise Unavailable(f"{identifier}: {ABSENT}; install the package where there is a C compiler")
    reason = "as asked for" if processor == "python" else ABSENT
    LOGGER.warning("%s: the plain Python processor takes over, %s", identifier, reason)
    return PythonEngine(identifier, background)
