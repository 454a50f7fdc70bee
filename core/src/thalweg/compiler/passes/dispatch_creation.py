"""Dispatch creation: structured ops are grouped into kernels and outlined, equal kernels once.

A group is a root (a ``tw`` op or a reducing generic) with the elementwise generic that alone uses its result,
or one elementwise generic. Reshapes stay outside: they cost nothing.
"""

from __future__ import annotations

from xdsl.dialects import arith, builtin, func, tensor
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineMap

from thalweg.compiler.concatenation import free_concatenations
from thalweg.compiler.passes.rewriting import (
    SOURCE,
    Pass,
    functions,
    is_elementwise,
    is_splat,
    only_user,
    parent_block,
    source_name,
)
from thalweg.ir.attributes import number
from thalweg.ir.builder import scalar_attribute
from thalweg.ir.dialects import linalg, tw
from thalweg.ir.dialects.host import DispatchOp
from thalweg.ir.program import Program
from thalweg.ir.types import element_name, element_type_of, extents_of


def create_dispatches(program: Program) -> None:
    """Form groups and outline each into a private function that ``flow.dispatch`` names."""
    kernels: dict[object, str] = {}
    for function in functions(program):
        block = function.body.block
        _fill_splats(block)
        for group in _groups(block):
            _outline(group, function.sym_name.data, program, kernels)
        for op in reversed(list(block.ops)):
            if isinstance(op, tensor.EmptyOp | tw.SplatOp | arith.ConstantOp) and not op.results[0].uses:
                op.detach()
                op.erase()


def _fill_splats(block: Block) -> None:
    """Give each splat that something other than a generic uses a generic that writes it to memory; generics
    have it written into their kernels.
    """
    for op in [op for op in block.ops if isinstance(op, tw.SplatOp)]:
        uses = [use for use in op.result.uses if not isinstance(use.operation, linalg.GenericOp)]
        if not uses:
            continue
        empty = tensor.EmptyOp([], op.result.type)
        rank = len(extents_of(op.result))
        body = Block(arg_types=[element_type_of(op.result)])
        value = scalar_attribute(number(op.value), element_name(op.result.type))
        constant = arith.ConstantOp(value)
        body.add_ops([constant, linalg.YieldOp(constant.result)])
        fill = linalg.GenericOp(
            [], [empty.tensor], Region(body),
            [builtin.AffineMapAttr(AffineMap.identity(rank))],
            [linalg.IteratorTypeAttr(linalg.IteratorType.PARALLEL)] * rank,
            [op.result.type],
        )  # fmt: skip
        if SOURCE in op.attributes:
            fill.attributes[SOURCE] = op.attributes[SOURCE]
        block.insert_ops_after([empty, fill], op)
        for use in uses:
            use.operation.operands[use.index] = fill.results[0]


def _is_work(op: Operation) -> bool:
    return isinstance(op, tw.StructuredOp | linalg.GenericOp) and not isinstance(
        op, tw.ReshapeOp | tw.SplatOp
    )


def _groups(block: Block) -> list[list[Operation]]:
    """Return the groups in the order of their last op; concatenations that need no kernel are in none."""
    free = free_concatenations(block)
    epilogue_of: dict[Operation, Operation] = {}
    for op in block.ops:
        if _is_work(op) and op not in free and not is_elementwise(op):
            user = only_user(op.results[0])
            if user is not None and _is_epilogue(user, op.results[0]):
                epilogue_of[user] = op  # of several roots, the last one in order takes the epilogue
    taken = set(epilogue_of.values())
    groups = []
    for op in block.ops:
        if _is_work(op) and op not in taken and op not in free:
            groups.append([epilogue_of[op], op] if op in epilogue_of else [op])
    return groups


def _is_epilogue(user: Operation, value: SSAValue) -> bool:
    if not is_elementwise(user) or extents_of(user.results[0]) != extents_of(value):
        return False
    identity = AffineMap.identity(len(extents_of(value)))
    maps = [m.data for v, m in zip(user.inputs, user.indexing_maps.data) if v is value]
    return maps == [identity]


def _is_inlined(value: SSAValue) -> bool:
    """A constant that is written into a generic's kernel: a splat."""
    return isinstance(value.type, builtin.TensorType) and is_splat(value)


def _outline(group: list[Operation], prefix: str, program: Program, kernels: dict[object, str]) -> None:
    last = group[-1]
    operands: list[SSAValue] = []
    inlined: list[Operation] = []
    for op in group:
        for value in op.operands:
            if value.owner in group or value in operands:
                continue
            maker = value.owner
            is_inlined = isinstance(maker, tensor.EmptyOp) or (
                isinstance(op, linalg.GenericOp) and _is_inlined(value)
            )
            if is_inlined and isinstance(maker, Operation):
                inlined.append(maker)
            else:
                operands.append(value)
    body = Block(arg_types=[v.type for v in operands])
    mapping: dict[SSAValue, SSAValue] = dict(zip(operands, body.args))
    sources = list(dict.fromkeys(name for op in group if (name := source_name(op)) is not None))
    for op in [*dict.fromkeys(inlined), *group]:
        clone = op.clone(mapping)
        for inner in clone.walk():
            inner.attributes.pop(SOURCE, None)
        body.add_op(clone)
    result = last.results[0]
    body.add_op(func.ReturnOp(mapping[result]))
    types = ([v.type for v in operands], [result.type])
    constants = tuple(isinstance(v.owner, arith.ConstantOp) for v in operands)
    probe = func.FuncOp("kernel", types, Region(body), visibility="private")
    key = (str(probe), constants)
    if key not in kernels:
        kernels[key] = f"{prefix}_dispatch_{len(kernels)}_{_kind(group[0])}"
        probe.sym_name = builtin.StringAttr(kernels[key])
        program.module.body.block.add_op(probe)
    dispatch = DispatchOp.build(
        operands=[operands], result_types=[[result.type]],
        properties={"callee": builtin.SymbolRefAttr(kernels[key])},
    )  # fmt: skip
    if sources:
        dispatch.attributes[SOURCE] = builtin.StringAttr(" + ".join(sources))
    parent_block(last).insert_op_before(dispatch, last)
    result.replace_all_uses_with(dispatch.results[0])
    for op in reversed(group):
        op.detach()
        op.erase()


def _kind(root: Operation) -> str:
    if isinstance(root, linalg.GenericOp):
        return "elementwise" if is_elementwise(root) else "reduction"
    return root.name.split(".")[1]


def deduplicated_count(program: Program) -> tuple[int, int]:
    """Return (dispatches, kernels) of a program after this pass."""
    dispatches = sum(isinstance(op, DispatchOp) for op in program.module.walk())
    kernels = sum(f.sym_visibility is not None for f in program.functions())
    return dispatches, kernels


CREATE_DISPATCHES = Pass(
    "create-dispatches", "Group ops into kernels, outline them, keep equal kernels once.", create_dispatches
)
