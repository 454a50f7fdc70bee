"""The scalar operations in the body of a ``linalg.generic``, as C expressions: a table.

What they mean, the cases that C leaves undefined included, is said in ``thalweg.semantics.scalar``.
"""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.api import NotSupported
from thalweg.semantics import ScalarStep

from thalweg_target_example.c_text import convert, literal, signed, unsigned

FLOATS = {
    "addf": "{0} + {1}", "subf": "{0} - {1}", "mulf": "{0} * {1}", "divf": "{0} / {1}", "negf": "-{0}",
    "maximumf": "larger({0}, {1})", "minimumf": "smaller({0}, {1})", "powf": "pow({0}, {1})",
    "exp": "exp({0})", "log": "log({0})", "tanh": "tanh({0})", "erf": "erf({0})", "sin": "sin({0})",
    "cos": "cos({0})", "sqrt": "sqrt({0})", "rsqrt": "1.0 / sqrt({0})", "absf": "fabs({0})",
    "ceil": "ceil({0})", "floor": "floor({0})", "roundeven": "rint({0})",
}  # fmt: skip
"""On floats; functions are computed in double and rounded once."""

INTEGERS = {
    "addi": "{0} + {1}", "subi": "{0} - {1}", "muli": "{0} * {1}", "andi": "{0} & {1}", "ori": "{0} | {1}",
    "xori": "{0} ^ {1}", "divsi": "divide({0}, {1})", "remsi": "remains({0}, {1})",
    "maxsi": "largest({0}, {1})", "minsi": "least({0}, {1})", "absi": "{0} < 0 ? -{0} : {0}",
}  # fmt: skip
"""On integers, taken as signed; C code is compiled so that they wrap."""

CASTS = {
    "sitofp": (signed, "{0}"), "uitofp": (unsigned, "{0}"), "extsi": (signed, "{0}"),
    "extui": (unsigned, "{0}"), "trunci": (unsigned, "{0}"), "extf": (None, "{0}"), "truncf": (None, "{0}"),
    "fptosi": (None, "to_signed({0}, {bits})"), "fptoui": (None, "to_unsigned({0}, {bits})"),
}  # fmt: skip
"""To another element type: how the operand's bits are taken, and the expression."""

FLOAT_COMPARISONS = (
    "0", "{0} == {1}", "{0} > {1}", "{0} >= {1}", "{0} < {1}", "{0} <= {1}", "({0} < {1} || {0} > {1})",
    "({0} == {0} && {1} == {1})", "!({0} < {1} || {0} > {1})", "!({0} <= {1})", "!({0} < {1})",
    "!({0} >= {1})", "!({0} > {1})", "{0} != {1}", "({0} != {0} || {1} != {1})", "1",
)  # fmt: skip
"""By the number of MLIR's predicate; 8 and above are true where an operand is NaN."""

INTEGER_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "<", "<=", ">", ">=")
"""By the number of MLIR's predicate; 6 and above are of unsigned integers."""


def scalar_expression(step: ScalarStep, operands: Sequence[str], dtypes: Sequence[str]) -> tuple[str, str]:
    """Return (element type, expression) of one step; ``index`` and ``extent`` are not among them.

    :raises NotSupported: naming an operation that there is no C for.
    """
    name = step.name
    if name == "constant":
        return step.dtype, literal(step.dtype, step.value)
    if name == "select":
        return dtypes[1], "{} ? {} : {}".format(*operands)
    if name == "cmpf":
        return "i1", FLOAT_COMPARISONS[step.predicate].format(*operands)
    if name == "cmpi":
        view = signed if step.predicate < 6 else unsigned
        sides = [view(dtypes[0], text) for text in operands]
        return "i1", f"{sides[0]} {INTEGER_COMPARISONS[step.predicate]} {sides[1]}"
    if name in CASTS:
        view, template = CASTS[name]
        operand = view(dtypes[0], operands[0]) if view else operands[0]
        bits = step.dtype.lstrip("uif")
        return step.dtype, convert(step.dtype, template.format(operand, bits=bits))
    if name in FLOATS:
        return dtypes[0], convert(dtypes[0], FLOATS[name].format(*operands))
    if name in INTEGERS:
        values = [signed(dtypes[0], text) for text in operands]
        return dtypes[0], convert(dtypes[0], INTEGERS[name].format(*values))
    raise NotSupported(name, f"no C is written for the scalar operation {name}")
