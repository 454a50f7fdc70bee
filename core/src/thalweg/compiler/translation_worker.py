"""The process that translates kernels for an *isolated* target backend.

It speaks frames on its standard input and output: eight bytes of length (little-endian), then that much JSON;
bytes are base64. The first frame says which backend to make; each further frame is one kernel. A crash of the
code generator ends this process only.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from thalweg.codegen.target import (
    KernelPlan,
    KernelSource,
    TargetBackend,
    TargetConfiguration,
    TranslatedKernel,
)
from thalweg.errors import ThalwegError
from thalweg.extents import as_json, from_json
from thalweg.module.program import EntryPoint

_LENGTH = struct.Struct("<Q")


def write_frame(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write one frame and flush."""
    data = json.dumps(message).encode()
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read one frame; ``None`` when the other side has gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return json.loads(data) if len(data) == length else None


def encode_source(source: KernelSource) -> dict[str, Any]:
    """Return a kernel as JSON."""
    return {
        "name": source.name,
        "text": source.text,
        "plan": {**asdict(source.plan), "workgroup_count": list(map(as_json, source.plan.workgroup_count))},
        "packed": {str(i): list(shape) for i, shape in source.packed.items()},
        "dumps": source.dumps,
    }


def decode_source(message: Mapping[str, Any]) -> KernelSource:
    """Inverse of ``encode_source``."""
    plan = message["plan"]
    x, y, z = (from_json(count) for count in plan["workgroup_count"])
    kernel = KernelPlan((x, y, z), plan["local_memory"], plan["parameters"])
    packed = {int(i): tuple(shape) for i, shape in message["packed"].items()}
    return KernelSource(message["name"], message["text"], kernel, packed, message.get("dumps", True))


def encode_config(config: TargetConfiguration) -> dict[str, Any]:
    """Return a configuration as JSON."""
    return {**asdict(config), "structured_ops": sorted(config.structured_ops)}


def decode_config(message: Mapping[str, Any]) -> TargetConfiguration:
    """Inverse of ``encode_config``."""
    return TargetConfiguration(**{**message, "structured_ops": frozenset(message["structured_ops"])})


def encode_translated(kernel: TranslatedKernel) -> dict[str, Any]:
    """Return a translated kernel as JSON."""
    return {
        "entry": asdict(kernel.entry),
        "payload": base64.b64encode(kernel.payload).decode(),
        "dumps": {suffix: base64.b64encode(data).decode() for suffix, data in kernel.dumps.items()},
    }


def decode_translated(message: Mapping[str, Any]) -> TranslatedKernel:
    """Inverse of ``encode_translated``."""
    entry = message["entry"]
    entry = EntryPoint(
        **{
            **entry,
            "workgroup_size": tuple(entry["workgroup_size"]),
            "binding_access": tuple(entry["binding_access"]),
        }
    )
    dumps = {suffix: base64.b64decode(data) for suffix, data in message["dumps"].items()}
    return TranslatedKernel(entry, base64.b64decode(message["payload"]), dumps)


def create_backend(name: str, options: Mapping[str, Any]) -> TargetBackend:
    """Make the backend ``name`` from the installed plugins."""
    from thalweg.plugin.registry import Registry  # the compiling process has its own registry

    spec = Registry.from_environment().target_backend(name)
    return spec.create(spec.options(**options))


def main() -> None:
    """Serve until the standard input ends. What the code generator prints goes to standard error."""
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    opening = read_frame(source)
    if opening is None:
        return
    try:
        backend = create_backend(opening["backend"], opening["options"])
        config = decode_config(opening["config"])
    except ThalwegError as error:
        write_frame(target, {"error": str(error)})
        return
    while (message := read_frame(source)) is not None:
        try:
            write_frame(target, encode_translated(backend.translate(decode_source(message), config)))
        except ThalwegError as error:
            write_frame(target, {"error": str(error)})


if __name__ == "__main__":
    main()
