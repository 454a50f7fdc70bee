"""Sliding windows over spatial dimensions: strides, dilations, pads and output sizes of convolution and
pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.api import InvalidArgument

from thalweg_input_onnx.diagnostics import UnsupportedForm
from thalweg_input_onnx.node import Node


@dataclass(frozen=True)
class Window:
    """One entry per spatial dimension; ``high`` is the declared pad, ``output`` the number of windows."""

    extents: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """The elements that one window spans, dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations))

    @property
    def high_needed(self) -> tuple[int, ...]:
        """The pad after each dimension that the last window reaches, no more and no less."""
        return tuple(
            max(0, (out - 1) * stride + reach - extent - low)
            for out, stride, reach, extent, low in zip(
                self.output, self.strides, self.reach, self.extents, self.low
            )
        )


def window_of(node: Node, extents: Sequence[int], kernel: Sequence[int], ceil_mode: bool = False) -> Window:
    """Read strides, dilations, pads and ``auto_pad`` of a convolution or pool over ``extents``."""
    rank = len(extents)
    strides = _per_dimension(node, "strides", rank)
    dilations = _per_dimension(node, "dilations", rank)
    if len(kernel) != rank:
        raise InvalidArgument(f"a kernel of {len(kernel)} dimensions over {rank} spatial dimensions")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    mode = node.attribute("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        output = [-(-extent // stride) for extent, stride in zip(extents, strides)]
        total = [
            max(0, (out - 1) * stride + r - extent)
            for out, stride, r, extent in zip(output, strides, reach, extents)
        ]
        less = [t // 2 for t in total]
        more = [t - half for t, half in zip(total, less)]
        low, high = (less, more) if mode == "SAME_UPPER" else (more, less)
    else:
        pads = [0] * (2 * rank) if mode == "VALID" else list(node.attribute("pads", [0] * (2 * rank)))
        if len(pads) != 2 * rank:
            raise InvalidArgument(f"{len(pads)} pads for {rank} spatial dimensions")
        if any(pad < 0 for pad in pads):
            raise UnsupportedForm("negative pads", "slice the input instead")
        low, high = pads[:rank], pads[rank:]
        output = [_windows(*dimension, ceil_mode) for dimension in zip(extents, low, high, reach, strides)]
    if any(out <= 0 for out in output):
        raise InvalidArgument(
            f"a window of {list(reach)} does not fit into {list(extents)} with pads {low}, {high}"
        )
    return Window(
        tuple(extents),
        tuple(kernel),
        tuple(strides),
        tuple(dilations),
        tuple(low),
        tuple(high),
        tuple(output),
    )


def _windows(extent: int, low: int, high: int, reach: int, stride: int, ceil_mode: bool) -> int:
    room = extent + low + high - reach
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return (
        count - 1 if (count - 1) * stride >= extent + low else count
    )  # the last window must start on an element


def _per_dimension(node: Node, name: str, rank: int) -> list[int]:
    values = list(node.attribute(name, [1] * rank)) or [1] * rank
    if len(values) != rank:
        raise InvalidArgument(f"{len(values)} {name} for {rank} spatial dimensions")
    return values
