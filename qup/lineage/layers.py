"""Layered drawings of graphs: where the boxes and the lines go.

```python
layout = arrange({"a": (90, 40), "b": (90, 40)}, [("a", "b")])
layout.boxes["b"]  # (left, top)
```

Reference: Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of
Hierarchical System Structures", IEEE Trans. SMC 11 (1981).
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Mapping

from qup.lineage import placement
from qup.lineage.placement import DummyNode, Edge, GraphNode, Layers

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
    rows = placement.order_layers(rows, list(links))
    widths = {node: width for node, (width, _) in sizes.items()}
    centres = placement.compute_centres(rows, list(links), widths)
    return _build_layout(sizes, rows, links, centres)


def _assign_layers(nodes: list[GraphNode], edges: list[Edge], columns: int) -> dict[GraphNode, int]:
    """Returns each node's layer: below all before it, where there is room."""
    predecessors, successors = placement.find_neighbours(edges)
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
    predecessors, _ = placement.find_neighbours(links)
    ends = {}
    for b, above in predecessors.items():
        room = 0.6 * sizes[b][0] if b in sizes else 0
        for index, a in enumerate(sorted(above, key=centres.__getitem__)):
            share = (index + 0.5) / len(above) - 0.5
            ends[a, b] = centres[b] + share * room
    return ends
