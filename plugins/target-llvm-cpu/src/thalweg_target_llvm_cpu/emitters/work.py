"""What a dispatch does: its root and its epilogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from thalweg.api import NotSupported
from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.dialects import linalg
from xdsl.ir import Operation

from thalweg_target_llvm_cpu.builder import ELEMENT_BYTES


@dataclass(frozen=True)
class Work:
    """``root``: a ``tw`` op or a ``linalg.generic``; ``epilogue``: an elementwise generic over the root's
    result.
    """

    root: Operation
    epilogue: linalg.GenericOp | None


def analyse(dispatch: Dispatch) -> Work:
    """Find root and epilogue.

    :raises NotSupported: for a dispatch of another form.
    """
    if len(dispatch.results) != 1:
        raise NotSupported(
            f"a dispatch with {len(dispatch.results)} results", _form(dispatch, "it has to have one result")
        )
    ops = list(dispatch.structured_ops())
    for op in dispatch.function.body.block.ops:
        if op is not dispatch.function.body.block.last_op and op not in ops and not dispatch.is_scaffold(op):
            raise NotSupported(
                f"{op.name} in a dispatch", _form(dispatch, f"llvm-cpu cannot lower {op.name}")
            )
    if not ops or len(ops) > 2 or dispatch.results[0] is not ops[-1].results[0]:
        names = ", ".join(op.name for op in ops) or "none"
        raise NotSupported(
            f"a dispatch of {len(ops)} ops",
            _form(dispatch, f"one root and one epilogue wanted, found {names}"),
        )
    if len(ops) == 1:
        return Work(ops[0], None)
    epilogue = ops[1]
    if not isinstance(epilogue, linalg.GenericOp) or not is_epilogue(epilogue, ops[0]):
        message = _form(
            dispatch, f"{epilogue.name} is not an elementwise function of the result of {ops[0].name}"
        )
        raise NotSupported(f"{ops[0].name} followed by {epilogue.name}", message)
    return Work(ops[0], epilogue)


def _form(dispatch: Dispatch, what: str) -> str:
    return f"dispatch {dispatch.name!r}: {what}"


def is_reduction(op: linalg.GenericOp) -> bool:
    """Return whether a generic has a reduction iterator."""
    return any(i.data is linalg.IteratorType.REDUCTION for i in op.iterator_types.data)


def is_epilogue(op: Operation, root: Operation) -> bool:
    """Return whether ``op`` applies an elementwise function to each element of the root's result, in
    place.
    """
    if not isinstance(op, linalg.GenericOp) or is_reduction(op) or len(op.outputs) != 1:
        return False
    maps = [m.data for m in op.indexing_maps.data]
    rank = len(op.iterator_types.data)
    identity = type(maps[-1]).identity(rank)
    uses = [m for value, m in zip(op.inputs, maps) if value is root.results[0]]
    return maps[-1] == identity and bool(uses) and all(m == identity for m in uses)


def widest_bytes(ops: Iterable[Operation | None]) -> int:
    """Return the size of the widest element that the ops hold in registers, in memory or in their bodies.

    Half-precision floats count as four bytes, because most of their arithmetic is done in float32.
    """
    sizes = [1]
    for op in ops:
        if op is None:
            continue
        values = [*op.operands, *op.results]
        for region in op.regions:
            values += [r for inner in region.block.ops for r in inner.results]
        for value in values:
            element = element_name(value.type)
            if element != "index":
                sizes.append(4 if element in ("f16", "bf16") else ELEMENT_BYTES[element])
    return max(sizes)


def body_cost(op: linalg.GenericOp | None) -> int:
    """Return the rough cost of one element of a generic's body, in bytes moved."""
    if op is None:
        return 0
    return sum(32 if inner.name.startswith("math.") else 1 for inner in op.body.block.ops)


def element_count(value) -> Extent:
    """Return how many elements a tensor has."""
    return prod(extents_of(value))
