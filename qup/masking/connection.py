"""A gradient of zero for classifiers that have none at all.

Rounding, casts and NumPy code cut the chain from the logits to the image;
an attack that needs a gradient then refuses to run. The checks shall run
and say what follows: such an attack does not move.

```python
classifier = connected(classifier, images)
```
"""

import numpy as np
import tensorflow as tf

from qup import compilation, gradients
from qup.types import LogitsFn


def connect_gradient(logits_fn: LogitsFn, images: np.ndarray) -> LogitsFn:
    """Returns the classifier, with a gradient of zero where it has none.

    Args:
      logits_fn: The classifier, kept alive by the caller.
      images: float32 [n, ...], of which the first is tried.

    Returns:
      `logits_fn` itself where it has a gradient, else a function of the
      same logits, kept with it.
    """
    connected_fn = compilation.get_program(
        logits_fn,
        "masking connection",
        lambda call: _build_connected_fn(call, tf.constant(images[:1])),
    )
    return logits_fn if connected_fn is None else connected_fn


def _build_connected_fn(call: LogitsFn, image: tf.Tensor) -> LogitsFn | None:
    _, _, gradient = gradients.differentiate_logits(
        call, lambda logits: tf.reduce_sum(logits, -1), image
    )
    if gradient is not None:
        return None

    def with_gradient(images: tf.Tensor) -> tf.Tensor:
        axes = list(range(1, images.shape.rank))
        return call(images) + 0.0 * tf.reduce_sum(images, axes)[:, None]

    return with_gradient
