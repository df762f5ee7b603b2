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
from qup.masking.case import DiagnosisCase
from qup.types import Bounds

# Tells these draws from an attack's, which have the same seed and ids.
_PRNG_STREAM = 17


def sample_in_ball(case: DiagnosisCase, draw: int, radius: float | None = None) -> np.ndarray:
    """Returns a uniform point of each image's ball, clipped to the box.

    Args:
      case: Gives images, norm, bounds and seed.
      draw: Number of the draw.
      radius: Of the ball; None for epsilon.

    Returns:
      float32 [n, ...].
    """
    return _perturb_images(case, _sample_inside, draw, radius)


def sample_on_surface(case: DiagnosisCase, draw: int, radius: float | None = None):
    """Returns a random corner of each L-inf ball, else a random direction.

    At the distance `radius`, then clipped to the box; see `sample_in_ball`.
    """
    return _perturb_images(case, _sample_outermost, draw, radius)


def _sample_inside(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    return norms.sample(images, 1.0, norm, draws.make_keys(0, keys))


def _sample_outermost(images: tf.Tensor, keys: tf.Tensor, norm: str) -> tf.Tensor:
    if norm == "linf":
        return draws.signs(draws.make_keys(1, keys), images.shape[1:])
    inside = _sample_inside(images, keys, norm)
    return inside / norms.expand_like(norms.compute_norm(inside, norm), images)


@functools.cache
def _compile_perturbation(sampler: Callable, norm: str, bounds: Bounds) -> Callable:
    """Returns what moves images, compiled once for all cases."""

    @tf.function(autograph=False)
    def run(images, ids, radius, seed, draw):
        keys = draws.make_keys(seed, ids, _PRNG_STREAM, draw)
        return base.clip(images + radius * sampler(images, keys, norm), bounds)

    return run


def _perturb_images(case: DiagnosisCase, sampler: Callable, draw: int, radius) -> np.ndarray:
    perturb = _compile_perturbation(sampler, case.norm, case.bounds)
    settings = (
        tf.constant(case.epsilon if radius is None else radius, tf.float32),
        tf.constant(case.seed, tf.int64),
        tf.constant(draw, tf.int64),
    )

    def run(images, ids):
        return (perturb(images, ids, *settings),)

    return case.run_batched(run, case.images, np.arange(len(case.labels)))[0]
