"""What every op means, as NumPy functions: one pure function per ``tw`` op, and one per scalar operation.

The compiler evaluates constants with them and the vmvx loader runs them as kernels, so the folder imports
NumPy, ml_dtypes and ``thalweg.errors``/``dtypes``/``extents`` only. Other targets are checked against it; it
favours plainness and accuracy: float32 sums (but those of BLAS) and transcendental functions are computed
in float64, halves in float32 or better.
"""

from thalweg.semantics.generic import GenericForm, ScalarStep, evaluate_generic
from thalweg.semantics.structured import (
    OPERATIONS,
    concat,
    evaluate_structured,
    gather,
    layer_norm,
    matmul,
    pad,
    reshape,
    slice,
    softmax,
    splat,
)
from thalweg.semantics.windows import conv, reduce_window

__all__ = [
    "OPERATIONS",
    "GenericForm",
    "ScalarStep",
    "concat",
    "conv",
    "evaluate_generic",
    "evaluate_structured",
    "gather",
    "layer_norm",
    "matmul",
    "pad",
    "reduce_window",
    "reshape",
    "slice",
    "softmax",
    "splat",
]
