"""Writes ``linalg.generic``: elementwise maps, broadcasts, transposes and reductions."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.ir.dialects.linalg import GenericOp
from thalweg.ir.evaluate import generic_form
from thalweg.semantics import GenericForm
from thalweg.semantics.generic import BROADCAST

from thalweg_target_example.c_text import c_type
from thalweg_target_example.emitter import Emitter, Tensor
from thalweg_target_example.scalar import scalar_expression


def emit_generic(emitter: Emitter, op: GenericOp) -> None:
    """Write one function for each result."""
    form = generic_form(op)
    inputs = [emitter.tensor(value) for value in op.inputs]
    initial = [emitter.tensor(value) if form.reads_outputs else None for value in op.outputs]
    for output, value in enumerate(op.results):
        # The parameters are the iteration dimensions that this result has.
        parameters = [
            f"unused{axis}" if d == BROADCAST else f"d{d}" for axis, d in enumerate(form.output_maps[output])
        ]
        fixed = [
            f"const int64_t d{d} UNUSED = 0;"
            for d in range(len(form.extents))
            if d not in form.reductions and f"d{d}" not in parameters
        ]
        body = _body(emitter, form, inputs, initial, output)
        emitter.add_function(value, parameters, [*fixed, *body])


def _body(
    emitter: Emitter,
    form: GenericForm,
    inputs: Sequence[Tensor],
    initial: Sequence[Tensor | None],
    output: int,
) -> list[str]:
    accumulators = [
        f"{c_type(dtype)} x{len(inputs) + i} UNUSED = {before.read(_at(map_))};"
        for i, (dtype, map_, before) in enumerate(zip(form.output_dtypes, form.output_maps, initial))
        if before is not None
    ]
    steps = [
        f"const {tensor.c_type} x{i} UNUSED = {tensor.read(_at(map_))};"
        for i, (tensor, map_) in enumerate(zip(inputs, form.input_maps))
    ]
    dtypes = [*(tensor.dtype for tensor in inputs), *form.output_dtypes]
    for step in form.steps:
        if step.name in ("index", "extent"):
            dtype = "i64"
            text = f"d{step.dimension}" if step.name == "index" else emitter.extent(step.extent)
        else:
            operands = [f"x{value}" for value in step.operands]
            dtype, text = scalar_expression(step, operands, [dtypes[value] for value in step.operands])
        steps.append(f"const {c_type(dtype)} x{len(dtypes)} UNUSED = {text};")
        dtypes.append(dtype)
    if not form.reductions:
        return [*accumulators, *steps, f"return x{form.yields[output]};"]
    loops = [
        f"for (int64_t d{d} = 0; d{d} < {emitter.extent(form.extents[d])}; ++d{d})" for d in form.reductions
    ]
    # All new values are computed before the first is stored: one may be another's old one.
    news = [
        f"const {c_type(dtype)} new{i} = x{v};"
        for i, (dtype, v) in enumerate(zip(form.output_dtypes, form.yields))
    ]
    stores = [f"x{len(inputs) + i} = new{i};" for i in range(len(form.yields))]
    return [
        *accumulators,
        *loops,
        "{",
        *(f"  {s}" for s in [*steps, *news, *stores]),
        "}",
        f"return x{len(inputs) + output};",
    ]


def _at(map_: Sequence[int]) -> list[str]:
    return ["0" if d == BROADCAST else f"d{d}" for d in map_]
