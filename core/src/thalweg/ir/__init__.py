"""The IR: MLIR through xDSL, behind one facade.

Plugins use what this module exports and MLIR text; xDSL itself may change under it. Never imported by
``hal``, ``module``, ``plugin`` or ``runtime``.
"""

from thalweg.ir.builder import FunctionBuilder, ScalarBuilder
from thalweg.ir.dispatch import Dispatch
from thalweg.ir.program import Program, parse_module
from thalweg.ir.types import element_name, extents_of, shape_of, tensor_type

__all__ = [
    "Dispatch",
    "FunctionBuilder",
    "Program",
    "ScalarBuilder",
    "element_name",
    "extents_of",
    "parse_module",
    "shape_of",
    "tensor_type",
]
