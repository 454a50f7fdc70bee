"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.api import InvalidArgument
from thalweg.extents import Extent, floor_divide, format_shape, static

from thalweg_input_onnx.emitter import Emitter
from thalweg_input_onnx.node import Node
from thalweg_input_onnx.registry import onnx_op
from thalweg_input_onnx.tensor import Tensor
from thalweg_input_onnx.window import window_of


@onnx_op("Conv", since=(1, 11, 22))
def conv(b: Emitter, node: Node, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution over any number of spatial dimensions."""
    result = convolve(b, node, x, w)
    return add_channel_bias(b, result, bias)


def convolve(b: Emitter, node: Node, x: Tensor, w: Tensor) -> Tensor:
    """``x`` [n, c, spatial…] with ``w`` [o, c/groups, kernel…], as the node's attributes say."""
    groups = node.attribute("group", 1)
    if x.rank < 3 or w.rank != x.rank or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        found = f"{format_shape(x.shape)} with {format_shape(w.shape)}"
        raise InvalidArgument(f"cannot convolve {found} in {groups} groups")
    window = window_of(b, node, x.shape[2:], w.shape[2:])
    placed, low, high = window.placed(b, x)
    return b.conv(
        placed, w, (x.shape[0], w.shape[0], *window.output), strides=window.strides,
        dilations=window.dilations, pads_low=low, pads_high=high, groups=groups,
    )  # fmt: skip


def add_channel_bias(b: Emitter, x: Tensor, bias: Tensor | None) -> Tensor:
    """Add one number per channel (dimension 1)."""
    if bias is None:
        return x
    return b.map([x, per_channel(b, bias, x.rank)], lambda v, c: v + c)


def per_channel(b: Emitter, x: Tensor, rank: int) -> Tensor:
    """Reshape [channels] so that it broadcasts over dimension 1 of a tensor of ``rank`` dimensions."""
    return b.reshape(x, (x.size, *[1] * (rank - 2)))


@onnx_op("ConvTranspose", since=(1, 11, 22))
def conv_transpose(b: Emitter, node: Node, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Put ``stride - 1`` zeros between the elements, then convolve with the flipped kernel."""
    spatial = x.rank - 2
    groups = node.attribute("group", 1)
    kernel = static(w.shape[2:])
    strides = node.attribute("strides") or [1] * spatial
    dilations = node.attribute("dilations") or [1] * spatial
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    low, output = _transposed_extents(node, x.shape[2:], strides, reach)
    spread = _spread(b, x, strides)
    before = [r - 1 - pad for r, pad in zip(reach, low)]
    after = [
        out + r - 1 - extent - lead for out, r, extent, lead in zip(output, reach, spread.shape[2:], before)
    ]
    spread, before, after = _crop(b, spread, static(before), static(after))
    kernel_first = _flipped_kernel(b, w, groups)
    result = b.conv(
        spread, kernel_first, (x.shape[0], kernel_first.shape[0], *output), strides=[1] * spatial,
        dilations=dilations, pads_low=before, pads_high=after, groups=groups,
    )  # fmt: skip
    return add_channel_bias(b, result, bias)


def _transposed_extents(
    node: Node, extents: Sequence[Extent], strides: Sequence[int], reach: Sequence[int]
) -> tuple[Sequence[Extent], Sequence[Extent]]:
    """Return the crop before each dimension and the output's extents."""
    rank = len(extents)
    extra = node.attribute("output_padding") or [0] * rank
    pads = node.attribute("pads") or [0] * (2 * rank)
    mode = node.attribute("auto_pad", "NOTSET")
    full = [s * (n - 1) + p + r for s, n, p, r in zip(strides, extents, extra, reach)]
    if (shape := node.attribute("output_shape")) is not None or mode in ("SAME_UPPER", "SAME_LOWER"):
        output = list(shape)[-rank:] if shape else [n * s for n, s in zip(extents, strides)]
        total = [f - out for f, out in zip(full, output)]
        # onnx's figure: the odd element goes before for SAME_UPPER's opposite
        low = [floor_divide(t, 2) if mode == "SAME_UPPER" else t - floor_divide(t, 2) for t in total]
        return low, output
    return list(pads[:rank]), [f - lo - hi for f, lo, hi in zip(full, pads[:rank], pads[rank:])]


def _spread(b: Emitter, x: Tensor, strides: Sequence[int]) -> Tensor:
    """Put ``stride - 1`` zeros after every element but the last of each spatial dimension."""
    for axis, stride in enumerate(strides, start=2):
        extent = x.shape[axis]
        if stride == 1 or extent == 1:
            continue
        split = b.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
        high = [0] * split.rank
        high[axis + 1] = stride - 1
        padded = b.pad(split, [0] * split.rank, high)
        merged = b.reshape(padded, (*x.shape[:axis], extent * stride, *x.shape[axis + 1 :]))
        x = b.slice_axis(merged, axis, 0, (extent - 1) * stride + 1)
    return x


def _crop(
    b: Emitter, x: Tensor, before: Sequence[int], after: Sequence[int]
) -> tuple[Tensor, list[int], list[int]]:
    """Turn negative pads into slices."""
    for axis, (lead, tail) in enumerate(zip(before, after), start=2):
        if lead < 0 or tail < 0:
            x = b.slice_axis(x, axis, max(0, -lead), x.shape[axis] + min(0, lead) + min(0, tail))
    return x, [max(0, pad) for pad in before], [max(0, pad) for pad in after]


def _flipped_kernel(b: Emitter, w: Tensor, groups: int) -> Tensor:
    """[c, o/groups, kernel…] → [o, c/groups, kernel reversed…]."""
    channels, outputs, *kernel = w.shape
    grouped = b.reshape(w, (groups, channels // groups, outputs, *kernel))
    swapped = b.transpose(grouped, [0, 2, 1, *range(3, grouped.rank)])
    merged = b.reshape(swapped, (groups * outputs, channels // groups, *kernel))
    return b.flip(merged, range(2, merged.rank))
