"""The ops: one small function each, in a file named for its family; importing this package fills the table.

An op function takes the ``Emitter``, the ``Node`` and one ``Tensor`` (or ``None``) per input, and returns its
output or a tuple of them. It raises ``UnsupportedForm`` for what it cannot express.
"""

from thalweg_input_onnx.ops import (
    activation,
    constants,
    conversion,
    convolution,
    elementwise,
    indexing,
    logic,
    matmul,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    shape,
    trigonometry,
)

__all__ = [
    "activation",
    "constants",
    "conversion",
    "convolution",
    "elementwise",
    "indexing",
    "logic",
    "matmul",
    "normalization",
    "pooling",
    "quantization",
    "recurrent",
    "reduction",
    "resize",
    "shape",
    "trigonometry",
]
