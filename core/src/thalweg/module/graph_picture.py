"""A picture (SVG) of a compiled function: dispatches as boxes, tensors as edges with their shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from thalweg.module.dataflow import Edge, Place, data_edges
from thalweg.module.debug_info import DebugInfo
from thalweg.module.graph_layout import Layout, lay_out
from thalweg.module.module import Variant
from thalweg.module.program import (
    Command,
    CopyCommand,
    DispatchCommand,
    FillCommand,
    FunctionSignature,
    HostFunction,
    SlotKind,
    TensorSignature,
)

LAYER_HEIGHT, MARGIN, HEADER = 96.0, 24.0, 40.0
BOX_HEIGHT = 54.0
CHARACTER_WIDTH = 7.3
"""Of the monospaced font at 12 pixels."""
LABEL_LIMIT = 44
"""The longest text in a box, in characters; the whole one is in its tooltip."""

STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#222}"
    ".small,.label{font-size:10px;fill:#555}"
    ".label{paint-order:stroke;stroke:white;stroke-width:3px}"
    ".box{stroke:#666;rx:4}"
    ".edge{fill:none;stroke:#8a8a8a;stroke-width:1.2}"
)


@dataclass(frozen=True)
class Box:
    """One node of the picture: its lines of text, its tooltip and its colour."""

    lines: tuple[str, ...]
    tooltip: str
    fill: str

    @property
    def width(self) -> float:
        """In pixels."""
        return 20 + CHARACTER_WIDTH * max(map(len, self.lines), default=0)


def pictures(
    variant: Variant, info: DebugInfo | None, signatures: Sequence[FunctionSignature]
) -> dict[str, str]:
    """Return file name → picture of each function: ``graph.svg``; ``graph-NAME.svg`` where it has several."""
    by_name = {signature.name: signature for signature in signatures}
    alone = len(variant.functions) == 1
    return {
        "graph.svg" if alone else f"graph-{function.name}.svg": draw_function(
            function, by_name[function.name], variant, info
        )
        for function in variant.functions
    }


def draw_function(
    function: HostFunction,
    signature: FunctionSignature,
    variant: Variant,
    info: DebugInfo | None,
    seconds: Mapping[int, float] | None = None,
) -> str:
    """Return an SVG document.

    :param seconds: number of a dispatch → its time; boxes are coloured by their share of the sum.
    """
    boxes = _boxes(function, signature, variant, info, seconds)
    edges = data_edges(function, variant.executables)
    used = {place for edge in edges for place in (edge.source, edge.target)}
    boxes = {place: box for place, box in boxes.items() if place.kind == "command" or place in used}
    layout = lay_out(
        {place: box.width for place, box in boxes.items()}, [(e.source, e.target) for e in edges]
    )
    title = f"@{function.name}, variant {variant.name}: {_count(function)} dispatches"
    if seconds:
        title += f", {sum(seconds.values()) * 1e3:.3f} ms run one by one"
    return _document(layout, boxes, edges, _labels(function, variant, info, edges), title)


def _count(function: HostFunction) -> int:
    return sum(isinstance(command, DispatchCommand) for command in function.commands)


# -- what stands in the boxes ------------------------------------------------------------------------------


def _boxes(
    function: HostFunction,
    signature: FunctionSignature,
    variant: Variant,
    info: DebugInfo | None,
    seconds: Mapping[int, float] | None,
) -> dict[Place, Box]:
    boxes: dict[Place, Box] = {}
    for slot in function.slots:
        if slot.kind is SlotKind.INPUT:
            boxes[Place("input", slot.index)] = _end("input", signature.inputs[slot.index])
    number = 0
    for index, command in enumerate(function.commands):
        if isinstance(command, DispatchCommand):
            boxes[Place("command", index)] = _dispatch(function, variant, info, command, number, seconds)
            number += 1
        elif isinstance(command, CopyCommand | FillCommand):
            name = "copy" if isinstance(command, CopyCommand) else "fill"
            boxes[Place("command", index)] = Box((name,), f"{name} of {command.target.length} bytes", "#eee")
    for slot in function.slots:
        if slot.kind is SlotKind.OUTPUT:
            boxes[Place("output", slot.index)] = _end("output", signature.outputs[slot.index])
    return boxes


def _end(kind: str, tensor: TensorSignature) -> Box:
    type_text = "x".join([*map(str, tensor.shape), tensor.dtype])
    lines = (f"{kind} {tensor.name}", type_text)
    return Box(tuple(map(_shorten, lines)), "\n".join(lines), "#e3f1e1")


def _dispatch(
    function: HostFunction,
    variant: Variant,
    info: DebugInfo | None,
    command: DispatchCommand,
    number: int,
    seconds: Mapping[int, float] | None,
) -> Box:
    entry = variant.executables[command.executable].entries[command.entry]
    nodes = info.nodes.get(function.name, ()) if info is not None else ()
    node = nodes[number] if number < len(nodes) else ""
    constants = [s for s in command.bindings if function.slots[s.slot].kind is SlotKind.CONSTANT]
    tooltip = [
        f"dispatch {number}: {entry.name}",
        node,
        "workgroups " + "x".join(map(str, command.workgroup_count)),
    ]
    if constants:
        size = sum((span.length for span in constants), start=0)
        tooltip.append(f"{len(constants)} constants of {size} bytes in sum")
    if info is not None and entry.name in info.by_name:
        tooltip.append(f"{info.by_name[entry.name].operations} operations")
    lines = [node or entry.name, entry.name] if node else [entry.name]
    fill = "#eef3fb"
    if seconds is not None:
        time = seconds.get(number, 0.0)
        share = time / (sum(seconds.values()) or 1.0)
        lines.append(f"{time * 1e3:.4f} ms  {share:.1%}")
        fill = _heat(share / (max(seconds.values()) / (sum(seconds.values()) or 1.0) or 1.0))
    return Box(tuple(_shorten(line) for line in lines), "\n".join(line for line in tooltip if line), fill)


def _heat(fraction: float) -> str:
    """Return a colour from white (0) to orange (1)."""
    low, high = (255, 255, 255), (247, 164, 98)
    return "#" + "".join(f"{round(a + (b - a) * min(fraction, 1.0)):02x}" for a, b in zip(low, high))


def _shorten(text: str) -> str:
    if len(text) <= LABEL_LIMIT:
        return text
    keep = LABEL_LIMIT - 1
    return f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"


def _labels(
    function: HostFunction, variant: Variant, info: DebugInfo | None, edges: list[Edge]
) -> dict[Place, str]:
    """Return, for each place that makes tensors, their types, or their sizes where those are not known."""
    labels: dict[Place, dict[str, None]] = {}
    for edge in edges:
        if edge.source.kind == "input":
            continue  # its box says so
        text = f"{edge.length} B"
        command: Command | None = (
            function.commands[edge.source.index] if edge.source.kind == "command" else None
        )
        if isinstance(command, DispatchCommand) and info is not None and edge.binding is not None:
            entry = variant.executables[command.executable].entries[command.entry]
            kernel = info.by_name.get(entry.name)
            if kernel is not None and edge.binding >= len(kernel.operands):
                result = kernel.results[edge.binding - len(kernel.operands)]
                text = "x".join([*map(str, result.shape), result.dtype])
        labels.setdefault(edge.source, {})[text] = None
    return {place: ", ".join(texts) for place, texts in labels.items()}


# -- the document ------------------------------------------------------------------------------------------


def _document(
    layout: Layout, boxes: Mapping[Place, Box], edges: list[Edge], labels: Mapping[Place, str], title: str
) -> str:
    width = max(layout.right - layout.left, CHARACTER_WIDTH * len(title)) + 2 * MARGIN + 160
    height = layout.layers * LAYER_HEIGHT + 2 * MARGIN + HEADER
    shift = MARGIN - layout.left

    def position(place: Place) -> tuple[float, float]:
        x, layer = layout.places[place]
        return x + shift, MARGIN + HEADER + layer * LAYER_HEIGHT

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
        f'<text x="{MARGIN:.0f}" y="{MARGIN + 8:.0f}">{_text(title)}</text>',
    ]
    for source, target in dict.fromkeys((edge.source, edge.target) for edge in edges):
        parts.append(_edge(source, target, layout, position, shift))
    for place, label in labels.items():
        x, y = position(place)
        where = f'x="{x + 5:.1f}" y="{y + BOX_HEIGHT + 13:.1f}"'
        parts.append(f'<text class="label" {where}>{_text(_shorten(label))}</text>')
    for place, box in boxes.items():
        parts.append(_box(place, box, *position(place)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _edge(
    source: Place,
    target: Place,
    layout: Layout,
    position: Callable[[Place], tuple[float, float]],
    shift: float,
) -> str:
    (x, y), (end_x, end_y) = position(source), position(target)
    points = [(x, y + BOX_HEIGHT)]
    for layer in range(layout.places[source][1] + 1, layout.places[target][1]):
        top = MARGIN + HEADER + layer * LAYER_HEIGHT
        bend = layout.bends[source, layer] + shift
        points += [(bend, top), (bend, top + BOX_HEIGHT)]
    points.append((end_x, end_y))
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (ax, ay), (bx, by) in pairwise(points):
        middle = (ay + by) / 2
        path.append(f"C{ax:.1f} {middle:.1f} {bx:.1f} {middle:.1f} {bx:.1f} {by:.1f}")
    return f'<path class="edge" d="{" ".join(path)}"/>'


def _box(place: Place, box: Box, x: float, y: float) -> str:
    lines = []
    for number, line in enumerate(box.lines):
        style = ' class="small"' if number == 1 else ""
        baseline = y + 16 + 15 * number + (3 - len(box.lines)) * 7.5
        lines.append(f'<text x="{x:.1f}" y="{baseline:.1f}" text-anchor="middle"{style}>{_text(line)}</text>')
    return (
        f'<g id="{place.kind}-{place.index}"><title>{_text(box.tooltip)}</title>'
        f'<rect class="box" x="{x - box.width / 2:.1f}" y="{y:.1f}" width="{box.width:.1f}"'
        f' height="{BOX_HEIGHT:.0f}" fill="{box.fill}"/>{"".join(lines)}</g>'
    )


def _text(text: str) -> str:
    """Return text as XML, characters that XML does not allow replaced."""
    return escape("".join(character if _is_xml(ord(character)) else "?" for character in text))


def _is_xml(code: int) -> bool:
    """Return whether XML 1.0 has a character (section 2.2)."""
    return code in (0x9, 0xA) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code >= 0x10000
