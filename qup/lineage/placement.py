"""Orders and positions within the layers of a drawing; see `layers`.

Neighbours' mean places order a layer; then each layer moves to where the
squares of its distances from its neighbours are least, nothing overlapping:
a weighted isotonic regression.
"""

import bisect
import collections
import itertools
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

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
