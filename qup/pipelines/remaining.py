"""How much of a reproduction is left, and about how long it will take.

```python
remaining = Remaining(["Trainer.a", "Evaluator.a"])
remaining.done("Trainer.a", 12.0)
print(remaining)
```
"""

import statistics
from collections.abc import Iterable


class Remaining:
    """Counts nodes, and learns how long those of like names take.

    A name is made of parts between full stops, of which the first is the
    component: "Attacker.pgd.mnist.convnet.seed-0.epoch-30". Parts that begin
    with "seed-" tell nothing of the time.
    """

    def __init__(self, nodes: Iterable[str]):
        """Starts with nothing done.

        Args:
          nodes: The ids of all nodes.
        """
        self._left = dict.fromkeys(nodes)
        self._total = len(self._left)
        # Of one component, the parts of a name to the times of such nodes.
        self._taken: dict[str, dict[frozenset[str], list[float]]] = {}

    def done(self, node: str, seconds: float | None) -> None:
        """Notes that a node is done.

        Args:
          node: Its id.
          seconds: How long it takes; None where nobody knows.
        """
        left = node in self._left
        self._left.pop(node, None)
        # What several experiments ask for was made once.
        if left and seconds is not None:
            component, parts = _parts(node)
            of = self._taken.setdefault(component, {})
            of.setdefault(parts, []).append(seconds)

    def seconds(self) -> float | None:
        """Returns how long the rest will take; None while nothing is known.

        Each node counts as the mean of those of its component whose names
        have most parts in common with its own; one of a component that has
        not run yet, as the mean over components.
        """
        if not self._taken:
            return None
        means = [
            statistics.fmean(x for held in of.values() for x in held)
            for of in self._taken.values()
        ]
        other = statistics.fmean(means)
        return sum(self._expected(node, other) for node in self._left)

    def _expected(self, node: str, other: float) -> float:
        component, parts = _parts(node)
        known = self._taken.get(component)
        if not known:
            return other
        most = max(len(parts & held) for held in known)
        return statistics.fmean(
            x
            for held, seconds in known.items()
            if len(parts & held) == most
            for x in seconds
        )

    def __str__(self) -> str:
        """Returns "[37 of 212, about 2 h 10 min left]"."""
        text = f"{self._total - len(self._left)} of {self._total}"
        seconds = self.seconds()
        if seconds is not None and self._left:
            text += f", about {duration(seconds)} left"
        return f"[{text}]"


def _parts(node: str) -> tuple[str, frozenset[str]]:
    component, *parts = node.split(".")
    return component, frozenset(p for p in parts if not p.startswith("seed-"))


def duration(seconds: float) -> str:
    """Returns "2 h 10 min", "3 min" or "20 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
