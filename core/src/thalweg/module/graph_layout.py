"""Places the nodes of an acyclic graph in layers, for a picture.

The steps are those of Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System
Structures" (1981), each in its simplest form: layers by longest path, long edges through every layer between,
order within a layer by the mean of the neighbours, then horizontal places likewise.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 6
SPACING = 28.0
"""Between two boxes of a layer, in pixels."""
BEND_WIDTH = 8.0
"""What a passing edge takes of a layer, in pixels."""

Node = Hashable


@dataclass(frozen=True)
class Layout:
    """``places``: node → (x of its middle, layer). ``bends``: (node, layer) → x at which its edges pass a
    layer on their way to a later one.
    """

    places: Mapping[Node, tuple[float, int]]
    bends: Mapping[tuple[Node, int], float]
    left: float
    right: float
    layers: int


def lay_out(widths: Mapping[Node, float], edges: Sequence[tuple[Node, Node]]) -> Layout:
    """Place the nodes.

    :param widths: node → width of its box in pixels, in an order in which every edge goes forward.
    """
    layers = _layers(list(widths), edges)
    links, bends = _links(layers, edges)
    sizes = {**widths, **dict.fromkeys(bends, BEND_WIDTH)}
    rows: list[list[Node]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for node, layer in (*layers.items(), *((bend, bend[1]) for bend in bends)):
        rows[layer].append(node)
    above, below = _neighbours(links)
    _order(rows, above, below)
    x = _horizontal(rows, sizes, above, below)
    left = min((x[node] - sizes[node] / 2 for node in x), default=0.0)
    right = max((x[node] + sizes[node] / 2 for node in x), default=0.0)
    places = {node: (x[node], layer) for node, layer in layers.items()}
    return Layout(places, {bend: x[bend] for bend in bends}, left, right, len(rows))


def _layers(nodes: Sequence[Node], edges: Sequence[tuple[Node, Node]]) -> dict[Node, int]:
    """Return each node's layer: below all it uses; what uses nothing stands right above its first user."""
    sources: dict[Node, list[Node]] = {node: [] for node in nodes}
    targets: dict[Node, list[Node]] = {node: [] for node in nodes}
    for source, target in edges:
        sources[target].append(source)
        targets[source].append(target)
    layers: dict[Node, int] = {}
    for node in nodes:
        layers[node] = 1 + max((layers[source] for source in sources[node]), default=0)
    for node in nodes:
        if not sources[node] and targets[node]:
            layers[node] = min(layers[target] for target in targets[node]) - 1
    least = min(layers.values(), default=0)
    return {node: layer - least for node, layer in layers.items()}


def _links(
    layers: Mapping[Node, int], edges: Sequence[tuple[Node, Node]]
) -> tuple[list[tuple[Node, Node]], list[tuple[Node, int]]]:
    """Return links between neighbouring layers, and the bends; the edges of one node share theirs."""
    links: dict[tuple[Node, Node], None] = {}
    bends: dict[tuple[Node, int], None] = {}
    for source, target in edges:
        before: Node = source
        for layer in range(layers[source] + 1, layers[target]):
            bends[source, layer] = None
            links[before, (source, layer)] = None
            before = (source, layer)
        links[before, target] = None
    return list(links), list(bends)


def _neighbours(links: Sequence[tuple[Node, Node]]) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    for source, target in links:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    return above, below


def _order(
    rows: list[list[Node]], above: Mapping[Node, Sequence[Node]], below: Mapping[Node, Sequence[Node]]
) -> None:
    index = {node: float(i) for row in rows for i, node in enumerate(row)}
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            keys = {
                node: _mean([index[n] for n in neighbours[node]]) if node in neighbours else index[node]
                for node in row
            }
            row.sort(key=lambda node, keys=keys: keys[node])
            index.update((node, float(i)) for i, node in enumerate(row))


def _horizontal(
    rows: Sequence[Sequence[Node]],
    sizes: Mapping[Node, float],
    above: Mapping[Node, Sequence[Node]],
    below: Mapping[Node, Sequence[Node]],
) -> dict[Node, float]:
    x: dict[Node, float] = {}
    for row in rows:
        x.update(_separate(row, dict.fromkeys(row, 0.0), sizes))
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = {}
            for node in row:
                neighbours = [*above.get(node, ()), *below.get(node, ())]
                wanted[node] = _mean([x[n] for n in neighbours]) if neighbours else x[node]
            x.update(_separate(row, wanted, sizes))
    return x


def _separate(
    row: Sequence[Node], wanted: Mapping[Node, float], sizes: Mapping[Node, float]
) -> dict[Node, float]:
    """Return places near the wanted ones, in order and apart: the mean of pushing right and pushing left."""

    def push(nodes: Sequence[Node], sign: int) -> dict[Node, float]:
        placed: dict[Node, float] = {}
        before: Node | None = None
        for node in nodes:
            place = sign * wanted[node]
            if before is not None:
                gap = (sizes[before] + sizes[node]) / 2 + SPACING
                place = max(place, placed[before] + gap)
            placed[node] = place
            before = node
        return {node: sign * place for node, place in placed.items()}

    rightward, leftward = push(row, 1), push(list(reversed(row)), -1)
    return {node: (rightward[node] + leftward[node]) / 2 for node in row}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
