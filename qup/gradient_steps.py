"""Steps along a gradient and along its sign: Eqs. 21 and 22 of the paper.

Eq. 21 puts epsilon grad l in the place of epsilon sign(grad l), from which
Eq. 22 takes that the attack moves by the momentum of the packet. Whether one
may is a question of size: these steps have the sign step's own, image by
image, in one norm or the other.

```python
moved = climb(classifier, images, labels, epsilon=0.1, direction="raw_l2",
              loss="squared", num_steps=4)
```
"""

from collections.abc import Callable

import tensorflow as tf

from qup import compilation, errors, gradients, norms
from qup.attacks import base, losses
from qup.types import Bounds, LogitsFn

# Direction: the norm in which its step is as large as the sign's.
DIRECTIONS = {"sign": "linf", "raw_l2": "l2", "raw_linf": "linf"}


def squared(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Squared loss of the probabilities: sum_j (p_j - [j = y])^2.

    float32 [batch], from 0 to 2.
    """
    wanted = tf.one_hot(labels, tf.shape(logits)[-1])
    return tf.reduce_sum(tf.square(tf.nn.softmax(logits) - wanted), -1)


LOSSES = {
    "cross_entropy": losses.cross_entropy,
    "squared": squared,
    "margin": losses.margin,
}


def sign_cosine(
    logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, *, loss: str
) -> tf.Tensor:
    """Returns the cosine of each image's gradient g with its sign.

    g . sign(g) / (|g|_2 |sign(g)|_2) = |g|_1 / (|g|_2 sqrt(|g|_0)):
    sqrt(2/pi) = .798 where the elements are Gaussian, 1 where they are
    equally large.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...].
      labels: int32 [batch], the true labels.
      loss: One of `LOSSES`.

    Returns:
      float32 [batch]; NaN where the gradient is zero.

    Raises:
      InputError: An unknown loss.
    """
    run = compilation.program(
        logits_fn,
        ("sign_cosine", loss),
        lambda call: _build_cosine(call, _get(loss)),
    )
    return run(images, labels)


def _get(loss: str) -> Callable:
    if loss not in LOSSES:
        raise errors.unknown("loss", loss, LOSSES)
    return LOSSES[loss]


def _build_cosine(call: LogitsFn, value: Callable) -> Callable:
    @tf.function(autograph=False, jit_compile=compilation.use_xla("auto"))
    def run(images, labels):
        _, gradient = gradients.input_gradient(
            lambda inputs: value(call(inputs), labels), images
        )
        # Its square would leave float32's range where a network is sure.
        raw = _divided(gradient, norms.length(gradient, "linf"))
        l1, l2, l0 = (norms.length(raw, name) for name in ("l1", "l2", "l0"))
        return l1 / (l2 * tf.sqrt(l0))

    return run


def climb(
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
    """Takes steps up a loss, all together of the size of one sign step.

    With a = epsilon / num_steps and the gradient g at the point reached,

        sign      a sign(g)
        raw_l2    a |sign(g)|_2 g / |g|_2
        raw_linf  a g / |g|_inf

    so that one step without bounds is exactly as long as the sign's, in L2
    or in L-inf, and several end within that distance.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...].
      labels: int32 [batch], the true labels.
      epsilon: Of the sign step, in units of [0, 1].
      direction: One of `DIRECTIONS`.
      loss: One of `LOSSES`.
      num_steps: At least 1.
      bounds: Clips each step; None leaves pixels unclipped, as Eq. 21 does.

    Returns:
      float32 of the shape of `images`; an image does not move where its
      gradient is zero.

    Raises:
      InputError: An unknown name, or a number out of its range.
    """
    if direction not in DIRECTIONS:
        raise errors.unknown("direction", direction, DIRECTIONS)
    errors.check_number("num_steps", num_steps, least=1)
    errors.check_number("epsilon", epsilon, least=0)
    bounds = base.checked_bounds(bounds)
    run = compilation.program(
        logits_fn,
        ("gradient_step", loss, bounds),
        lambda call: _build_climb(call, _get(loss), bounds),
    )
    return run(
        images,
        tf.constant(num_steps, tf.int32),
        labels,
        tf.constant(epsilon / num_steps, tf.float32),
        tf.constant(list(DIRECTIONS).index(direction), tf.int32),
    )


def _build_climb(call: LogitsFn, value: Callable, bounds: Bounds) -> Callable:
    def step(moved, labels, size, direction):
        _, gradient = gradients.input_gradient(
            lambda inputs: value(call(inputs), labels), moved
        )
        # X' = X + epsilon sign(g), or X + epsilon' g          (Eq. 21)
        move = tf.gather(tf.stack(_unit_steps(gradient)), direction)
        return base.clip(moved + size * move, bounds)

    return base.repeated(step, "auto")


def _unit_steps(gradient: tf.Tensor) -> list[tf.Tensor]:
    """Returns the steps of size 1, in the order of `DIRECTIONS`."""
    sign = tf.sign(gradient)
    raw = _divided(gradient, norms.length(gradient, "linf"))
    longer = norms.length(sign, "l2")
    same = _divided(raw, norms.length(raw, "l2")) * norms.rows(longer, raw)
    return [sign, same, raw]


def _divided(values: tf.Tensor, by: tf.Tensor) -> tf.Tensor:
    """Returns rows divided by a number each; zero where that is zero."""
    return tf.math.divide_no_nan(values, norms.rows(by, values))
