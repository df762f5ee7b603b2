"""Perturbations of a given length: steps and random starts.

```python
start = images + spheres.sample(images, radius, "l2", keys)
```
"""

import tensorflow as tf

from qup import norms


def scale_to_norm(delta: tf.Tensor, radius: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns `delta` scaled to a length, however short it is; zero if it is.

    Args:
      delta: float32 [batch, ...].
      radius: float32, a scalar or [batch, 1, ...], the length.
      norm: "linf", "l2" or "l1".
    """
    # Divided by the largest element first, whose square may be no float32.
    for order in ("linf", norm):
        length = norms.expand_like(norms.compute_norm(delta, order), delta)
        delta = tf.math.divide_no_nan(delta, length)
    return radius * delta


def sample_sphere(like: tf.Tensor, radius: tf.Tensor, norm: str, keys: tf.Tensor) -> tf.Tensor:
    """Draws a perturbation of length `radius` for each row.

    Its direction is that of a uniform point of the ball.

    Args:
      like: Tensor whose shape [batch, ...] the result takes.
      radius: float32, a scalar or [batch, 1, ...].
      norm: "linf", "l2" or "l1".
      keys: uint64 [batch], see `draws.keys`.
    """
    return scale_to_norm(norms.sample(like, 1.0, norm, keys), radius, norm)
