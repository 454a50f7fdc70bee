"""Sliding windows over spatial dimensions: strides, dilations, pads and output sizes of convolution and
pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.api import InvalidArgument
from thalweg.extents import (
    Extent,
    ceil_divide,
    floor_divide,
    format_shape,
    is_static,
    maximum,
    minimum,
    static,
)

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.tensor import Tensor


@dataclass(frozen=True)
class Window:
    """One entry per spatial dimension; ``high`` is the declared pad, ``output`` the number of windows.

    ``widest``: a number that neither pad of a dimension exceeds, whatever its extent.
    """

    extents: tuple[Extent, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[Extent, ...]
    high: tuple[Extent, ...]
    output: tuple[Extent, ...]
    widest: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """The elements that one window spans, dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations))

    def span(self, axis: int) -> Extent:
        """The elements of a padded dimension from the first window's first to the last window's last."""
        return (self.output[axis] - 1) * self.strides[axis] + self.reach[axis]

    def placed(self, b: Emitter, x: Tensor, fill: float | int = 0) -> tuple[Tensor, list[int], list[int]]:
        """Return the tensor to slide over, and its pads, no more of them than the last window reaches.

        Where pads depend on a dynamic extent, as many of ``fill`` as there can be are added, and those too
        many cut off.
        """
        lows: list[int] = []
        highs: list[int] = []
        for axis, (extent, low, high) in enumerate(zip(self.extents, self.low, self.high)):
            needed = self.span(axis) - extent - low
            if isinstance(low, int) and isinstance(needed, int):
                pads = low, max(0, needed)
            elif isinstance(low, int) and isinstance(high, int) and self.fills(axis):
                pads = low, high
            else:
                x, pads = self._cut(b, x, axis, fill), (0, 0)
            lows.append(pads[0])
            highs.append(pads[1])
        return x, lows, highs

    def fills(self, axis: int) -> bool:
        """Whether there are as many windows as fit with the declared pads."""
        room = self.extents[axis] + self.low[axis] + self.high[axis] - self.reach[axis]
        return self.output[axis] == floor_divide(room, self.strides[axis]) + 1

    def _cut(self, b: Emitter, x: Tensor, axis: int, fill: float | int) -> Tensor:
        pads = [0] * x.rank
        pads[axis + 2] = self.widest[axis]
        return b.slice_axis(
            b.pad(x, pads, pads, fill), axis + 2, self.widest[axis] - self.low[axis], self.span(axis)
        )


def window_of(
    b: Emitter, node: Node, extents: Sequence[Extent], kernel: Sequence[Extent], ceil_mode: bool = False
) -> Window:
    """Read strides, dilations, pads and ``auto_pad`` of a convolution or pool over ``extents``; one that
    needs more elements than a dynamic dimension may have limits the dimension.
    """
    rank = len(extents)
    kernel = static(kernel)
    strides = _per_dimension(node, "strides", rank)
    dilations = _per_dimension(node, "dilations", rank)
    if len(kernel) != rank:
        raise InvalidArgument(f"a kernel of {len(kernel)} dimensions over {rank} spatial dimensions")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    mode = node.attribute("auto_pad", "NOTSET")
    low: Sequence[Extent]
    high: Sequence[Extent]
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        output = [ceil_divide(extent, stride) for extent, stride in zip(extents, strides)]
        total = [
            maximum(0, (out - 1) * stride + r - extent)
            for out, stride, r, extent in zip(output, strides, reach, extents)
        ]
        less = [floor_divide(t, 2) for t in total]
        more = [t - half for t, half in zip(total, less)]
        low, high = (less, more) if mode == "SAME_UPPER" else (more, less)
        widest = [r - 1 for r in reach]  # a stride more than the extent is never padded for
    else:
        pads = [0] * (2 * rank) if mode == "VALID" else list(node.attribute("pads", [0] * (2 * rank)))
        if len(pads) != 2 * rank:
            raise InvalidArgument(f"{len(pads)} pads for {rank} spatial dimensions")
        if any(pad < 0 for pad in pads):
            raise UnsupportedForm("negative pads", "slice the input instead")
        low, high = pads[:rank], pads[rank:]
        widest = [max(a, z + stride - 1) for a, z, stride in zip(pads, pads[rank:], strides)]
        _check_room(b, extents, pads[:rank], pads[rank:], reach)
        output = [
            _windows(*dimension, ceil_mode)
            for dimension in zip(extents, pads[:rank], pads[rank:], reach, strides)
        ]
    return Window(
        tuple(extents), kernel, tuple(strides), tuple(dilations), tuple(low), tuple(high), tuple(output),
        tuple(widest),
    )  # fmt: skip


def _check_room(
    b: Emitter, extents: Sequence[Extent], low: Sequence[int], high: Sequence[int], reach: Sequence[int]
) -> None:
    """Check that one window fits; dynamic dimensions are limited to those where it does."""
    for extent, before, after, span in zip(extents, low, high, reach):
        if isinstance(extent, int) and extent + before + after < span:
            raise InvalidArgument(
                f"a window of {list(reach)} does not fit into {format_shape(extents)} with pads {list(low)}, "
                f"{list(high)}"
            )
        b.at_least(extent, span - before - after, f"a window of {span} with pads {before}, {after}")


def _windows(extent: Extent, low: int, high: int, reach: int, stride: int, ceil_mode: bool) -> Extent:
    room = extent + low + high - reach
    if not ceil_mode or stride == 1:
        return floor_divide(room, stride) + 1
    count = ceil_divide(room, stride) + 1
    if is_static(extent):
        started = (count - 1) * stride < extent + low
        return count if started else count - 1  # the last window must start on an element
    if high > reach:
        raise UnsupportedForm(f"ceil_mode with a pad of {high} after a dynamic dimension", "pad before it")
    return minimum(count, ceil_divide(extent + low, stride))


def _per_dimension(node: Node, name: str, rank: int) -> list[int]:
    values = list(node.attribute(name, [1] * rank)) or [1] * rank
    if len(values) != rank:
        raise InvalidArgument(f"{len(values)} {name} for {rank} spatial dimensions")
    if any(value < 1 for value in values):
        raise InvalidArgument(f"{name} of {values}; each must be at least 1")
    return values
