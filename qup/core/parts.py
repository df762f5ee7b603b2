"""Parts of work that several processes share, without an engine.

```python
part = Part.parse("3/40")
[shard for shard in range(100) if part.owns(shard)]  # [2, 42, 82]
```

Work is cut into numbered shards, and part k of n has the shards k - 1, k - 1 + n, k - 1 + 2 n, ...
A shard is written whole or not at all and depends on no other, so that parts may run in any order,
at any time, again after they were killed, and under another n.
"""

import dataclasses
import os
import re
from collections.abc import Mapping

from qup.core import errors

_AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several parts.

    Attributes:
      number: 1 to `count`.
      count: How many parts there are.
    """

    number: int = 1
    count: int = 1

    def __post_init__(self):
        """Checks the numbers.

        Raises:
          InputError: They are not 1 <= number <= count.
        """
        if not 1 <= self.number <= self.count:
            raise errors.InputError(
                f"A part k/n needs 1 <= k <= n, such as 1/{max(self.count, 1)}; received {self}."
            )

    def __str__(self) -> str:
        """Returns the part as `parse` reads it."""
        return f"{self.number}/{self.count}"

    @property
    def is_whole(self) -> bool:
        """Whether there is no other part."""
        return self.count == 1

    def owns(self, shard: int) -> bool:
        """Returns whether a shard, numbered from 0, is in this part."""
        return shard % self.count == self.number - 1

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> "Part":
        """Reads a part.

        Args:
          text: "3/40"; "auto/40" takes the number from SLURM_ARRAY_TASK_ID or from Kubernetes'
            JOB_COMPLETION_INDEX; "auto" also takes the count, from SLURM_ARRAY_TASK_COUNT.
          environment: Where these variables are.

        Raises:
          InputError: The text is none of these, or a variable is missing.
        """
        if text == _AUTO:
            return cls._read_slurm_array(environment)
        match = re.fullmatch(rf"(\d{{1,9}}|{_AUTO})/(\d{{1,9}})", text.strip())
        if match is None:
            raise errors.InputError(
                f"--part takes k/n, such as 3/40, auto/n or auto; received {text[:40]!r}."
            )
        number, count = match.groups()
        if number == _AUTO:
            number = _read_index(environment, int(count))
        return cls(int(number), int(count))

    @classmethod
    def _read_slurm_array(cls, environment: Mapping[str, str]) -> "Part":
        names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
        index, first, count = (_read_integer(environment, name) for name in names)
        if index is None or first is None or count is None:
            raise errors.InputError(
                f"--part=auto reads {', '.join(names)}, which SLURM sets for the tasks of an "
                "array; at least one is not set. Give the part, such as --part=3/40, or on "
                "Kubernetes --part=auto/40."
            )
        if index - first >= count:
            raise errors.InputError(
                f"--part=auto: the array has {count} tasks, but this is task {index} and the "
                f"first is {first}, so that its numbers are not consecutive. Give the count of "
                "the whole array, such as --part=auto/40."
            )
        return cls(index - first + 1, count)


def _read_index(environment: Mapping[str, str], count: int) -> int:
    """Returns the number of the part, from 1, that a scheduler has given to this process."""
    index = _read_integer(environment, "JOB_COMPLETION_INDEX")
    if index is not None:  # Kubernetes counts from 0.
        return index + 1
    index = _read_integer(environment, "SLURM_ARRAY_TASK_ID")
    if index is None:
        raise errors.InputError(
            f"--part=auto/{count} reads SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX, and neither "
            f"is set. Give the part, such as --part=1/{count}."
        )
    # Both habits exist, --array=0-39 and --array=1-40: task 40 of the second is part 1.
    return index % count + 1


def _read_integer(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}", text):
        raise errors.InputError(f"{name}={text[:40]!r} in the environment is not a number.")
    return int(text)


WHOLE = Part()
