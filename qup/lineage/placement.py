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

Node = Hashable
Edge = tuple[Node, Node]
Rows = list[list[Node]]

# Room beside a box, and what a line that passes a layer takes of it.
_GAP, _LINE = 16.0, 12.0
_ORDERINGS, _MOVES = 24, 40
# How much straighter a line is wanted where it passes layers.
_STRAIGHT = 8.0


class Passing(NamedTuple):
    """Where lines from a node pass a layer, as if it were a node."""

    node: Node
    layer: int


def neighbours(
    edges: Iterable[Edge],
) -> tuple[Mapping[Node, list[Node]], Mapping[Node, list[Node]]]:
    """Returns the nodes before and after every node."""
    before, after = collections.defaultdict(list), collections.defaultdict(list)
    for a, b in edges:
        before[b].append(a)
        after[a].append(b)
    return before, after


def ordered(rows: Rows, steps: list[Edge]) -> Rows:
    """Returns the layers, each in an order with few crossings of lines.

    Args:
      rows: The nodes of each layer.
      steps: Lines, each from a layer to the next.
    """
    before, after = neighbours(steps)
    best, fewest = rows, _crossings(rows, after)
    rows = [list(row) for row in rows]
    place = {n: share for row in rows for n, share in _shares(row).items()}

    def wanted(node: Node) -> float:
        near = [place[other] for other in beside[node]]
        return sum(near) / len(near) if near else place[node]

    for sweep in range(_ORDERINGS):
        beside = after if sweep % 2 else before
        for row in reversed(rows) if sweep % 2 else rows:
            row.sort(key=wanted)
            place.update(_shares(row))
        crossings = _crossings(rows, after)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _shares(row: list[Node]) -> dict[Node, float]:
    """Returns how far to the right each node of a layer is, from 0 to 1."""
    return {node: (i + 0.5) / len(row) for i, node in enumerate(row)}


def _crossings(rows: Rows, after: Mapping[Node, list[Node]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(rows):
        place = {node: index for index, node in enumerate(lower)}
        seen: list[int] = []
        for node in upper:
            ends = sorted(place[n] for n in after[node])
            total += sum(len(seen) - bisect.bisect_right(seen, e) for e in ends)
            for end in ends:
                bisect.insort(seen, end)
    return total


def middles(
    rows: Rows, steps: list[Edge], widths: Mapping[Node, float]
) -> dict[Node, float]:
    """Returns where the middle of each node goes, from left to right.

    Args:
      rows: The nodes of each layer, in order.
      steps: Lines, each from a layer to the next.
      widths: Width of each box; the other nodes are passing lines.
    """
    before, after = neighbours(steps)
    sides = {node: _LINE for row in rows for node in row}
    sides.update({node: width + _GAP for node, width in widths.items()})
    limit = max((sum(sides[n] for n in row) for row in rows), default=0)
    found = {node: limit / 2 for row in rows for node in row}
    for move in range(_MOVES):
        beside = after if move % 2 else before
        for row in reversed(rows) if move % 2 else rows:
            wanted = [_wanted(node, beside[node], found) for node in row]
            places = _apart(wanted, [sides[node] for node in row], limit)
            found.update(zip(row, places, strict=True))
    return found


def _wanted(
    node: Node, near: list[Node], found: Mapping[Node, float]
) -> tuple[float, float]:
    """Returns (where a node would be best, how strongly it is drawn there)."""
    if not near:
        return found[node], 0.1
    lines = [isinstance(node, Passing) and isinstance(n, Passing) for n in near]
    pulls = [_STRAIGHT if line else 1.0 for line in lines]
    places = sum(p * found[n] for p, n in zip(pulls, near, strict=True))
    return places / sum(pulls), sum(pulls)


def _apart(
    wanted: list[tuple[float, float]], widths: list[float], limit: float
) -> list[float]:
    """Returns the nearest places without overlaps, from 0 to `limit`."""
    ends = list(itertools.accumulate(widths, initial=0.0))
    offsets = [
        end + width / 2 for end, width in zip(ends, widths, strict=False)
    ]
    # Blocks that stand side by side: sum of pull times place, of pull, count.
    blocks: list[list[float]] = []
    for (place, pull), offset in zip(wanted, offsets, strict=True):
        blocks.append([(place - offset) * pull, pull, 1])
        while len(blocks) > 1 and (
            blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]
        ):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    shifts = [
        min(max(total / pull, 0.0), limit - ends[-1])
        for total, pull, count in blocks
        for _ in range(int(count))
    ]
    return [s + offset for s, offset in zip(shifts, offsets, strict=True)]
