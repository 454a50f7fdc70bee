"""The verifier's rules for generic instructions: maps, extents, and the types of the scalar body."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import prod

from thalweg.extents import Extent, UnknownOrder
from thalweg.semantics import GenericForm, ScalarStep
from thalweg.semantics.generic import BROADCAST
from thalweg.semantics.scalar import CAST_RESULT_IS_FLOAT, CAST_SOURCE_IS_FLOAT, SCALARS, Family

from thalweg_target_vmvx.bytecode import TensorType
from thalweg_target_vmvx.rules import is_float, require, same, same_type

MAX_POINTS = 1 << 48
"""An iteration space has at most this many points."""


def check_generic(
    form: GenericForm, inputs: Sequence[TensorType], initial: Sequence[TensorType | None]
) -> list[TensorType]:
    """Check a generic instruction; returns the types of its outputs. Rules whose answer depends on the call
    are left to it.

    :raises Malformed: naming the rule.
    """
    _check_dimensions(form)
    outputs = []
    for number, (map_, dtype) in enumerate(zip(form.output_maps, form.output_dtypes)):
        require(all(-1 <= d < len(form.extents) for d in map_), f"map {map_}")
        outputs.append(TensorType(dtype, form.output_shape(number)))
    _check_body(form, [type_.dtype for type_ in (*inputs, *outputs)])
    with suppress(UnknownOrder):  # the answer depends on the call: checked when the dimensions are numbers
        _check_shapes(form, inputs, outputs, initial)
    return outputs


def _check_shapes(
    form: GenericForm,
    inputs: Sequence[TensorType],
    outputs: Sequence[TensorType],
    initial: Sequence[TensorType | None],
) -> None:
    for type_, map_ in zip((*inputs, *outputs), (*form.input_maps, *form.output_maps)):
        _check_map(form, type_.shape, map_)
    for map_ in form.output_maps:
        parallel = {d for d, extent in enumerate(form.extents) if d not in form.reductions and extent != 1}
        require(
            parallel == {d for d in map_ if d != BROADCAST and form.extents[d] != 1}, f"output map {map_}"
        )
    mapped = {d for map_ in (*form.input_maps, *form.output_maps) for d in map_}
    require(mapped >= set(range(len(form.extents))), "an iteration dimension that no operand has")
    for output, before in zip(outputs, initial):
        fits = not form.reads_outputs if before is None else same_type(before, output)
        require(fits, f"{before} as initial {output}")
    inside = all(extent >= 0 for extent in form.extents) and prod(form.extents) <= MAX_POINTS
    require(inside, f"space {form.extents}")


def _check_dimensions(form: GenericForm) -> None:
    rank = len(form.extents)
    ordered = list(form.reductions) == sorted({d for d in form.reductions if 0 <= d < rank})
    require(ordered, f"reduction dimensions {form.reductions} of {rank}")


def _check_map(form: GenericForm, shape: tuple[Extent, ...], map_: tuple[int, ...]) -> None:
    require(len(map_) == len(shape), f"map {map_} of an operand of shape {shape}")
    kept = [d for d in map_ if d != BROADCAST]
    require(len(set(kept)) == len(kept) and all(0 <= d < len(form.extents) for d in kept), f"map {map_}")
    for extent, d in zip(shape, map_):
        expected = 1 if d == BROADCAST else form.extents[d]
        require(same(extent, expected), f"map {map_} of shape {shape} over {form.extents}")


def _check_body(form: GenericForm, dtypes: list[str]) -> None:
    for step in form.steps:
        for operand in step.operands:
            require(0 <= operand < len(dtypes), f"{step.name} of value {operand} of {len(dtypes)}")
        dtypes.append(_step_dtype(step, [dtypes[operand] for operand in step.operands], len(form.extents)))
    for value, dtype in zip(form.yields, form.output_dtypes):
        require(value < len(dtypes) and dtypes[value] == dtype, f"value {value} is yielded as {dtype}")


def _step_dtype(step: ScalarStep, operands: list[str], rank: int) -> str:
    """Check one step; returns its result's element type."""
    described = f"{step.name} of {', '.join(operands) or 'nothing'} to {step.dtype or 'its own type'}"
    if step.name in ("constant", "index", "extent"):
        require(not operands and step.dtype != "", described)
        require(step.name == "constant" or step.dtype == "i64", described)
        require(step.name != "index" or 0 <= step.dimension < rank, described)
        return step.dtype
    scalar = SCALARS[step.name]
    require(len(operands) == scalar.arity, described)
    require((step.dtype != "") == (scalar.family is Family.CAST), described)
    floats = [is_float(dtype) for dtype in operands]
    if scalar.family is Family.CAST:
        require(floats[0] == CAST_SOURCE_IS_FLOAT[step.name], described)
        require(is_float(step.dtype) == CAST_RESULT_IS_FLOAT[step.name], described)
        return step.dtype
    if scalar.family is Family.SELECT:
        require(operands[0] == "i1" and operands[1] == operands[2], described)
        return operands[1]
    wants_float = scalar.family in (Family.FLOAT, Family.COMPARE_FLOAT)
    require(len(set(operands)) == 1 and floats[0] == wants_float, described)
    if scalar.family is Family.COMPARE_FLOAT:
        require(0 <= step.predicate < 16, described)
        return "i1"
    if scalar.family is Family.COMPARE_INTEGER:
        require(0 <= step.predicate < 10, described)
        return "i1"
    return operands[0]
