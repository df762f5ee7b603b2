"""Neural packets psi_Y = l / sqrt(beta) (Eqs. 7-9), as ln l and its gradient.

The constant beta cancels: every quantity of this package is a ratio. A loss near a confident
image is far below the smallest float32, so everything is computed from ln l. A classifier with
the margin m = z_Y - logsumexp of the other logits has p_Y = sigmoid(m) and the loss
softplus(-m), whose logarithm is about -m.

```python
packet = of_classifier(classifier, label=3, shape=(28, 28, 1))
values, gradients = packet.value_and_gradient(points)  # ln l [n], grad ln l [n, size]
```
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qup.core import compilation, errors, gradients
from qup.core.classifier import get_classifier_program, wrap_classifier
from qup.core.types import LogitsFn

# Above this margin ln softplus(-m) is -m - exp(-m) / 2 to float32's last bit.
_LARGE_MARGIN = 15.0

PACKET_KINDS = ("loss", "sqrt_prob", "prob")


def compute_margin(logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Returns m = z_Y - logsumexp of the other logits: [batch].

    Args:
      logits: [batch, num_classes].
      label: int32 scalar.
    """
    is_label = tf.range(tf.shape(logits)[1]) == label
    other_logits = tf.where(is_label, logits.dtype.min, logits)
    return tf.gather(logits, label, axis=1) - tf.reduce_logsumexp(other_logits, 1)


def _log_loss(outputs, label, temperature):
    # ln l = ln softplus(-m)
    m = compute_margin(outputs / temperature, label)
    small_margin = tf.minimum(m, _LARGE_MARGIN)
    large_margin_value = -m - 0.5 * tf.exp(-tf.maximum(m, _LARGE_MARGIN))
    return tf.where(
        m < _LARGE_MARGIN, tf.math.log(tf.nn.softplus(-small_margin)), large_margin_value
    )


def _log_prob(outputs, label, temperature):
    # ln p_Y = -softplus(-m)
    return -tf.nn.softplus(-compute_margin(outputs / temperature, label))


def _log_sqrt_prob(outputs, label, temperature):
    return 0.5 * _log_prob(outputs, label, temperature)


def _log_l1(outputs, target):
    # l = mean |G(x) - target|
    axes = list(range(1, len(outputs.shape)))
    return tf.math.log(tf.reduce_mean(tf.abs(outputs - target), axes))


