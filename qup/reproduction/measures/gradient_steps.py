"""Steps along a gradient and along its sign: Eqs. 21 and 22 of the paper.

Eq. 21 replaces epsilon sign(grad l) by epsilon grad l, and Eq. 22 concludes that the attack moves
an image by the momentum of the packet. Here both steps have the same size for each image, in L2 or
in L-inf, so that only their directions differ.

```python
attacked_images = gradient_ascent(
    classifier, images, labels, epsilon=0.1, direction="raw_l2", loss="squared", num_steps=4
)
```
"""

from collections.abc import Callable

import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.core import compilation, errors, gradients, norms
from qup.core.classifier import get_classifier_program
from qup.core.types import Bounds, LogitsFn

# Direction -> the norm in which its step is as large as the sign step.
DIRECTIONS = {"sign": "linf", "raw_l2": "l2", "raw_linf": "linf"}


def squared_error(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the squared loss of the probabilities, float32 [batch] in [0, 2].

    sum_j (p_j - [j = y])^2
    """
    one_hot = tf.one_hot(labels, tf.shape(logits)[-1])
    return tf.reduce_sum(tf.square(tf.nn.softmax(logits) - one_hot), -1)


LOSSES = {"cross_entropy": losses.cross_entropy, "squared": squared_error, "margin": losses.margin}


def compute_sign_cosine(
    logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, *, loss: str
) -> tf.Tensor:
    """Returns the cosine between the gradient g and its sign, float32 [batch].

    g . sign(g) / (|g|_2 |sign(g)|_2) = |g|_1 / (|g|_2 sqrt(|g|_0)): sqrt(2/pi) = 0.798 for Gaussian
    elements, 1 for elements of equal size, NaN for a gradient of zero.

    Raises:
      InputError: The loss is not one of `LOSSES`.
    """
    run = get_classifier_program(
        logits_fn, ("sign_cosine", loss), lambda call: _build_sign_cosine(call, _get_loss(loss))
    )
    return run(images, labels)


def _get_loss(loss: str) -> Callable:
    if loss not in LOSSES:
        raise errors.make_unknown_error("loss", loss, LOSSES)
    return LOSSES[loss]


def _build_sign_cosine(call: LogitsFn, loss_fn: Callable) -> Callable:
    @tf.function(autograph=False, jit_compile=compilation.use_xla("auto"))
    def run(images, labels):
        _, gradient = gradients.compute_input_gradient(
            lambda inputs: loss_fn(call(inputs), labels), images
        )
        # The square of a very small gradient would underflow in float32.
        raw = _divide_rows(gradient, norms.compute_norm(gradient, "linf"))
        l1, l2 = norms.compute_norm(raw, "l1"), norms.compute_norm(raw, "l2")
        l0 = norms.compute_norm(raw, "l0", width=0.0)
        return l1 / (l2 * tf.sqrt(l0))

    return run


def gradient_ascent(
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    direction: str,
    loss: str,
    num_steps: int = 1,
    bounds: Bounds = (0.0, 1.0),
) -> tf.Tensor:
    """Takes steps that increase a loss, together of the size of one sign step.

    With a = epsilon / num_steps and the gradient g at the current point,

        sign      a sign(g)
        raw_l2    a |sign(g)|_2 g / |g|_2
        raw_linf  a g / |g|_inf

    so that one step without bounds is exactly as long as the sign step, in L2 or in L-inf, and the
    distance of several steps is at most that length.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...].
      labels: int32 [batch], true labels.
      epsilon: Size of the sign step, in units of [0, 1].
      direction: One of `DIRECTIONS`.
      loss: One of `LOSSES`.
      num_steps: At least 1.
      bounds: Clip range of each step; None for no clip, as in Eq. 21.

    Returns:
      float32 of the shape of `images`. An image with a gradient of zero does not change.

    Raises:
      InputError: An unknown name, or a number out of its range.
    """
    if direction not in DIRECTIONS:
        raise errors.make_unknown_error("direction", direction, DIRECTIONS)
    errors.check_number("num_steps", num_steps, at_least=1)
    errors.check_number("epsilon", epsilon, at_least=0)
    bounds = attacks.validate_bounds(bounds)
    run = get_classifier_program(
        logits_fn,
        ("gradient_step", loss, bounds),
        lambda call: _build_gradient_ascent(call, _get_loss(loss), bounds),
    )
    return run(
        images,
        tf.constant(num_steps, tf.int32),
        labels,
        tf.constant(epsilon / num_steps, tf.float32),
        tf.constant(list(DIRECTIONS).index(direction), tf.int32),
    )


def _build_gradient_ascent(call: LogitsFn, loss_fn: Callable, bounds: Bounds) -> Callable:
    def step(perturbed, labels, size, direction):
        _, gradient = gradients.compute_input_gradient(
            lambda inputs: loss_fn(call(inputs), labels), perturbed
        )
        # X' = X + epsilon sign(g), or X + epsilon' g          (Eq. 21)
        unit_step = tf.gather(tf.stack(_compute_unit_steps(gradient)), direction)
        return attacks.clip(perturbed + size * unit_step, bounds)

    return attacks.compile_repeated_step(step, "auto")


def _compute_unit_steps(gradient: tf.Tensor) -> list[tf.Tensor]:
    """Returns the steps of size 1, in the order of `DIRECTIONS`."""
    sign = tf.sign(gradient)
    raw = _divide_rows(gradient, norms.compute_norm(gradient, "linf"))
    sign_length = norms.compute_norm(sign, "l2")
    raw_l2 = _divide_rows(raw, norms.compute_norm(raw, "l2")) * norms.expand_like(sign_length, raw)
    return [sign, raw_l2, raw]


def _divide_rows(values: tf.Tensor, divisors: tf.Tensor) -> tf.Tensor:
    """Divides each row by a number; a division by zero gives zero."""
    return tf.math.divide_no_nan(values, norms.expand_like(divisors, values))
