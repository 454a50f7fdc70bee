"""The kernels that the executable and dispatch tests run, and where executables with them come from.

In this order: the target backend that ``--target`` names; the plugin's own (``extra["kernels"]`` of its
conformance profile: a function that returns a ``KernelLibrary``); those that ship with the suite, in a
format the device runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
from thalweg.api import Registry
from thalweg.hal.driver import Device
from thalweg.hal.executable import EntryPoint, ExecutableRecord

from thalweg_conformance.outcomes import Blocked, NotRun

ELEMENTS = 64
"""Elements of each float32 binding of the kernels, unless they say otherwise."""

SHIPPED = "executables"
"""The folder of the package that holds shipped executables: ``FORMAT.bin`` and ``FORMAT.json``."""


@dataclass(frozen=True)
class Kernel:
    """What the tests know of one kernel: its bindings are the inputs, then the output."""

    name: str
    meaning: str
    compute: Callable[..., np.ndarray] | None = None


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Kernel("absolute", "out = |a|", np.abs),
        Kernel("negate", "out = -a", np.negative),
        Kernel("double", "out = a + a", lambda a: a + a),
        Kernel("add", "out = a + b", np.add),
        Kernel("gather", "out[i] = a[b[i]], b int64; fails where b[i] is outside a", lambda a, b: a[b]),
        Kernel("scale_and_offset", "out = a * c0 + c1; push constants c0 and c1 are the bits of float32"),
        Kernel("workgroup_ids", "workgroup number i writes its x, y, z and 1 to words 4 i … of the output"),
    )
}
"""Name → kernel. The last two are no functions on tensors: a plugin's own executables may have them."""


@dataclass(frozen=True)
class KernelLibrary:
    """One executable with some of the kernels.

    ``workgroup_counts`` has an entry for each kernel whose count the executable fixes (``workgroup_ids`` has
    none).
    """

    record: ExecutableRecord
    workgroup_counts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    origin: str = ""

    def require(self, name: str) -> int:
        """Return the number of the kernel's function.

        :raises NotRun: this executable does not have the kernel.
        """
        for index, entry in enumerate(self.record.entries):
            if entry.name == name:
                return index
        raise NotRun(f"the executable ({self.origin}) has no kernel {name!r}: {KERNELS[name].meaning}")


def shipped_formats() -> list[str]:
    """Return the formats of the executables that ship with the suite."""
    folder = resources.files("thalweg_conformance").joinpath(SHIPPED)
    return sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json"))


def shipped_library(format: str) -> KernelLibrary:
    """Return the shipped executable of ``format``."""
    folder = resources.files("thalweg_conformance").joinpath(SHIPPED)
    description = json.loads(folder.joinpath(f"{format}.json").read_text("utf-8"))
    entries = tuple(
        EntryPoint(
            **entry
            | {
                "workgroup_size": tuple(entry["workgroup_size"]),
                "binding_access": tuple(entry["binding_access"]),
            }
        )
        for entry in description["entries"]
    )
    record = ExecutableRecord("conformance", format, folder.joinpath(f"{format}.bin").read_bytes(), entries)
    counts = {name: tuple(count) for name, count in description["workgroup_counts"].items()}
    return KernelLibrary(record, counts, f"{format}, shipped with the suite")


def choose_library(
    device: Device, extra: Mapping[str, Any], formats: Sequence[str] | None = None
) -> KernelLibrary:
    """Return the plugin's own kernels, or shipped ones in a format that ``device`` runs.

    :raises Blocked: there are none.
    """
    if "kernels" in extra:
        library = extra["kernels"]()
        if not isinstance(library, KernelLibrary):
            raise Blocked(
                f"extra['kernels'] of the conformance profile returned {library!r}, not a KernelLibrary"
            )
        return library
    offered = shipped_formats() if formats is None else list(formats)
    for format in offered:
        if device.query("hal.executable.format", format):
            return shipped_library(format)
    raise Blocked(
        f"the device runs none of the formats that the suite ships ({', '.join(offered) or 'none'});"
        " name a target backend for it with --target, or give kernels in its conformance profile"
    )


def library_chooser(
    registry: Registry, target: str = ""
) -> Callable[[Mapping[str, Any]], Callable[[Device], KernelLibrary]]:
    """Return what takes a profile's ``extra`` and returns what gives a device its kernels.

    :param target: the target backend that makes them, once, for all devices; empty: see ``choose_library``.
    :raises UnknownName: no such target backend.
    """
    if not target:
        return lambda extra: lambda device: choose_library(device, extra)
    registry.entry("thalweg.target_backends", target)
    made: list[KernelLibrary] = []

    def compiled(_: Device) -> KernelLibrary:
        if not made:
            from thalweg_conformance.compiled_kernels import compile_library  # needs the compiler

            made.append(compile_library(registry, target))
        return made[0]

    return lambda _: compiled
