"""Bytecode for people: what ``--dump-dir`` writes."""

from __future__ import annotations

from thalweg.extents import format_shape

from thalweg_target_vmvx.bytecode import Constant, Function, Generic, Instruction, Splat


def listing(function: Function) -> str:
    """Return a function as text, one instruction (or step of a generic's body) per line."""
    lines = [" ".join(["function", function.name, *map(_dimension, enumerate(function.dimensions))])]
    register = 0
    for type_ in function.operands:
        lines.append(f"  r{register} = operand {type_}")
        register += 1
    for instruction in function.instructions:
        count = len(instruction.form.yields) if isinstance(instruction, Generic) else 1
        made = ", ".join(f"r{register + i}" for i in range(count))
        lines.append(f"  {made} = {_instruction(instruction)}")
        if isinstance(instruction, Generic):
            lines += _body(instruction)
        register += count
    for number, (type_, value) in enumerate(zip(function.results, function.returned)):
        lines.append(f"  result {number} = r{value} : {type_}")
    return "\n".join(lines) + "\n"


def _dimension(numbered: tuple[int, str]) -> str:
    number, name = numbered
    return f"{name}=c{number}"


def _instruction(instruction: Instruction) -> str:
    if isinstance(instruction, Constant):
        return f"constant {instruction.array.dtype} {list(instruction.array.shape)}"
    if isinstance(instruction, Splat):
        return f"splat {instruction.element} : {instruction.result}"
    operands = " ".join(f"r{operand}" for operand in instruction.operands)
    if isinstance(instruction, Generic):
        form = instruction.form
        return f"generic {operands} over {format_shape(form.extents)} reducing {list(form.reductions)}"
    parameters = " ".join(f"{name}={_value(value)}" for name, value in instruction.parameters.items())
    return (
        " ".join(part for part in (instruction.name, operands, parameters) if part)
        + f" : {instruction.result}"
    )


def _value(value: object) -> str:
    return format_shape(value) if isinstance(value, tuple) else str(value)


def _body(instruction: Generic) -> list[str]:
    form = instruction.form
    lines = [
        f"      v{i} = input r{r} {list(m)}"
        for i, (r, m) in enumerate(zip(instruction.inputs, form.input_maps))
    ]
    first = len(lines)
    for i, (map_, dtype) in enumerate(zip(form.output_maps, form.output_dtypes)):
        lines.append(f"      v{first + i} = output {dtype} {list(map_)}")
    for number, step in enumerate(form.steps, form.first_step):
        details = {
            "constant": f"{step.value} ", "index": f"{step.dimension} ", "extent": f"{step.extent} ",
            "cmpf": f"{step.predicate} ", "cmpi": f"{step.predicate} ",
        }.get(step.name, "")  # fmt: skip
        operands = " ".join(f"v{operand}" for operand in step.operands)
        lines.append(f"      v{number} = {step.name} {details}{operands} {step.dtype}".rstrip())
    lines.append("      yield " + " ".join(f"v{value}" for value in form.yields))
    return lines
