"""Random points in and on the balls of a case's images.

```python
scattered(case, draw=0), on_surface(case, draw=0)  # float32 [n, ...]
```
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qup import draws, norms
from qup.attacks import base
from qup.masking.case import Case
from qup.types import Bounds

# Tells these draws from an attack's, which have the same seed and ids.
_WORD = 17


def scattered(case: Case, draw: int, radius: float | None = None) -> np.ndarray:
    """Returns a uniform point of each image's ball, clipped to the box.

    Args:
      case: Gives images, norm, bounds and seed.
      draw: Number of the draw.
      radius: Of the ball; None for epsilon.

    Returns:
      float32 [n, ...].
    """
    return _moved(case, _inside, draw, radius)


def on_surface(case: Case, draw: int, radius: float | None = None):
    """Returns a random corner of each L-inf ball, else a random direction.

    At the distance `radius`, then clipped to the box; see `scattered`.
    """
    return _moved(case, _outermost, draw, radius)


def _inside(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    return norms.sample(images, 1.0, norm, draws.keys(0, keys))


def _outermost(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    if norm == "linf":
        return draws.signs(draws.keys(1, keys), images.shape[1:])
    inside = _inside(images, keys, norm)
    return inside / norms.rows(norms.length(inside, norm), images)


@functools.cache
def _program(place: Callable, norm: str, bounds: Bounds) -> Callable:
    """Returns what moves images, compiled once for all cases."""

    @tf.function(autograph=False)
    def run(images, ids, radius, seed, draw):
        keys = draws.keys(seed, ids, _WORD, draw)
        return base.clip(images + radius * place(images, keys, norm), bounds)

    return run


def _moved(case: Case, place: Callable, draw: int, radius) -> np.ndarray:
    program = _program(place, case.norm, case.bounds)
    settings = (
        tf.constant(case.epsilon if radius is None else radius, tf.float32),
        tf.constant(case.seed, tf.int64),
        tf.constant(draw, tf.int64),
    )

    def run(images, ids):
        return (program(images, ids, *settings),)

    return case.batched(run, case.images, np.arange(len(case.labels)))[0]
