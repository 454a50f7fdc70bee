"""Drivers with one fault each, made from the reference driver; ``FAULTS`` says which rule catches which.

A fault is placed where a vendor's driver would have it: in the allocator, the mapping, the transfers, the
queue, the semaphores, the binding table, the processor, the executables, or in what it says of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.hal.host_memory import HostAllocator, HostBuffer
from thalweg.hal.host_semaphore import HostSemaphore

from .device_mutants import (
    CountsSlotsFromOne,
    FailsToClose,
    ForgetsTableLengths,
    ForgetsTableOffsets,
    KeepsACapabilityToItself,
    PromisesTooMuch,
    ReadsTheTableLate,
    RefusesAsAnotherCapability,
    RefusesWithAnotherError,
    TakesAnyBuffer,
)
from .memory_mutants import (
    AbruptAllocator,
    BufferAllocator,
    CopyingAllocator,
    LeakingAllocator,
    MapsFromTheStart,
    MapsSnapshots,
    MapsWithoutAsking,
    MapsWritably,
    MisaligningAllocator,
    OverlappingAllocator,
    PermissiveAllocator,
    RoundingAllocator,
)
from .processor_mutants import (
    CapturesUpdatesLate,
    CopiesFromTheStart,
    DropsPushConstants,
    DropsTheLastByte,
    FillsInWords,
    FillsWithTheFirstByte,
    ForgetsBindingOffsets,
    LosesKernelFailures,
    RunsBetweenBarriersOnly,
    RunsEmptyDispatches,
    RunsOnce,
    RunsShortLists,
    RunsTheFirstFunction,
    SkipsTheLastWorkgroup,
    SwapsTheInputs,
    TakesAnyFormat,
    TakesDamagedData,
    UpdatesAtTheStart,
)
from .queue_mutants import (
    CloseAbandonsWork,
    DeafSemaphore,
    ForgivingSemaphore,
    IdlesEarly,
    IgnoresWaits,
    LastCauseSemaphore,
    LosesFailures,
    NarrowSemaphore,
    OwnSemaphores,
    ReturningSemaphore,
    RewindingSemaphore,
    RunsInOrderOfSubmission,
    SignalsEarly,
    SignalsTheFirst,
    WaitsForTheFirst,
)
from .reference_driver import ReferenceDevice


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
    return _with_allocator(type("A", (BufferAllocator,), {"buffer_class": buffer}), buffer.__name__)


def _with_semaphores(semaphore: type[HostSemaphore]) -> type[ReferenceDevice]:
    return type(semaphore.__name__, (OwnSemaphores,), {"semaphore_class": semaphore})


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
