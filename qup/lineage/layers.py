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
from qup.lineage.placement import Edge, Node, Passing, Rows

_GAP = 46.0


@dataclasses.dataclass(frozen=True)
class Line:
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
      lines: From the boxes to those below; those of one box are shared as
        far as they go together.
    """

    width: float
    height: float
    boxes: dict[Node, tuple[float, float]]
    lines: list[Line]


def arrange(
    sizes: Mapping[Node, tuple[float, float]],
    edges: Iterable[Edge],
    *,
    columns: int = 5,
) -> Layout:
    """Places boxes in layers, every edge pointing down.

    Args:
      sizes: (width, height) by node; the order breaks ties.
      edges: Pairs of nodes; one that would close a cycle is left out.
      columns: How many boxes a layer may hold.
    """
    edges = list(dict.fromkeys(edges))
    layer = _layers(list(sizes), edges, columns)
    edges = [(a, b) for a, b in edges if layer[a] < layer[b]]
    steps: dict[Edge, Edge | None] = {}
    for a, b in edges:
        between = range(layer[a] + 1, layer[b])
        chain = [a, *(Passing(a, number) for number in between), b]
        for step in itertools.pairwise(chain):
            steps[step] = (a, b) if step[1] == b else None
        layer.update({passing: passing.layer for passing in chain[1:-1]})
    rows: Rows = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node, number in layer.items():
        rows[number].append(node)
    rows = placement.ordered(rows, list(steps))
    widths = {node: width for node, (width, _) in sizes.items()}
    middles = placement.middles(rows, list(steps), widths)
    return _drawn(sizes, rows, steps, middles)


def _layers(
    nodes: list[Node], edges: list[Edge], columns: int
) -> dict[Node, int]:
    """Returns each node's layer: below all before it, where there is room."""
    before, after = placement.neighbours(edges)
    missing = {node: len(before[node]) for node in nodes}
    held: collections.Counter[int] = collections.Counter()
    layer: dict[Node, int] = {}
    ready = collections.deque(node for node in nodes if not missing[node])
    while len(layer) < len(nodes):
        # With none ready there is a cycle; it is cut at any place.
        node = ready.popleft() if ready else next(
            node for node in nodes if node not in layer
        )  # fmt: skip
        if node in layer:
            continue
        above = [layer[other] for other in before[node] if other in layer]
        number = max(above, default=-1) + 1
        while held[number] >= columns:
            number += 1
        held[number] += 1
        layer[node] = number
        for other in after[node]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return layer


def _drawn(
    sizes: Mapping[Node, tuple[float, float]],
    rows: Rows,
    steps: Mapping[Edge, Edge | None],
    middles: Mapping[Node, float],
) -> Layout:
    """Turns layers and the middles of what they hold into a drawing."""
    left = min((middles[n] - sizes[n][0] / 2 for n in sizes), default=0)
    left = min([left, *(x for node, x in middles.items() if node not in sizes)])
    boxes, spans, top = {}, {}, 0.0
    for row in rows:
        height = max((sizes[n][1] for n in row if n in sizes), default=0)
        for node in row:
            spans[node] = (top, top + height)
            if node in sizes:
                boxes[node] = (middles[node] - sizes[node][0] / 2 - left, top)
        top += height + _GAP
    lines = [
        Line(
            (x - left, spans[n][0]), spans[n][1], (x - left, spans[n][1]), None
        )
        for n, x in middles.items()
        if n not in sizes
    ]
    for (a, b), x in _ends(sizes, steps, middles).items():
        start = spans[a][0] + sizes[a][1] if a in sizes else spans[a][1]
        lines.append(
            Line(
                (middles[a] - left, start),
                spans[a][1],
                (x - left, spans[b][0]),
                steps[a, b],
            )
        )
    right = max((x + sizes[n][0] for n, (x, _) in boxes.items()), default=0)
    right = max([right, *(line.start[0] for line in lines)])
    return Layout(right, max(0.0, top - _GAP), boxes, lines)


def _ends(
    sizes: Mapping[Node, tuple[float, float]],
    steps: Mapping[Edge, Edge | None],
    middles: Mapping[Node, float],
) -> dict[Edge, float]:
    """Returns x of each step's end: side by side along the top of a box."""
    before, _ = placement.neighbours(steps)
    ends = {}
    for b, above in before.items():
        room = 0.6 * sizes[b][0] if b in sizes else 0
        for index, a in enumerate(sorted(above, key=middles.__getitem__)):
            share = (index + 0.5) / len(above) - 0.5
            ends[a, b] = middles[b] + share * room
    return ends
