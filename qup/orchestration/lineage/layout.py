"""Layered drawings of graphs: where the boxes and the lines go.

```python
layout = arrange({"a": (90, 40), "b": (90, 40)}, [("a", "b")])
layout.boxes["b"]  # (left, top)
```

Reference: Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of
Hierarchical System Structures", IEEE Trans. SMC 11 (1981).
"""

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

# Orders and positions within the layers of a drawing; see `layers`.
#
# Neighbours' mean places order a layer; then each layer moves to where the
# squares of its distances from its neighbours are least, nothing overlapping:
# a weighted isotonic regression.


GraphNode = Hashable
Edge = tuple[GraphNode, GraphNode]
Layers = list[list[GraphNode]]

# Room beside a box, and what a line that passes a layer takes of it.
_BOX_GAP, _LINE_WIDTH = 16.0, 12.0
_NUM_ORDERINGS, _NUM_PLACEMENTS = 24, 40
# How much straighter a line is wanted where it passes layers.
_STRAIGHT_WEIGHT = 8.0


class DummyNode(NamedTuple):
    """Where lines from a node pass a layer, as if it were a node."""

    node: GraphNode
    layer: int


def find_neighbours(
    edges: Iterable[Edge],
) -> tuple[Mapping[GraphNode, list[GraphNode]], Mapping[GraphNode, list[GraphNode]]]:
    """Returns the nodes before and after every node."""
    predecessors, successors = collections.defaultdict(list), collections.defaultdict(list)
    for a, b in edges:
        predecessors[b].append(a)
        successors[a].append(b)
    return predecessors, successors


def order_layers(rows: Layers, links: list[Edge]) -> Layers:
    """Returns the layers, each in an order with few crossings of lines.

    Args:
      rows: The nodes of each layer.
      links: Lines, each from a layer to the next.
    """
    predecessors, successors = find_neighbours(links)
    best, fewest = rows, _count_crossings(rows, successors)
    rows = [list(row) for row in rows]
    positions = {n: position for row in rows for n, position in _compute_positions(row).items()}

    def compute_barycentre(node: GraphNode) -> float:
        neighbour_positions = [positions[other] for other in neighbours[node]]
        return (
            sum(neighbour_positions) / len(neighbour_positions)
            if neighbour_positions
            else positions[node]
        )

    for iteration in range(_NUM_ORDERINGS):
        neighbours = successors if iteration % 2 else predecessors
        for row in reversed(rows) if iteration % 2 else rows:
            row.sort(key=compute_barycentre)
            positions.update(_compute_positions(row))
        crossings = _count_crossings(rows, successors)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _compute_positions(row: list[GraphNode]) -> dict[GraphNode, float]:
    """Returns how far to the right each node of a layer is, from 0 to 1."""
    return {node: (i + 0.5) / len(row) for i, node in enumerate(row)}


