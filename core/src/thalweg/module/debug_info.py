"""What a variant says about its kernels and dispatches, for people and tools; running it needs none of this.

``Variant.debug_info`` holds the encoding as bytes; they are decoded when a tool asks, not when a module is
loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from thalweg.dtypes import DTYPES
from thalweg.errors import InvalidArgument
from thalweg.extents import Extent, as_json
from thalweg.module.checked_json import Field, canonical_json, parse_canonical
from thalweg.module.encoding import BINDING_LIMIT, BYTES_LIMIT, COMMAND_LIMIT, ENTRY_LIMIT, RANK_LIMIT
from thalweg.module.module import Variant

TEXT_LIMIT = 1 << 24
"""The longest IR text of one kernel, in characters."""

PackedLayout = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The four fields of ``thalweg.codegen.packing.Packing``: view, padded, split, permutation."""


@dataclass(frozen=True)
class BindingInfo:
    """One operand or result of a kernel, as its IR has it (before packing)."""

    shape: tuple[Extent, ...]
    dtype: str


@dataclass(frozen=True)
class KernelInfo:
    """One kernel. ``name`` is that of its entry point.

    ``text`` is the MLIR of one ``func.func`` on tensors: what the target backend was given. ``operations``
    counts arithmetic on elements; a multiply-add is two. ``packings``: operand index → layout of a constant
    operand that arrives packed.
    """

    name: str
    text: str
    operations: Extent
    operands: tuple[BindingInfo, ...]
    results: tuple[BindingInfo, ...]
    packings: Mapping[int, PackedLayout] = field(default_factory=dict)


@dataclass(frozen=True)
class DebugInfo:
    """``nodes``: function name → for each of its dispatch commands in order, the nodes that it computes."""

    kernels: tuple[KernelInfo, ...]
    nodes: Mapping[str, tuple[str, ...]]

    @cached_property
    def by_name(self) -> dict[str, KernelInfo]:
        """The kernels by name."""
        return {kernel.name: kernel for kernel in self.kernels}


def debug_info_of(variant: Variant) -> DebugInfo | None:
    """Decode a variant's debug info; ``None`` if it was stripped.

    :raises ModuleFormatError: it is damaged; names the place.
    """
    if not variant.debug_info:
        return None
    return decode_debug_info(variant.debug_info, f"debug info of variant {variant.name!r}")


def require_debug_info(variant: Variant, what_for: str) -> DebugInfo:
    """Decode a variant's debug info.

    :raises InvalidArgument: it was stripped; says what to do.
    """
    info = debug_info_of(variant)
    if info is None:
        raise InvalidArgument(
            f"{what_for} needs debug info, which variant {variant.name!r} does not have;"
            " compile the model again without --strip-debug-info"
        )
    return info


def encode_debug_info(info: DebugInfo) -> bytes:
    """Return the canonical encoding."""
    return canonical_json(
        {
            "kernels": [_encode_kernel(kernel) for kernel in info.kernels],
            "nodes": {name: list(nodes) for name, nodes in info.nodes.items()},
        }
    )


def decode_debug_info(data: bytes, where: str) -> DebugInfo:
    """Decode; ``where`` is what is being read, for messages.

    :raises ModuleFormatError: naming the place, what was expected and what was found.
    """
    kernels, nodes = parse_canonical(data, where).members("kernels", "nodes")
    return DebugInfo(
        tuple(_decode_kernel(item) for item in kernels.items(ENTRY_LIMIT)),
        {
            name: Field(value, f"{nodes.where}.{name}").texts(COMMAND_LIMIT)
            for name, value in nodes.record().items()
        },
    )


def _encode_kernel(kernel: KernelInfo) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "text": kernel.text,
        "operations": as_json(kernel.operations),
        "operands": [_encode_binding(binding) for binding in kernel.operands],
        "results": [_encode_binding(binding) for binding in kernel.results],
        "packings": {str(i): [list(part) for part in layout] for i, layout in kernel.packings.items()},
    }


def _decode_kernel(field: Field) -> KernelInfo:
    name, text, operations, operands, results, packings = field.members(
        "name", "text", "operations", "operands", "results", "packings"
    )
    return KernelInfo(
        name=name.text(),
        text=text.text(TEXT_LIMIT),
        operations=operations.extent(BYTES_LIMIT**2),
        operands=tuple(_decode_binding(item) for item in operands.items(BINDING_LIMIT)),
        results=tuple(_decode_binding(item) for item in results.items(BINDING_LIMIT)),
        packings=dict(_decode_packing(packings, key) for key in packings.record()),
    )


def _encode_binding(binding: BindingInfo) -> list[Any]:
    return [binding.dtype, [as_json(extent) for extent in binding.shape]]


def _decode_binding(field: Field) -> BindingInfo:
    parts = field.items(2)
    if len(parts) != 2:
        field.fail("[dtype, shape]")
    dtype = parts[0].choice({name: name for name in DTYPES})
    return BindingInfo(parts[1].extents(BYTES_LIMIT, RANK_LIMIT), dtype)


def _decode_packing(field: Field, key: str) -> tuple[int, PackedLayout]:
    layout = Field(field.value[key], f"{field.where}.{key}")
    parts = layout.items(4)
    if not key.isdigit() or len(parts) != 4:
        layout.fail("an operand's number, with [view, padded, split, permutation]")
    view, padded, split, permutation = (part.integers(BYTES_LIMIT, RANK_LIMIT) for part in parts)
    return int(key), (view, padded, split, permutation)
