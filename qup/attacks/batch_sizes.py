"""Chooses the number of rows of each batch, so that rows that are done cost little.

```python
sizes = BatchSizes(128)
size = sizes.choose("pgd", count=9)  # 10: the program of this key has no size yet
size, num_steps = sizes.plan("pgd", size, active=2)  # 10 rows, for 128 steps: then 2 are compiled
```

Each new size of a batch is another compilation. A smaller size is compiled as soon as the rows that
it would have saved are worth a compilation; so at most about twice the time of the best choice is
spent (the rule of renting skis: Karlin, Manasse, Rudolph, Sleator 1988). Only counts decide, never
measured time: the last bits of a result depend on the size of the batch, and must not depend on the
load of the machine.
"""

import json

from qup.core import compilation

# A compilation takes as long as one step of this many rows: 300 (ResNet-20) to 2,500 (ConvNet on
# CIFAR-10) for APGD.
COMPILATION_ROWS = 1024
# A classifier that squeezes its outputs fails on one row.
_SMALLEST = 2


class BatchSizes:
    """The sizes that an attack has used so far, per program.

    A program is identified by a key, a string that is the same in a resumed run.

    Attributes:
      largest: The largest number of rows.
      can_shrink: Whether a batch may have fewer rows.
    """

    def __init__(self, largest: int, *, can_shrink: bool = True):
        """Starts without any size.

        Args:
          largest: The largest number of rows.
          can_shrink: Whether a batch may have fewer rows.
        """
        self.largest, self.can_shrink = largest, can_shrink
        self._known: dict[str, set[int]] = {}
        # Row-steps that a smaller size would have saved since the last compilation.
        self._excess: dict[str, int] = {}

    def choose(self, key: str, count: int, *, xla: str = "off", num_steps: int = 1) -> int:
        """Returns the number of rows of a new batch.

        Args:
          key: The program.
          count: Number of examples that wait for it.
          xla: See `compilation.use_xla`. With XLA a batch does not shrink: a compilation takes
            longer, and a GPU has room for empty rows.
          num_steps: Number of steps that are known to follow.
        """
        best = self._fit(count)
        if best == self.largest or not self._may_shrink(xla):
            return self._add(key, self.largest)
        known = self._known.get(key)
        if not known:
            return self._add(key, best)
        size = min((size for size in known if size >= best), default=None)
        if size is None:  # The numbers grow: one compilation serves all.
            return self._add(key, self.largest)
        self._excess[key] = self._excess.get(key, 0) + (size - best) * num_steps
        return self._add(key, best) if self._excess[key] >= COMPILATION_ROWS else size

    def plan(self, key: str, size: int, active: int, xla: str = "off") -> tuple[int, int | None]:
        """Returns the size to go on with, and after how many steps to ask again.

        Args:
          key: The program.
          size: The current number of rows.
          active: The number of rows that are not done, at least one.
          xla: See `choose`.

        Returns:
          (size, num_steps); num_steps is None if only fewer active rows change the answer.
        """
        best = self._fit(active)
        if best >= size or not self._may_shrink(xla):
            return size, None
        known = self._known.get(key, set())
        size = min([size, *(other for other in known if other >= best)])
        if size == best:
            return size, None
        num_steps = -(-(COMPILATION_ROWS - self._excess.get(key, 0)) // (size - best))
        if num_steps <= 0:
            return self._add(key, best), None
        return size, num_steps

    def record(self, key: str, size: int, active: int, num_steps: int) -> None:
        """Counts the rows that `num_steps` steps of a batch with `active` rows computed in vain."""
        self._excess[key] = self._excess.get(key, 0) + num_steps * max(0, size - self._fit(active))

    def fewer(self, active: int) -> int:
        """Returns the largest number of active rows for which a smaller size has room."""
        best = self._fit(active)
        interval = _get_interval(best)
        return (best - 1) // interval * interval if best > _SMALLEST else 0

    def _fit(self, count: int) -> int:
        """Returns the smallest size with room for `count` rows, at most `largest`.

        Sizes are 2, 3, ... 8, then 10, 12, 14, 16, 20, 24, 28, 32, 40: at most a fifth is empty.
        """
        count = max(count, _SMALLEST)
        interval = _get_interval(count)
        return min(self.largest, -(-count // interval) * interval)

    def _may_shrink(self, xla: str) -> bool:
        return self.can_shrink and not compilation.use_xla(xla)

    def _add(self, key: str, size: int) -> int:
        sizes = self._known.setdefault(key, set())
        if size not in sizes:
            sizes.add(size)
            self._excess[key] = 0
        return size

    def dump(self) -> str:
        """Returns what is known so far, as JSON."""
        known = {key: sorted(sizes) for key, sizes in self._known.items()}
        return json.dumps({"known": known, "excess": self._excess}, sort_keys=True)

    def load(self, text: str) -> None:
        """Continues from what `dump` has returned."""
        values = json.loads(text)
        self._known = {key: set(sizes) for key, sizes in values["known"].items()}
        self._excess = {key: int(rows) for key, rows in values["excess"].items()}


def _get_interval(count: int) -> int:
    """Returns the difference of the two sizes around `count`."""
    return 1 << max(0, (count - 1).bit_length() - 3)
