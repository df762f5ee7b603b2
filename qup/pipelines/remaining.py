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
    """Counts nodes, and learns how long each kind takes."""

    def __init__(self, nodes: Iterable[str]):
        """Starts with nothing done.

        Args:
          nodes: The ids of all nodes; what stands before the first full stop
            is their kind.
        """
        self._left = dict.fromkeys(nodes)
        self._total = len(self._left)
        self._taken: dict[str, list[float]] = {}

    def done(self, node: str, seconds: float | None) -> None:
        """Notes that a node is done.

        Args:
          node: Its id.
          seconds: How long it took; None where it was known before, or will
            not be made.
        """
        self._left.pop(node, None)
        if seconds is not None:
            self._taken.setdefault(node.partition(".")[0], []).append(seconds)

    def seconds(self) -> float | None:
        """Returns how long the rest will take; None while nothing is known.

        Kinds that have not run yet count as the mean of those that have.
        """
        if not self._taken:
            return None
        known = {k: statistics.fmean(v) for k, v in self._taken.items()}
        other = statistics.fmean(known.values())
        kinds = (node.partition(".")[0] for node in self._left)
        return sum(known.get(kind, other) for kind in kinds)

    def __str__(self) -> str:
        """Returns "[37 of 212, about 2 h 10 min left]"."""
        text = f"{self._total - len(self._left)} of {self._total}"
        seconds = self.seconds()
        if seconds is not None and self._left:
            text += f", about {duration(seconds)} left"
        return f"[{text}]"


def duration(seconds: float) -> str:
    """Returns "2 h 10 min", "3 min" or "20 s"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
