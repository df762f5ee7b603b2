"""Two attacks on the same images, compared image by image.

```python
compared = Compared.of(white_box, black_box)
compared.only_second, compared.stronger, compared.clearly(1.0)
```
"""

import math
from typing import NamedTuple

import numpy as np

# Two standard errors: chance alone exceeds it once in forty times.
_SIGMAS = 2.0
# AutoAttack calls a black-box attack stronger than the white-box ones when
# it lowers robust accuracy by more than 0.2 points; a smaller difference is
# within what restarts and seeds change.
SLACK_POINTS = 0.2
# Below 500 images one image is more than that, and a single image on the
# edge of its ball may be luck.
_FEWEST = 2


class Compared(NamedTuple):
    """How often one attack broke an image and another did not.

    Attributes:
      only_first: Images that the first attack alone broke.
      only_second: Images that the second attack alone broke.
      n: Number of images.
    """

    only_first: int
    only_second: int
    n: int

    @classmethod
    def of(cls, first: np.ndarray, second: np.ndarray) -> "Compared":
        """Compares what two attacks broke, bool [n] each."""
        return cls(
            int((first & ~second).sum()),
            int((second & ~first).sum()),
            len(first),
        )

    @property
    def stronger(self) -> float:
        """By how many points the second attack lowers accuracy further."""
        return 100.0 * (self.only_second - self.only_first) / self.n

    @property
    def missed(self) -> bool:
        """Whether the first misses images that the second breaks.

        More than `SLACK_POINTS` of them, and more than one image.
        """
        share = 100.0 * self.only_second / self.n
        return share > SLACK_POINTS and self.only_second >= _FEWEST

    def clearly(self, points: float) -> bool:
        """Whether the second is stronger, beyond chance and by `points`.

        The standard error of a paired difference of counts is
        sqrt(only_first + only_second), as in McNemar's test.
        """
        excess = self.only_second - self.only_first
        error = math.sqrt(self.only_first + self.only_second)
        return self.stronger > points and excess > _SIGMAS * error
