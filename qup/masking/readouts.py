"""One two-class classifier for each of several images, in one function.

A readout is a linear function of features. Which image's readout applies
to a point is decided by the nearest of the images, so the function serves
any attack, in whatever order and number it asks.

```python
readouts = Readouts.of(case)
readouts.assign(centres, weights, offsets)
readouts.logits(points)  # float32 [batch, 2]; class 1 is the planted one
```
"""

import numpy as np
import tensorflow as tf

from qup import compilation, norms
from qup.masking.case import DiagnosisCase
from qup.masking.features import build_feature_fn
from qup.types import LogitsFn

# How many images share one classifier; what is compiled serves all groups.
GROUP_SIZE = 32


class Readouts:
    """The classifier of a group of images.

    Attributes:
      logits: float32 [batch, ...] -> float32 [batch, 2].
    """

    def __init__(self, call: LogitsFn, example: tf.Tensor, norm: str):
        """Makes readouts of zero.

        Args:
          call: Images -> float32 [batch, size].
          example: float32 [1, ...], an image.
          norm: By which the nearest image is found.
        """
        size = call(example).shape[1]
        self._features, self._norm = call, norm
        self._centres = tf.Variable(tf.zeros((GROUP_SIZE, *example.shape[1:])))
        self._weights = tf.Variable(tf.zeros((GROUP_SIZE, size)))
        self._offsets = tf.Variable(tf.zeros(GROUP_SIZE))
        # A function, which can be referred to weakly; a bound method is a
        # new object at each look.
        self.logits = lambda images: self._logits(images)

    @classmethod
    def from_case(cls, case: DiagnosisCase) -> "Readouts":
        """Returns those of a case's classifier, made and compiled once."""
        call, example = build_feature_fn(case), tf.constant(case.images[:1])
        return compilation.get_program(
            case.classifier,
            ("masking readouts", case.norm),
            lambda _: cls(call, example, case.norm),
        )

    def assign(self, centres: np.ndarray, weights: np.ndarray, offsets: np.ndarray) -> None:
        """Puts in other readouts; a group with fewer repeats its first.

        Args:
          centres: float32 [m, ...], the images; m at most `GROUP_SIZE`.
          weights: float32 [m, size].
          offsets: float32 [m].
        """
        rows = np.arange(GROUP_SIZE)
        rows[len(centres) :] = 0
        self._centres.assign(centres[rows])
        self._weights.assign(weights[rows])
        self._offsets.assign(offsets[rows])

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        rows = self._find_closest(images)
        products = self._features(images) * tf.gather(self._weights, rows)
        score = tf.reduce_sum(products, -1) + tf.gather(self._offsets, rows)
        return tf.stack([-score / 2, score / 2], -1)

    def _find_closest(self, images: tf.Tensor) -> tf.Tensor:
        points = tf.stop_gradient(images)
        # Few at a time: all differences at once would fill the memory.
        distances = tf.map_fn(
            lambda centre: norms.compute_norm(points - centre, self._norm),
            self._centres.read_value(),
            fn_output_signature=tf.float32,
        )
        return tf.argmin(distances, 0)


def select_separated(images: np.ndarray, epsilon: float, norm: str, max_images: int) -> np.ndarray:
    """Chooses images whose balls do not touch, the first first.

    Args:
      images: float32 [n, ...].
      epsilon: Radius of the balls.
      norm: Of the balls.
      max_images: How many at most.

    Returns:
      int [m], indices.
    """
    selected: list[int] = []
    for index in range(len(images)):
        differences = images[selected] - images[index]
        distances = norms.compute_norm(tf.constant(differences), norm).numpy()
        if not selected or distances.min() > 2.001 * epsilon:
            selected.append(index)
        if len(selected) == max_images:
            break
    return np.array(selected)