def _count_crossings(rows: Layers, successors: Mapping[GraphNode, list[GraphNode]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(rows):
        indices = {node: index for index, node in enumerate(lower)}
        seen: list[int] = []
        for node in upper:
            end_indices = sorted(indices[n] for n in successors[node])
            total += sum(len(seen) - bisect.bisect_right(seen, e) for e in end_indices)
            for end in end_indices:
                bisect.insort(seen, end)
    return total


def compute_centres(
    rows: Layers, links: list[Edge], widths: Mapping[GraphNode, float]
) -> dict[GraphNode, float]:
    """Returns where the middle of each node goes, from left to right.

    Args:
      rows: The nodes of each layer, in order.
      links: Lines, each from a layer to the next.
      widths: Width of each box; the other nodes are passing lines.
    """
    predecessors, successors = find_neighbours(links)
    outer_widths = {node: _LINE_WIDTH for row in rows for node in row}
    outer_widths.update({node: width + _BOX_GAP for node, width in widths.items()})
    total_width = max((sum(outer_widths[n] for n in row) for row in rows), default=0)
    centres = {node: total_width / 2 for row in rows for node in row}
    for iteration in range(_NUM_PLACEMENTS):
        neighbours = successors if iteration % 2 else predecessors
        for row in reversed(rows) if iteration % 2 else rows:
            targets = [_compute_target(node, neighbours[node], centres) for node in row]
            new_centres = _fit_without_overlap(
                targets, [outer_widths[node] for node in row], total_width
            )
            centres.update(zip(row, new_centres, strict=True))
    return centres


def _compute_target(
    node: GraphNode, neighbours: list[GraphNode], centres: Mapping[GraphNode, float]
) -> tuple[float, float]:
    """Returns (where a node would be best, how strongly it is drawn there)."""
    if not neighbours:
        return centres[node], 0.1
    are_dummies = [isinstance(node, DummyNode) and isinstance(n, DummyNode) for n in neighbours]
    weights = [_STRAIGHT_WEIGHT if both_dummies else 1.0 for both_dummies in are_dummies]
    weighted_sum = sum(p * centres[n] for p, n in zip(weights, neighbours, strict=True))
    return weighted_sum / sum(weights), sum(weights)


def _fit_without_overlap(
    targets: list[tuple[float, float]], widths: list[float], total_width: float
) -> list[float]:
    """Returns the nearest places without overlaps, from 0 to `total_width`."""
    edges = list(itertools.accumulate(widths, initial=0.0))
    offsets = [end + width / 2 for end, width in zip(edges, widths, strict=False)]
    # Blocks that stand side by side: sum of pull times place, of pull, count.
    blocks: list[list[float]] = []
    for (target, weight), offset in zip(targets, offsets, strict=True):
        blocks.append([(target - offset) * weight, weight, 1])
        while len(blocks) > 1 and (blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    shifts = [
        min(max(total / weight, 0.0), total_width - edges[-1])
        for total, weight, count in blocks
        for _ in range(int(count))
    ]
    return [s + offset for s, offset in zip(shifts, offsets, strict=True)]


_LAYER_GAP = 46.0


@dataclasses.dataclass(frozen=True)
class EdgeSegment:
    """A line down from `start` to the next layer.

    Attributes:
      start: (x, y) where it leaves a box, or goes on from another line.
      bend: y up to which it goes straight down.
      end: (x, y) where it ends; in between it is a smooth curve.
      edge: The edge that it completes; None where other lines go on.
    """

    start: tuple[float, float]
    bend: float
    end: tuple[float, float]
    edge: Edge | None


@dataclasses.dataclass(frozen=True)
class Layout:
    """A drawing.

    Attributes:
      width: Of all.
      height: Of all.
      boxes: (left, top) by node.
      segments: From the boxes to those below; those of one box are shared as
        far as they go together.
    """

    width: float
    height: float
    boxes: dict[GraphNode, tuple[float, float]]
    segments: list[EdgeSegment]


def arrange_boxes(
    sizes: Mapping[GraphNode, tuple[float, float]], edges: Iterable[Edge], *, columns: int = 5
) -> Layout:
    """Places boxes in layers, every edge pointing down.

    Args:
      sizes: (width, height) by node; the order breaks ties.
      edges: Pairs of nodes; one that would close a cycle is left out.
      columns: How many boxes a layer may hold.
    """
    edges = list(dict.fromkeys(edges))
    layer_by_node = _assign_layers(list(sizes), edges, columns)
    edges = [(a, b) for a, b in edges if layer_by_node[a] < layer_by_node[b]]
    links: dict[Edge, Edge | None] = {}
    for a, b in edges:
        between = range(layer_by_node[a] + 1, layer_by_node[b])
        chain = [a, *(DummyNode(a, number) for number in between), b]
        for link in itertools.pairwise(chain):
            links[link] = (a, b) if link[1] == b else None
        layer_by_node.update({dummy: dummy.layer for dummy in chain[1:-1]})
    rows: Layers = [[] for _ in range(max(layer_by_node.values(), default=-1) + 1)]
    for node, number in layer_by_node.items():
        rows[number].append(node)
    rows = order_layers(rows, list(links))
    widths = {node: width for node, (width, _) in sizes.items()}
    centres = compute_centres(rows, list(links), widths)
    return _build_layout(sizes, rows, links, centres)


def _assign_layers(nodes: list[GraphNode], edges: list[Edge], columns: int) -> dict[GraphNode, int]:
    """Returns each node's layer: below all before it, where there is room."""
    predecessors, successors = find_neighbours(edges)
    missing = {node: len(predecessors[node]) for node in nodes}
    counts: collections.Counter[int] = collections.Counter()
    layer_by_node: dict[GraphNode, int] = {}
    ready = collections.deque(node for node in nodes if not missing[node])
    while len(layer_by_node) < len(nodes):
        # With none ready there is a cycle; it is cut at any place.
        node = (
            ready.popleft() if ready else next(node for node in nodes if node not in layer_by_node)
        )
        if node in layer_by_node:
            continue
        layers_above = [
            layer_by_node[other] for other in predecessors[node] if other in layer_by_node
        ]
        number = max(layers_above, default=-1) + 1
        while counts[number] >= columns:
            number += 1
        counts[number] += 1
        layer_by_node[node] = number
        for other in successors[node]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return layer_by_node


def _build_layout(
    sizes: Mapping[GraphNode, tuple[float, float]],
    rows: Layers,
    links: Mapping[Edge, Edge | None],
    centres: Mapping[GraphNode, float],
) -> Layout:
    """Turns layers and the middles of what they hold into a drawing."""
    left = min((centres[n] - sizes[n][0] / 2 for n in sizes), default=0)
    left = min([left, *(x for node, x in centres.items() if node not in sizes)])
    boxes, spans, top = {}, {}, 0.0
    for row in rows:
        height = max((sizes[n][1] for n in row if n in sizes), default=0)
        for node in row:
            spans[node] = (top, top + height)
            if node in sizes:
                boxes[node] = (centres[node] - sizes[node][0] / 2 - left, top)
        top += height + _LAYER_GAP
    segments = [
        EdgeSegment((x - left, spans[n][0]), spans[n][1], (x - left, spans[n][1]), None)
        for n, x in centres.items()
        if n not in sizes
    ]
    for (a, b), x in _compute_link_ends(sizes, links, centres).items():
        start = spans[a][0] + sizes[a][1] if a in sizes else spans[a][1]
        segments.append(
            EdgeSegment(
                (centres[a] - left, start), spans[a][1], (x - left, spans[b][0]), links[a, b]
            )
        )
    right = max((x + sizes[n][0] for n, (x, _) in boxes.items()), default=0)
    right = max([right, *(segment.start[0] for segment in segments)])
    return Layout(right, max(0.0, top - _LAYER_GAP), boxes, segments)


def _compute_link_ends(
    sizes: Mapping[GraphNode, tuple[float, float]],
    links: Mapping[Edge, Edge | None],
    centres: Mapping[GraphNode, float],
) -> dict[Edge, float]:
    """Returns x of each step's end: side by side along the top of a box."""
    predecessors, _ = find_neighbours(links)
    ends = {}
    for b, above in predecessors.items():
        room = 0.6 * sizes[b][0] if b in sizes else 0
        for index, a in enumerate(sorted(above, key=centres.__getitem__)):
            share = (index + 0.5) / len(above) - 0.5
            ends[a, b] = centres[b] + share * room
    return ends
