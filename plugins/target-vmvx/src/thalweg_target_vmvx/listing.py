"""Bytecode for people: what ``--dump-dir`` writes."""

from __future__ import annotations

from thalweg_target_vmvx.bytecode import Constant, Function, Generic, Instruction, TensorType


def listing(function: Function) -> str:
    """Return a function as text, one instruction (or step of a generic's body) per line."""
    lines = [f"function {function.name}"]
    register = 0
    for type_ in function.operands:
        lines.append(f"  r{register} = operand {_type(type_)}")
        register += 1
    for instruction in function.instructions:
        count = len(instruction.form.yields) if isinstance(instruction, Generic) else 1
        made = ", ".join(f"r{register + i}" for i in range(count))
        lines.append(f"  {made} = {_instruction(instruction)}")
        if isinstance(instruction, Generic):
            lines += _body(instruction)
        register += count
    for number, (type_, value) in enumerate(zip(function.results, function.returned)):
        lines.append(f"  result {number} = r{value} : {_type(type_)}")
    return "\n".join(lines) + "\n"


def _type(type_: TensorType) -> str:
    return "x".join([*map(str, type_.shape), type_.dtype])


def _instruction(instruction: Instruction) -> str:
    if isinstance(instruction, Constant):
        return f"constant {instruction.array.dtype} {list(instruction.array.shape)}"
    operands = " ".join(f"r{operand}" for operand in instruction.operands)
    if isinstance(instruction, Generic):
        form = instruction.form
        return f"generic {operands} over {list(form.extents)} reducing {list(form.reductions)}"
    parameters = " ".join(f"{name}={value}" for name, value in instruction.parameters.items())
    return (
        " ".join(part for part in (instruction.name, operands, parameters) if part)
        + f" : {_type(instruction.result)}"
    )


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
            "constant": f"{step.value} ", "index": f"{step.dimension} ",
            "cmpf": f"{step.predicate} ", "cmpi": f"{step.predicate} ",
        }.get(step.name, "")  # fmt: skip
        operands = " ".join(f"v{operand}" for operand in step.operands)
        lines.append(f"      v{number} = {step.name} {details}{operands} {step.dtype}".rstrip())
    lines.append("      yield " + " ".join(f"v{value}" for value in form.yields))
    return lines
