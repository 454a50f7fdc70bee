"""Matrix products and convolutions as one problem: ``batch`` products of [rows, depth] × [depth, columns].

Columns are what vectors run along. A product with constant ``b`` [k, n] packs the columns' side at compile
time and reads activations row by row; a convolution packs its weights as the rows' side at compile time and
gathers windows of the image into panels at run time (an implicit GEMM); a product of two activations gathers
``b`` into panels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import index

from thalweg.extents import Extent, is_static
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.attributes import ints
from thalweg.ir.dialects import tw

from thalweg_target_llvm_cpu.emitters.work import analyse


@dataclass(frozen=True)
class Window:
    """A two-dimensional convolution's window; one-dimensional ones have height 1."""

    channels: int
    """Input channels of one group."""
    height: Extent
    width: Extent
    out_width: Extent
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads_low: tuple[int, int]

    @property
    def pointwise(self) -> bool:
        """Whether a panel is plain rows of the image: 1×1, stride 1, no padding."""
        return (
            self.kernel == (1, 1)
            and self.strides == (1, 1)
            and self.pads_low == (0, 0)
            and self.width == self.out_width
        )


@dataclass(frozen=True)
class Problem:
    """``batch`` counts matrices of the result; ``groups`` the weights that a convolution's batch cycles
    through.

    ``row_groups``: the result's dimensions, collapsed to (batch, rows, columns), or (rows, columns) when the
    batch is folded into the rows.
    """

    batch: Extent
    rows: Extent
    columns: Extent
    depth: Extent
    groups: int
    element: str
    output_groups: tuple[tuple[int, ...], ...]
    constant_columns: bool
    """The columns' side is a packed constant; otherwise it is gathered into panels."""
    a_shared: bool
    """All matrices of the batch read the same rows' side."""
    b_shared: bool
    window: Window | None = None

    @property
    def flops(self) -> Extent:
        """Floating-point operations of the whole problem."""
        return 2 * self.batch * self.rows * self.columns * self.depth

    @property
    def direct(self) -> bool:
        """Whether the columns' side is read where it is: of a matrix whose depth is dynamic no panel is
        sized.
        """
        return not self.constant_columns and not isinstance(self.depth, int)


def problem_of(dispatch: Dispatch) -> Problem | None:
    """Return the dispatch as a problem, or ``None`` if it is not one that the fast kernels take."""
    root = analyse(dispatch).root
    if not isinstance(root, tw.MatmulOp | tw.ConvOp):
        return None
    elements = {element_name(v.type) for v in (*root.operands, *root.results)}
    if elements not in ({"f32"}, {"f64"}) or 0 in (
        *extents_of(root.results[0]),
        *extents_of(root.operands[0]),
    ):
        return None
    if isinstance(root, tw.MatmulOp):
        return _matmul(root, dispatch, elements.pop())
    return _conv(root, dispatch, elements.pop())


def is_constant_operand(dispatch: Dispatch, value) -> bool:
    """Return whether a value is an operand that the compiler may pack, or has packed."""
    indices = [i for i, operand in enumerate(dispatch.operands) if operand is value]
    return bool(indices) and (indices[0] in dispatch.constant_operands or indices[0] in dispatch.packed)


def _matmul(root: tw.MatmulOp, dispatch: Dispatch, element: str) -> Problem | None:
    a, b, out = extents_of(root.a), extents_of(root.b), extents_of(root.result)
    rank = len(out)
    if not all(v in dispatch.operands for v in root.operands):
        return None
    a_batch, b_batch, batch = prod(a[:-2]), prod(b[:-2]), prod(out[:-2])
    if b_batch == 1 and is_constant_operand(dispatch, root.b):
        groups = (tuple(range(rank - 1)), (rank - 1,))
        if a_batch != batch:
            return None
        return Problem(1, batch * out[-2], out[-1], a[-1], 1, element, groups, True, True, True)
    if a_batch not in (1, batch) or b_batch not in (1, batch):
        return None
    groups = (tuple(range(rank - 2)), (rank - 2,), (rank - 1,))
    return Problem(batch, out[-2], out[-1], a[-1], 1, element, groups, False, a_batch == 1, b_batch == 1)


def _conv(root: tw.ConvOp, dispatch: Dispatch, element: str) -> Problem | None:
    x, w, out = extents_of(root.x), extents_of(root.w), extents_of(root.result)
    groups = root.groups.value.data
    if len(out) not in (3, 4) or root.x not in dispatch.operands or not is_constant_operand(dispatch, root.w):
        return None
    if not is_static((*w, out[1])):
        return None
    flat = len(out) == 3

    def pair(array, fill: int) -> tuple[int, int]:
        values = ints(array)
        return (fill, values[0]) if flat else (values[0], values[1])

    window = Window(
        channels=index(w[1]),
        height=1 if flat else x[2],
        width=x[-1],
        out_width=out[-1],
        kernel=(1, index(w[2])) if flat else (index(w[2]), index(w[3])),
        strides=pair(root.strides, 1),
        dilations=pair(root.dilations, 1),
        pads_low=pair(root.pads_low, 0),
    )
    columns = prod(out[2:])
    output_groups = ((0,), (1,), tuple(range(2, len(out))))
    depth = w[1] * window.kernel[0] * window.kernel[1]
    a_shared = x[0] == 1 and groups == 1
    batch, rows = x[0] * groups, out[1] // groups
    return Problem(
        batch, rows, columns, depth, groups, element, output_groups, False, a_shared, False, window
    )
