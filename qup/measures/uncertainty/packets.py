"""Neural packets psi_Y = l / sqrt(beta) (Eqs. 7-9), as ln l and its slope.

The constant beta never enters: every quantity of this package is a ratio.
A loss near a confident image is far below the smallest float32, so all is
computed from ln l.

```python
packet = of_classifier(classifier, label=3, shape=(28, 28, 1))
values, slopes = packet.slopes(points)  # ln l [n], grad ln l [n, size]
```
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qup import compilation, errors, gradients
from qup.measures.uncertainty.amplitudes import AMPLITUDES, KINDS
from qup.types import LogitsFn


@dataclasses.dataclass(frozen=True, eq=False)
class Packet:
    """A packet without its window.

    Attributes:
      owner: The function or Keras model that l is made of; programs are
        compiled once for it.
      kind: How l is made of its outputs: a name of `KINDS`, "l1" or
        "function".
      parameters: What else l depends on: tensors, so that another label or
        temperature does not compile again.
      shape: Of one point.
      dtype: That `owner` takes.
    """

    owner: Callable
    kind: str
    parameters: tuple[tf.Tensor, ...]
    shape: tuple[int, ...]
    dtype: tf.DType = tf.float32

    @property
    def size(self) -> int:
        """Number of coordinates of one point."""
        return math.prod(self.shape)

    def program(self, key: tuple, build: Callable) -> Callable:
        """Returns build(log_amplitude), compiled once for owner and key.

        Args:
          key: Tells the program from others.
          build: Takes log_amplitude(points, parameters), where points are
            [n, size], and returns a function.
        """
        kind, shape = self.kind, self.shape

        def built(call):
            def log_amplitude(points, parameters):
                outputs = call(tf.reshape(points, (-1, *shape)))
                return AMPLITUDES[kind](outputs, *parameters)

            return build(log_amplitude)

        return compilation.program(
            self.owner, ("packet", kind, shape, *key), built
        )

    def gradient(self) -> Callable:
        """Returns the compiled (points, parameters) -> ln l, grad ln l."""
        return self.program(("slopes",), _slopes)

    def values(self, points) -> np.ndarray:
        """Returns ln l: float64 [n], of points [n, size]."""
        run = self.program(("values",), _values)
        return run(self._cast(points), self.parameters).numpy().astype(float)

    def slopes(self, points) -> tuple[np.ndarray, np.ndarray]:
        """Returns ln l, float64 [n], and its gradient, float64 [n, size]."""
        found = self.gradient()(self._cast(points), self.parameters)
        values, slopes = (part.numpy().astype(float) for part in found)
        return values, slopes

    def _cast(self, points) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(points), self.dtype)


def _values(log_amplitude: Callable) -> Callable:
    return tf.function(log_amplitude, autograph=False, reduce_retracing=True)


def _slopes(log_amplitude: Callable) -> Callable:
    @tf.function(autograph=False, reduce_retracing=True)
    def run(points, parameters):
        return gradients.input_gradient(
            lambda x: log_amplitude(x, parameters), points
        )

    return run


def of_classifier(
    logits_fn: LogitsFn,
    label: int,
    *,
    shape: tuple[int, ...],
    kind: str = "loss",
    temperature: float = 1.0,
    num_classes: int | None = None,
) -> Packet:
    """Returns the packet of one label of a classifier.

    Args:
      logits_fn: The classifier.
      label: Y.
      shape: Of one image.
      kind: "loss", the paper's l = -ln p_Y, which is large where an input
        is NOT of class Y; "prob", l = p_Y; "sqrt_prob", l = sqrt(p_Y).
      temperature: Logits are divided by it (Guo et al. 2017); accuracies
        do not depend on it.
      num_classes: To check the label against; None asks the classifier.

    Raises:
      InputError: Another kind, a label out of range, a temperature of 0 or
        less, logits that are none.
    """
    if kind not in KINDS:
        raise errors.unknown("packet", kind, KINDS)
    errors.check_number("temperature", temperature, above=0)
    if num_classes is None:
        blank = tf.zeros((1, *shape), tf.float32)
        num_classes = compilation.predict(logits_fn, blank).shape[-1]
    if num_classes < 2:
        raise errors.InputError(
            f"A packet needs logits of two classes or more; got {num_classes}."
        )
    if not 0 <= label < num_classes:
        raise errors.InputError(
            f"label must be one of 0 to {num_classes - 1}; got {label}."
        )
    parameters = (tf.constant(label, tf.int32), tf.constant(temperature))
    return Packet(logits_fn, kind, parameters, tuple(shape))


def of_translator(translator: Callable, target) -> Packet:
    """Returns the packet of a generator's own L1 loss (the supplement's).

    l(X) = mean |G(X) - target|: large where G does not give `target`.

    Args:
      translator: G: images [batch, ...] -> images.
      target: float32 [height, width, channels], such as a Delta_N.
    """
    target = tf.convert_to_tensor(target, tf.float32)
    return Packet(translator, "l1", (target[None],), tuple(target.shape))


def of_function(
    log_amplitude: Callable[[tf.Tensor], tf.Tensor], dimensions: int
) -> Packet:
    """Returns the packet of a function given by its logarithm.

    Args:
      log_amplitude: float64 [n, dimensions] -> ln l, float64 [n].
      dimensions: Number of coordinates.
    """
    return Packet(log_amplitude, "function", (), (dimensions,), tf.float64)


def check(values: np.ndarray, slopes: np.ndarray) -> None:
    """Raises an InputError for a packet that cannot be measured."""
    if np.isneginf(values).all():
        raise errors.InputError(
            "The packet is zero at every point that was looked at, so it has "
            "no normalised form. Choose another label, centre or packet."
        )
    bad = np.isnan(values) | np.isposinf(values)
    alive = ~np.isneginf(values)
    bad |= alive & ~np.isfinite(slopes).all(1)
    if bad.any():
        raise errors.InputError(
            f"The packet or its gradient is not finite at {bad.sum()} of "
            f"{len(bad)} points. Look at the network's layers and weights."
        )
