"""The scalar operations of a ``linalg.generic`` body, vectorized over arrays.

``SCALARS`` maps every name of ``thalweg.ir.builder.SCALAR_OPERATIONS`` (but ``constant``) to its meaning.
Where MLIR leaves a case undefined, Thalweg defines it, and every target agrees:

- ``divsi`` and ``remsi`` by zero give 0; the least integer divided by -1 wraps to itself.
- ``fptosi`` and ``fptoui`` truncate toward zero and saturate; NaN gives 0.
- Integer arithmetic wraps. ``i1`` is one bit: ``addi`` is exclusive or; as a signed integer, true is -1.

Transcendental functions of f16, bf16 and f32 are computed in float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from thalweg.semantics.precision import FLOAT64, is_float, wrap
from thalweg.semantics.special import erf

Array = np.ndarray

_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Family(Enum):
    """What element types an operation takes."""

    FLOAT = "float"
    INTEGER = "integer"
    COMPARE_FLOAT = "two floats to i1"
    COMPARE_INTEGER = "two integers to i1"
    SELECT = "i1 and two of one type"
    CAST = "to a given type"


@dataclass(frozen=True)
class Scalar:
    """One operation: ``function(*operands)``; casts also take ``dtype``, comparisons ``predicate``."""

    function: Callable[..., Array]
    arity: int
    family: Family


def _signed(x: Array) -> Array:
    if x.dtype == np.bool_:
        return -(x.astype(np.int8))
    return x.view(_SIGNED[x.dtype.itemsize])


def _unsigned(x: Array) -> Array:
    return x.view(_UNSIGNED[x.dtype.itemsize])


def _precisely(function: Callable[..., Array]) -> Callable[..., Array]:
    def computed(*operands: Array) -> Array:
        return function(*(x.astype(FLOAT64) for x in operands)).astype(operands[0].dtype)

    return computed


def _wrapping(function: Callable[..., Array]) -> Callable[..., Array]:
    def computed(*operands: Array) -> Array:
        if operands[0].dtype == np.bool_:
            return wrap(function(*(_signed(x) for x in operands)), operands[0].dtype)
        return function(*operands)

    return computed


def _by_sign(function: Callable[..., Array]) -> Callable[..., Array]:
    def computed(*operands: Array) -> Array:
        result = function(*(_signed(x) for x in operands))
        return wrap(result, operands[0].dtype)

    return computed


def _divide(a: Array, b: Array) -> Array:
    # Not through floats: exact for i64. NumPy's // rounds down, so the magnitude's remainder decides.
    safe = np.where((b == 0) | (b == -1), np.ones_like(b), b)
    quotient = (a - np.fmod(a, safe)) // safe
    return np.where(b == 0, np.zeros_like(a), np.where(b == -1, np.negative(a), quotient))


def _remainder(a: Array, b: Array) -> Array:
    safe = np.where((b == 0) | (b == -1), np.ones_like(b), b)
    return np.fmod(a, safe)


def _compare_float(a: Array, b: Array, *, predicate: int) -> Array:
    """The predicates of ``arith.cmpf``, 0 … 15: bit 3 unordered, then the relation."""
    relation, unordered_is_true = predicate & 7, predicate >= 8
    if predicate in (0, 15):
        return np.full(np.broadcast_shapes(a.shape, b.shape), predicate == 15)
    unordered = np.isnan(a) | np.isnan(b)
    if predicate == 7:
        return ~unordered
    if predicate == 14:
        return unordered
    if unordered_is_true:
        relation += 1
    ordered = _FLOAT_RELATIONS[relation](a, b)
    return ordered | unordered if unordered_is_true else ordered & ~unordered


_FLOAT_RELATIONS: dict[int, Callable[[Array, Array], Array]] = {
    1: np.equal, 2: np.greater, 3: np.greater_equal, 4: np.less, 5: np.less_equal, 6: np.not_equal,
}  # fmt: skip
_INTEGER_RELATIONS = (
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
    np.less, np.less_equal, np.greater, np.greater_equal,
)  # fmt: skip


def _compare_integer(a: Array, b: Array, *, predicate: int) -> Array:
    """The predicates of ``arith.cmpi``, 0 … 9: equality, signed, unsigned."""
    view = _signed if predicate < 6 else _unsigned
    return _INTEGER_RELATIONS[predicate](view(a), view(b))


def _saturate(x: Array, dtype: np.dtype, signed: bool) -> Array:
    bits = 1 if dtype == np.bool_ else dtype.itemsize * 8
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    wide = np.trunc(np.nan_to_num(x.astype(FLOAT64), nan=0.0, posinf=np.inf, neginf=-np.inf))
    storage = np.int64 if signed else np.uint64
    below, above = wide <= low, wide >= high
    inside = np.where(below | above, 0.0, wide).astype(storage)
    return wrap(np.where(above, storage(high), np.where(below, storage(low), inside)), dtype)


def _to_signed(x: Array, *, dtype: np.dtype) -> Array:
    return _saturate(x, np.dtype(dtype), signed=True)


def _to_unsigned(x: Array, *, dtype: np.dtype) -> Array:
    return _saturate(x, np.dtype(dtype), signed=False)


def _cast_float(x: Array, *, dtype: np.dtype) -> Array:
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def _from_signed(x: Array, *, dtype: np.dtype) -> Array:
    return _cast_float(_signed(x), dtype=dtype)


def _from_unsigned(x: Array, *, dtype: np.dtype) -> Array:
    return _cast_float(_unsigned(x), dtype=dtype)


def _extend_signed(x: Array, *, dtype: np.dtype) -> Array:
    return wrap(_signed(x), dtype)


def _extend_unsigned(x: Array, *, dtype: np.dtype) -> Array:
    return wrap(_unsigned(x), dtype)


def _reciprocal_root(x: Array) -> Array:
    return 1.0 / np.sqrt(x)


def _select(condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


def _group(family: Family, arity: int, functions: Mapping[str, Callable[..., Array]]) -> dict[str, Scalar]:
    return {name: Scalar(function, arity, family) for name, function in functions.items()}


SCALARS: dict[str, Scalar] = {
    **_group(Family.FLOAT, 2, {
        "addf": np.add, "subf": np.subtract, "mulf": np.multiply, "divf": np.divide, "maximumf": np.maximum,
        "minimumf": np.minimum, "powf": _precisely(np.power),
    }),
    **_group(Family.FLOAT, 1, {
        "exp": _precisely(np.exp), "log": _precisely(np.log), "tanh": _precisely(np.tanh),
        "erf": _precisely(erf),
        "sin": _precisely(np.sin), "cos": _precisely(np.cos), "rsqrt": _precisely(_reciprocal_root),
        "sqrt": np.sqrt, "absf": np.absolute, "ceil": np.ceil, "floor": np.floor, "roundeven": np.rint,
        "negf": np.negative,
    }),
    **_group(Family.INTEGER, 2, {
        "addi": _wrapping(np.add), "subi": _wrapping(np.subtract), "muli": _wrapping(np.multiply),
        "divsi": _by_sign(_divide), "remsi": _by_sign(_remainder), "maxsi": _by_sign(np.maximum),
        "minsi": _by_sign(np.minimum), "andi": np.bitwise_and, "ori": np.bitwise_or, "xori": np.bitwise_xor,
    }),
    **_group(Family.INTEGER, 1, {"absi": _by_sign(np.absolute)}),
    **_group(Family.COMPARE_FLOAT, 2, {"cmpf": _compare_float}),
    **_group(Family.COMPARE_INTEGER, 2, {"cmpi": _compare_integer}),
    **_group(Family.SELECT, 3, {"select": _select}),
    **_group(Family.CAST, 1, {
        "sitofp": _from_signed, "uitofp": _from_unsigned, "fptosi": _to_signed, "fptoui": _to_unsigned,
        "extf": _cast_float, "truncf": _cast_float, "extsi": _extend_signed, "extui": _extend_unsigned,
        "trunci": _extend_unsigned,
    }),
}  # fmt: skip
"""Operation name → its meaning. Operands are arrays of one dtype that broadcast against each other."""

CAST_SOURCE_IS_FLOAT = {
    "sitofp": False, "uitofp": False, "fptosi": True, "fptoui": True, "extf": True, "truncf": True,
    "extsi": False, "extui": False, "trunci": False,
}  # fmt: skip
CAST_RESULT_IS_FLOAT = {
    "sitofp": True, "uitofp": True, "fptosi": False, "fptoui": False, "extf": True, "truncf": True,
    "extsi": False, "extui": False, "trunci": False,
}  # fmt: skip


def _sum_float(x: Array, axes: tuple[int, ...]) -> Array:
    wide = FLOAT64 if x.dtype.itemsize >= 4 else np.dtype(np.float32)
    if x.dtype.isbuiltin != 1:  # bfloat16: NumPy's reduction would not accumulate it in another type
        x = x.astype(wide)
    return np.add.reduce(x, axis=axes, dtype=wide, keepdims=True)


def _product_float(x: Array, axes: tuple[int, ...]) -> Array:
    return np.multiply.reduce(x.astype(FLOAT64), axis=axes, keepdims=True)


def _fold(ufunc: np.ufunc) -> Callable[[Array, tuple[int, ...]], Array]:
    return lambda x, axes: ufunc.reduce(x, axis=axes, keepdims=True)


def _fold_wrapping(ufunc: np.ufunc) -> Callable[[Array, tuple[int, ...]], Array]:
    def computed(x: Array, axes: tuple[int, ...]) -> Array:
        if x.dtype == np.bool_:
            return wrap(ufunc.reduce(_signed(x), axis=axes, keepdims=True), x.dtype)
        return ufunc.reduce(x, axis=axes, dtype=x.dtype, keepdims=True)

    return computed


def _fold_by_sign(ufunc: np.ufunc) -> Callable[[Array, tuple[int, ...]], Array]:
    return lambda x, axes: wrap(ufunc.reduce(_signed(x), axis=axes, keepdims=True), x.dtype)


COMBINERS: dict[str, Callable[[Array, tuple[int, ...]], Array]] = {
    "addf": _sum_float,
    "mulf": _product_float,
    "maximumf": _fold(np.maximum),
    "minimumf": _fold(np.minimum),
    "addi": _fold_wrapping(np.add),
    "muli": _fold_wrapping(np.multiply),
    "maxsi": _fold_by_sign(np.maximum),
    "minsi": _fold_by_sign(np.minimum),
    "andi": _fold(np.bitwise_and),
    "ori": _fold(np.bitwise_or),
    "xori": _fold(np.bitwise_xor),
}
"""Associative, commutative operations → (array, axes) → the reduction over these axes, kept with extent 1.

Float sums and products come back in the type they were computed in (float64; float32 for sums of halves).
"""


def combine(name: str, accumulated: Array, reduced: Array) -> Array:
    """Return one final application of combiner ``name``, rounded to the accumulator's type."""
    if is_float(accumulated.dtype) and reduced.dtype != accumulated.dtype:
        return SCALARS[name].function(accumulated.astype(reduced.dtype), reduced).astype(accumulated.dtype)
    return SCALARS[name].function(accumulated, reduced)
