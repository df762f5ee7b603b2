"""How much of a reproduction is left, and about how long it will take.

```python
remaining = Remaining(["Trainer.a", "Evaluator.a"])
remaining.done("Trainer.a", 12.0)
print(remaining)
```
"""

import statistics
from collections.abc import Iterable


class RemainingTime:
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
        self._pending = dict.fromkeys(nodes)
        self._total = len(self._pending)
        # Of one component, the parts of a name to the times of such nodes.
        self._durations: dict[str, dict[frozenset[str], list[float]]] = {}

    def mark_done(self, node: str, seconds: float | None) -> None:
        """Notes that a node is done.

        Args:
          node: Its id.
          seconds: How long it takes; None where nobody knows.
        """
        was_pending = node in self._pending
        self._pending.pop(node, None)
        # What several experiments ask for was made once.
        if was_pending and seconds is not None:
            component, name_parts = _split_node_id(node)
            component_durations = self._durations.setdefault(component, {})
            component_durations.setdefault(name_parts, []).append(seconds)

    def estimate_seconds(self) -> float | None:
        """Returns how long the rest will take; None while nothing is known.

        Each node counts as the mean of those of its component whose names
        have most parts in common with its own; one of a component that has
        not run yet, as the mean over components.
        """
        if not self._durations:
            return None
        component_means = [
            statistics.fmean(x for durations in component_durations.values() for x in durations)
            for component_durations in self._durations.values()
        ]
        overall_mean = statistics.fmean(component_means)
        return sum(self._estimate_node_seconds(node, overall_mean) for node in self._pending)

    def _estimate_node_seconds(self, node: str, overall_mean: float) -> float:
        component, name_parts = _split_node_id(node)
        component_durations = self._durations.get(component)
        if not component_durations:
            return overall_mean
        most_shared = max(len(name_parts & other_parts) for other_parts in component_durations)
        return statistics.fmean(
            x
            for other_parts, durations in component_durations.items()
            if len(name_parts & other_parts) == most_shared
            for x in durations
        )

    def __str__(self) -> str:
        """Returns "[37 of 212, about 2 h 10 min left]"."""
        text = f"{self._total - len(self._pending)} of {self._total}"
        seconds = self.estimate_seconds()
        if seconds is not None and self._pending:
            text += f", about {format_duration(seconds)} left"
        return f"[{text}]"


def _split_node_id(node: str) -> tuple[str, frozenset[str]]:
    component, *name_parts = node.split(".")
    return component, frozenset(p for p in name_parts if not p.startswith("seed-"))


def format_duration(seconds: float) -> str:
    """Returns "2 h 10 min", "3 min" or "20 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