LOG_AMPLITUDES = {
    "loss": _log_loss,
    "prob": _log_prob,
    "sqrt_prob": _log_sqrt_prob,
    "l1": _log_l1,
    "function": lambda outputs: outputs,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Packet:
    """A packet without its window.

    Attributes:
      owner: The function or Keras model with the outputs; programs are compiled once for it.
      kind: The function from outputs to l: a name of `PACKET_KINDS`, "l1" or "function".
      parameters: Further arguments of l. They are tensors, so that another label or temperature
        does not compile again.
      shape: Of one point.
      dtype: Input dtype of `owner`.
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

    def compile_program(self, key: tuple, build: Callable) -> Callable:
        """Returns build(log_amplitude), compiled once for owner and key.

        Args:
          key: Identifies the program.
          build: (log_amplitude(points [n, size], parameters)) -> function.
        """
        kind, shape = self.kind, self.shape

        def build_for_model(model):
            def log_amplitude(points, parameters):
                outputs = model(tf.reshape(points, (-1, *shape)))
                return LOG_AMPLITUDES[kind](outputs, *parameters)

            return build(log_amplitude)

        get_program = compilation.get_program
        if kind in PACKET_KINDS and self.dtype == tf.float32:
            get_program = get_classifier_program  # The kinds of logits.
        return get_program(self.owner, ("packet", kind, shape, *key), build_for_model)

    def build_gradient_fn(self) -> Callable:
        """Returns the compiled (points, parameters) -> (ln l, grad ln l)."""
        return self.compile_program(("gradients",), _build_gradient_program)

    def compute_values(self, points) -> np.ndarray:
        """Returns ln l at points [n, size]: float64 [n]."""
        program = self.compile_program(("values",), _build_value_program)
        return program(self._cast(points), self.parameters).numpy().astype(float)

    def value_and_gradient(self, points) -> tuple[np.ndarray, np.ndarray]:
        """Returns ln l, float64 [n], and its gradient, float64 [n, size]."""
        outputs = self.build_gradient_fn()(self._cast(points), self.parameters)
        values, gradients = (output.numpy().astype(float) for output in outputs)
        return values, gradients

    def _cast(self, points) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(points), self.dtype)


def _build_value_program(log_amplitude: Callable) -> Callable:
    return tf.function(log_amplitude, autograph=False, reduce_retracing=True)


def _build_gradient_program(log_amplitude: Callable) -> Callable:
    @tf.function(autograph=False, reduce_retracing=True)
    def run(points, parameters):
        return gradients.compute_input_gradient(lambda x: log_amplitude(x, parameters), points)

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
      kind: "loss", the paper's l = -ln p_Y, which is large where an input is NOT of class Y;
        "prob", l = p_Y; "sqrt_prob", l = sqrt(p_Y).
      temperature: Divides the logits (Guo et al. 2017); accuracies do not depend on it.
      num_classes: Upper limit of the label; None runs the classifier.

    Raises:
      InputError: Another kind, a label out of range, a temperature that is not positive, logits
        of fewer than two classes.
    """
    if kind not in PACKET_KINDS:
        raise errors.make_unknown_error("packet", kind, PACKET_KINDS)
    errors.check_number("temperature", temperature, above=0)
    if num_classes is None:
        blank_image = tf.zeros((1, *shape), tf.float32)
        num_classes = compilation.predict(wrap_classifier(logits_fn), blank_image).shape[-1]
    if num_classes < 2:
        raise errors.InputError(f"A packet needs logits of two classes or more; got {num_classes}.")
    if not 0 <= label < num_classes:
        raise errors.InputError(f"label must be one of 0 to {num_classes - 1}; got {label}.")
    parameters = (tf.constant(label, tf.int32), tf.constant(temperature))
    return Packet(logits_fn, kind, parameters, tuple(shape))


def of_translator(translator: Callable, target) -> Packet:
    """Returns the packet of a generator's L1 loss, l(X) = mean |G(X) - target| (supplement).

    Args:
      translator: G: images [batch, ...] -> images.
      target: float32 [height, width, channels], such as a Delta_N.
    """
    target = tf.convert_to_tensor(target, tf.float32)
    return Packet(translator, "l1", (target[None],), tuple(target.shape))


def of_function(log_amplitude: Callable[[tf.Tensor], tf.Tensor], dimensions: int) -> Packet:
    """Returns the packet of a function given by its logarithm.

    Args:
      log_amplitude: float64 [n, dimensions] -> ln l, float64 [n].
      dimensions: Number of coordinates.
    """
    return Packet(log_amplitude, "function", (), (dimensions,), tf.float64)


def check_finite(values: np.ndarray, gradients: np.ndarray) -> None:
    """Raises an InputError for a packet that cannot be measured."""
    if np.isneginf(values).all():
        raise errors.InputError(
            "The packet is zero at every point of the sample, so it cannot be normalised. "
            "Choose another label, centre or packet."
        )
    is_bad = np.isnan(values) | np.isposinf(values)
    is_nonzero = ~np.isneginf(values)
    is_bad |= is_nonzero & ~np.isfinite(gradients).all(1)
    if is_bad.any():
        raise errors.InputError(
            f"The packet or its gradient is not finite at {is_bad.sum()} of "
            f"{len(is_bad)} points. Check the network's layers and weights."
        )


def on_slice(packet: Packet, origin, basis) -> Packet:
    """Returns a packet on a line or a plane, where quadrature can integrate it.

    Args:
      packet: Of a classifier or a function.
      origin: [size], the point (0, 0).
      basis: [k, size], orthonormal, k of 1 or 2.

    Returns:
      The packet of t [n, k] -> l(origin + t basis).
    """
    origin = tf.convert_to_tensor(np.reshape(origin, -1), packet.dtype)
    basis = tf.convert_to_tensor(basis, packet.dtype)
    inner_program = packet.compile_program(("slice",), lambda log_amplitude: log_amplitude)

    def log_amplitude(points):
        full_points = origin + tf.linalg.matmul(tf.cast(points, packet.dtype), basis)
        return tf.cast(inner_program(full_points, packet.parameters), tf.float64)

    return of_function(log_amplitude, basis.shape[0])
