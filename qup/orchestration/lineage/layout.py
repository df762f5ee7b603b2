"""Layered drawings of graphs: positions of boxes, and curves between them.

The row of a box is below the rows of its predecessors; within a row, boxes are ordered once by the
mean position of their predecessors (barycentre). An edge that passes a row has a position in it.
"""

import collections
import dataclasses
import graphlib
import itertools
from collections.abc import Hashable, Iterable

_BOX_GAP, _LINE_GAP, _ROW_GAP = 16, 12, 46


@dataclasses.dataclass
class Layout:
    """A drawing, in pixels.

    Attributes:
      width, height: Of the drawing.
      boxes: (left, top) of each node.
      paths: SVG path of each edge, from the bottom of a box to the top of one below.
    """

    width: float
    height: float
    boxes: dict[Hashable, tuple[float, float]]
    paths: dict[tuple[Hashable, Hashable], str]


def arrange_boxes(
    nodes: Iterable[Hashable],
    edges: Iterable[tuple[Hashable, Hashable]],
    *,
    width: float,
    height: float,
    columns: int = 5,
) -> Layout:
    """Places boxes of one size in rows of at most `columns`; every edge points down."""
    predecessors: dict[Hashable, dict[Hashable, None]] = {node: {} for node in nodes}
    for a, b in edges:
        predecessors[b][a] = None
    row_of = _assign_rows(predecessors, columns)
    rows: list[dict[Hashable, list[Hashable]]] = [{} for _ in {*row_of.values()}]
    chains = {}
    for node, row in row_of.items():
        rows[row][node] = []
        for other in predecessors[node]:
            # The pair of a node and a row is where edges from that node pass the row.
            passed = [(other, number) for number in range(row_of[other] + 1, row)]
            chain = chains[other, node] = [other, *passed, node]
            for number, (above, below) in enumerate(itertools.pairwise(chain), row_of[other] + 1):
                rows[number].setdefault(below, []).append(above)
    centres: dict[Hashable, float] = {}
    for row in rows:
        gaps = {node: width + _BOX_GAP if node in row_of else _LINE_GAP for node in row}
        centres.update(_place_row(row, gaps, centres))
    left = min((centres[n] - (width / 2 if n in row_of else 0) for n in centres), default=0)
    centres = {node: x - left for node, x in centres.items()}
    step = height + _ROW_GAP
    paths = {}
    for (a, b), chain in chains.items():
        x, path = centres[a], f"M{centres[a]:.1f} {row_of[a] * step + height:.1f}"
        for number, node in enumerate(chain[1:], row_of[a] + 1):
            end, top, bend = centres[node], number * step, number * step - _ROW_GAP / 2
            path += f"C{x:.1f} {bend:.1f} {end:.1f} {bend:.1f} {end:.1f} {top:.1f}"
            path += "" if node == b else f"v{height:.1f}"
            x = end
        paths[a, b] = path
    return Layout(
        width=max((x + (width / 2 if n in row_of else 0) for n, x in centres.items()), default=0),
        height=max(len(rows) * step - _ROW_GAP, 0),
        boxes={node: (centres[node] - width / 2, row * step) for node, row in row_of.items()},
        paths=paths,
    )


def _assign_rows(
    predecessors: dict[Hashable, dict[Hashable, None]], columns: int
) -> dict[Hashable, int]:
    """Returns the row of each node: below all predecessors, where there is room."""
    while True:
        try:
            nodes = list(graphlib.TopologicalSorter(predecessors).static_order())
            break
        except graphlib.CycleError as error:
            a, b = error.args[1][:2]
            del predecessors[b][a]
    counts: collections.Counter[int] = collections.Counter()
    row_of: dict[Hashable, int] = {}
    for node in nodes:
        row = max((row_of[other] + 1 for other in predecessors[node]), default=0)
        while counts[row] >= columns:
            row += 1
        counts[row] += 1
        row_of[node] = row
    return row_of


def _place_row(
    row: dict[Hashable, list[Hashable]], gaps: dict[Hashable, float], centres: dict[Hashable, float]
) -> dict[Hashable, float]:
    """Returns centres around 0, in the order of the mean centres of the nodes above."""
    means = {n: sum(centres[a] for a in above) / max(len(above), 1) for n, above in row.items()}
    placed, left = {}, -sum(gaps.values()) / 2
    for node in sorted(row, key=means.__getitem__):
        placed[node] = left + gaps[node] / 2
        left += gaps[node]
    return placed
