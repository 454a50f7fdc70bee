"""The functions there are, and the text of those that a kernel calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from thalweg.api import NotSupported

from thalweg_target_llvm_cpu.vector_math import error_function, exponential, logarithm, power, trigonometric
from thalweg_target_llvm_cpu.vector_math.lanes import ELEMENTS, FunctionWriter, Lanes


@dataclass(frozen=True)
class MathFunction:
    """How a function is written, and how many operands it takes."""

    write: Callable[..., Lanes]
    arity: int = 1


FUNCTIONS: dict[str, MathFunction] = {
    "exp": MathFunction(exponential.exp),
    "sigmoid": MathFunction(exponential.sigmoid),
    "tanh": MathFunction(exponential.tanh),
    "log": MathFunction(logarithm.log),
    "erf": MathFunction(error_function.erf),
    "sin": MathFunction(trigonometric.sin),
    "cos": MathFunction(trigonometric.cos),
    "pow": MathFunction(power.power, arity=2),
}

SUPPORTED = frozenset(FUNCTIONS)
"""The names that ``library`` takes."""


def library(calls: Iterable[tuple[str, int, str]], settings: Mapping[str, Any]) -> str:
    """Return LLVM IR of the functions ``@thalweg.NAME.vLfN`` (``@thalweg.NAME.fN`` for one lane) in
    ``calls``.

    :param calls: (name, lanes, ``f32`` or ``f64``), in any order; each is written once.
    :raises NotSupported: a name or an element type that is not there.
    """
    functions, constants = [], {}
    for name, lanes, element in sorted(set(calls)):
        writer = _writer(name, lanes, element, bool(settings.get("fma")))
        functions.append(writer.finish(FUNCTIONS[name].write(writer, *writer.parameters)))
        constants.update(writer.constants)
    return "\n".join([*constants.values(), *functions])


def _writer(name: str, lanes: int, element: str, fused: bool) -> FunctionWriter:
    function = FUNCTIONS.get(name)
    if function is None or element not in ELEMENTS:
        raise NotSupported(
            f"{name} of {element}", f"llvm-cpu has no vector math function {name} of {element}"
        )
    return FunctionWriter(name, lanes, ELEMENTS[element], function.arity, fused)
