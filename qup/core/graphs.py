"""Digests of the nodes of a graph with cycles, by all that they lead to.

Two nodes have the same digest if their texts are the same, and edges of the
same labels lead to nodes of the same digests. Their keys do not count.
"""

import abc
import dataclasses
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from qup.core import hashing


@dataclasses.dataclass
class Node:
    """A node.

    Attributes:
      text: Its own content.
      edges: (label, key or text) of all that its digest depends on.
      links: Keys of what it leads to beside that.
      facts: What holds of whatever leads to it.
    """

    text: str
    edges: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    links: list[Hashable] = dataclasses.field(default_factory=list)
    facts: list[Hashable] = dataclasses.field(default_factory=list)


class Graph(abc.ABC):
    """A graph whose nodes are made when they are first reached."""

    def __init__(self):
        """Knows no node yet."""
        self._nodes: dict[Hashable, Node] = {}
        self._digests: dict[Hashable, str] = {}
        # Sets of facts as the bits of integers.
        self._bits: dict[Hashable, int] = {}
        self._facts: dict[Hashable, int] = {}

    @abc.abstractmethod
    def node(self, key: Hashable) -> Node:
        """Returns the node of a key; called once for each."""

    def enter(self, key: Hashable, node: Node) -> None:
        """Enters a node that `node` does not know; a second time is none."""
        self._nodes.setdefault(key, node)

    def digest_of(self, key: Hashable) -> str:
        """Returns the digest of a node."""
        if key not in self._digests:
            for part in _components(key, self._targets, self._digests):
                self._digests.update(self._refined(part))
        return self._digests[key]

    def facts_of(self, keys: Iterable[Hashable]) -> set[Hashable]:
        """Returns the facts of all that keys lead to."""
        whole = 0
        for key in keys:
            if key not in self._facts:
                for part in _components(key, self._led_to, self._facts):
                    self._gather(part)
            whole |= self._facts[key]
        names = list(self._bits)
        found = set()
        while whole:
            lowest = whole & -whole
            found.add(names[lowest.bit_length() - 1])
            whole ^= lowest
        return found

    def closure(self, keys: Iterable[Hashable]) -> set[Hashable]:
        """Returns keys and all that they lead to."""
        pending = list(keys)
        found = set(pending)
        while pending:
            new = set(self._led_to(pending.pop())) - found
            found |= new
            pending += new
        return found

    def _at(self, key: Hashable) -> Node:
        if key not in self._nodes:
            self._nodes[key] = self.node(key)
        return self._nodes[key]

    def _targets(self, key: Hashable) -> list[Hashable]:
        edges = self._at(key).edges
        return [target for _, target in edges if not isinstance(target, str)]

    def _led_to(self, key: Hashable) -> list[Hashable]:
        return [*self._targets(key), *self._at(key).links]

    def _gather(self, part: list[Hashable]) -> None:
        whole = 0
        for key in part:
            for fact in self._at(key).facts:
                whole |= 1 << self._bits.setdefault(fact, len(self._bits))
            for target in self._led_to(key):
                whole |= self._facts.get(target, 0)
        self._facts.update(dict.fromkeys(part, whole))

    def _refined(self, part: list[Hashable]) -> dict[Hashable, str]:
        """Returns the digests of nodes that all lead to one another.

        They are told apart by what they lead to in ever more steps, until
        one more step tells no more of them apart.
        """
        colours: dict[Hashable, str] = dict.fromkeys(part, "")
        if len(part) == 1 and part[0] not in self._targets(part[0]):
            return {part[0]: self._coloured(part[0], colours)}
        classes = 0
        while True:
            colours = {key: self._coloured(key, colours) for key in part}
            if len(set(colours.values())) == classes:
                return colours
            classes = len(set(colours.values()))

    def _coloured(self, key: Hashable, colours: dict[Hashable, str]) -> str:
        node = self._at(key)
        parts = {
            f"{label}\0{target}"
            if isinstance(target, str)
            else f"{label}\1{colours.get(target) or self._digests.get(target)}"
            for label, target in node.edges
        }
        return hashing.text_digest("\n".join([colours[key], node.text, *sorted(parts)]))


def _components(
    start: Hashable, targets: Callable[[Hashable], list[Hashable]], done: dict[Hashable, Any]
) -> Iterable[list[Hashable]]:
    """Yields groups of nodes that lead to one another, inner ones first.

    By Tarjan 1972, doi 10.1137/0201010, without recursion.

    Args:
      start: Where to begin.
      targets: Returns what a node leads to.
      done: Nodes that need no visit; the caller enters those yielded.
    """
    order: dict[Hashable, int] = {}
    lowest: dict[Hashable, int] = {}
    stack: list[Hashable] = []
    waiting: set[Hashable] = set()
    calls = []

    def enter(key: Hashable) -> None:
        order[key] = lowest[key] = len(order)
        stack.append(key)
        waiting.add(key)
        calls.append((key, iter(targets(key))))

    enter(start)
    while calls:
        key, left = calls[-1]
        for target in left:
            if target in done:
                continue
            if target not in order:
                enter(target)
                break
            if target in waiting:
                lowest[key] = min(lowest[key], order[target])
        else:
            calls.pop()
            if calls:
                above = calls[-1][0]
                lowest[above] = min(lowest[above], lowest[key])
            if lowest[key] == order[key]:
                part = []
                while not part or part[-1] != key:
                    part.append(stack.pop())
                    waiting.discard(part[-1])
                yield part
