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
_Z_THRESHOLD = 2.0
# AutoAttack calls a black-box attack stronger than the white-box ones when
# it lowers robust accuracy by more than 0.2 points; a smaller difference is
# within what restarts and seeds change.
SLACK_PERCENT = 0.2
# Below 500 images one image is more than that, and a single image on the
# edge of its ball may be luck.
_MIN_MISSED_IMAGES = 2


class PairedComparison(NamedTuple):
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
    def from_success(cls, first: np.ndarray, second: np.ndarray) -> "PairedComparison":
        """Compares what two attacks broke, bool [n] each."""
        return cls(int((first & ~second).sum()), int((second & ~first).sum()), len(first))

    @property
    def accuracy_drop(self) -> float:
        """By how many points the second attack lowers accuracy further."""
        return 100.0 * (self.only_second - self.only_first) / self.n

    @property
    def first_misses_images(self) -> bool:
        """Whether the first misses images that the second breaks.

        More than `SLACK_PERCENT` of them, and more than one image.
        """
        share = 100.0 * self.only_second / self.n
        return share > SLACK_PERCENT and self.only_second >= _MIN_MISSED_IMAGES

    def is_second_stronger(self, min_drop: float) -> bool:
        """Whether the second is stronger, beyond chance and by `min_drop`.

        The standard error of a paired difference of counts is
        sqrt(only_first + only_second), as in McNemar's test.
        """
        excess = self.only_second - self.only_first
        error = math.sqrt(self.only_first + self.only_second)
        return self.accuracy_drop > min_drop and excess > _Z_THRESHOLD * error
