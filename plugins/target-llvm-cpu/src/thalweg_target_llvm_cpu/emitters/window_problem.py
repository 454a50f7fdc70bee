"""What a sliding window over the last two dimensions is: axes, borders, and how an output row is cut in
vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import index

from thalweg.extents import Extent, ceil_divide, floor_divide, is_static, maximum, minimum, static
from thalweg.ir import Dispatch, extents_of
from thalweg.ir.attributes import ints
from thalweg.ir.dialects import tw

from thalweg_target_llvm_cpu.emitters.work import analyse

MAX_PRODUCTS = 2500
"""The most vector operations that a kernel writes out; larger windows take the general way."""


@dataclass(frozen=True)
class Axis:
    """One dimension: output ``o`` sees positions ``o * stride - low + tap * dilation`` of ``size``."""

    size: Extent
    output: Extent
    window: int = 1
    stride: int = 1
    dilation: int = 1
    low: int = 0

    @property
    def free(self) -> bool:
        """Whether the window does not reach along this dimension: output and operand coincide."""
        return self.window == 1 and self.stride == 1 and self.low == 0 and self.output == self.size

    @property
    def is_static(self) -> bool:
        """Whether operand and output are of known extent."""
        return is_static((self.size, self.output))

    @property
    def interior(self) -> tuple[Extent, Extent]:
        """The range of outputs whose every tap is inside."""
        reach = (self.window - 1) * self.dilation
        first = minimum(self.output, ceil_divide(self.low, self.stride))
        stop = floor_divide(self.size - 1 + self.low - reach, self.stride) + 1
        return first, minimum(self.output, maximum(first, stop))

    def position(self, output: int, tap: int) -> int:
        """Return where a tap of an output is."""
        return output * self.stride - self.low + tap * self.dilation

    def inside(self, output: int, tap: int) -> bool:
        """Return whether a tap of an output is inside."""
        return 0 <= self.position(output, tap) < self.size


@dataclass(frozen=True)
class Problem:
    """A window over [planes, rows, columns].

    ``kind``: ``max``, ``sum``, or ``conv`` with one weight per plane modulo ``channels`` and tap; plane ``p``
    of the output reads plane ``p // multiplier`` of the operand.
    """

    kind: str
    planes: Extent
    rows: Axis
    columns: Axis
    channels: Extent = 1
    multiplier: Extent = 1

    @property
    def taps(self) -> int:
        """Elements of the window."""
        return self.rows.window * self.columns.window


def problem_of(dispatch: Dispatch) -> Problem | None:
    """Return the two-dimensional window problem of a dispatch, or ``None`` if it is not one."""
    root = analyse(dispatch).root
    if isinstance(root, tw.ConvOp):
        return _depthwise(root)
    assert isinstance(root, tw.ReduceWindowOp)
    axes = window_axes(root)
    if not all(axis.free for axis in axes[:-2]):
        return None
    planes = prod(axis.size for axis in axes[:-2])
    rows = axes[-2] if len(axes) > 1 else Axis(1, 1)
    return Problem(root.kind.data, planes, rows, axes[-1]) if axes else None


def window_axes(root: tw.ReduceWindowOp) -> list[Axis]:
    """Return the axes of a window, one per dimension."""
    sizes = zip(extents_of(root.x), extents_of(root.result))
    steps = zip(ints(root.window), ints(root.strides), ints(root.dilations), ints(root.pads_low))
    return [Axis(*size, *step) for size, step in zip(sizes, steps)]


def _depthwise(root: tw.ConvOp) -> Problem | None:
    x, w, y = (extents_of(value) for value in (root.x, root.w, root.results[0]))
    rank = len(x)
    if w[1] != 1 or rank > 4 or not is_static(w[2:]):
        return None
    steps = zip(static(w[2:]), ints(root.strides), ints(root.dilations), ints(root.pads_low))
    axes = [Axis(*size, *step) for size, step in zip(zip(x[2:], y[2:]), steps)]
    rows = axes[0] if len(axes) > 1 else Axis(1, 1)
    return Problem("conv", y[0] * y[1], rows, axes[-1], y[1], y[1] // x[1])


@dataclass(frozen=True)
class Columns:
    """An output row in vectors of ``lanes``: a loop over ``clean`` (start, stop) by ``lanes``, whose lanes'
    taps are all inside the row, and single vectors that begin at ``edges``.
    ``masked``: the row is shorter than a vector.
    """

    lanes: int
    clean: tuple[int, int]
    edges: tuple[int, ...]
    masked: bool


def cut_columns(axis: Axis, lanes: int, masks: bool) -> Columns:
    """Cut the columns in vectors.

    :param axis: of known extents.
    :param masks: partial vectors are cheap on the target, so that a short row is one of them.
    """
    output = index(axis.output)
    if output < lanes:
        wide = 1 << (output - 1).bit_length()
        lanes = wide if masks or wide == output else wide // 2
    if output < lanes:
        return Columns(lanes, (0, 0), (0,), True)
    starts = list(range(0, output - lanes + 1, lanes))
    clean = [start for start in starts if is_clean(axis, start, lanes)]
    edges = [start for start in starts if start not in clean]
    if output % lanes:
        edges.append(output - lanes)
    span = (clean[0], clean[-1] + lanes) if clean else (0, 0)
    return Columns(lanes, span, tuple(edges), False)


def is_clean(axis: Axis, start: int, lanes: int) -> bool:
    """Return whether everything that is loaded for ``lanes`` outputs from ``start`` on is inside the row."""
    reads = [load_range(axis, start, lanes, tap) for tap in range(axis.window)]
    return all(first >= 0 and stop <= axis.size for first, stop in reads)


def load_range(axis: Axis, start: int, lanes: int, tap: int) -> tuple[int, int]:
    """Return the range of positions that is loaded for a tap: at stride 2, pairs from an even offset on."""
    if axis.stride == 2:
        first = 2 * start + (tap * axis.dilation - axis.low) // 2 * 2
        return first, first + 2 * lanes
    first = axis.position(start, tap)
    return first, first + (lanes - 1) * axis.stride + 1


def row_block(problem: Problem, registers: int) -> int:
    """Return how many interior rows one step computes: independent accumulators, within the registers."""
    first, stop = static(problem.rows.interior)
    most = 4 if registers - problem.taps >= 8 else 2
    if stop <= first:
        return 0
    blocks = -(-(stop - first) // most)
    return -(-(stop - first) // blocks)


def is_written_out(problem: Problem) -> bool:
    """Return whether the window is small enough, and its extents known, for a kernel that writes out every
    vector operation.
    """
    if is_dynamic(problem):
        return False
    first, stop = static(problem.rows.interior)
    rows = 4 + index(problem.rows.output) - (stop - first)
    columns = len(cut_columns(problem.columns, 4, False).edges) + 1
    return 0 < rows * columns * problem.taps <= MAX_PRODUCTS


def is_dynamic(problem: Problem) -> bool:
    """Return whether rows or columns are known at the call only."""
    return not (problem.rows.is_static and problem.columns.is_static)
