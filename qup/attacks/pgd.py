"""Projected Gradient Descent: Eq. 23 of the paper.

With `step_size=None` (epsilon / num_steps, the paper's 4 x 0.025 = 0.1 and
4 x 2/255 = 8/255) and no random start this is the basic iterative method of
Kurakin, Goodfellow, Bengio 2017, arXiv 1607.02533, whose ball never binds.

```python
attacked = pgd(classifier, images, labels, epsilon=0.1)
```
"""

import itertools
from collections.abc import Iterator

import tensorflow as tf

from qup import attacks, compilation, errors, norms
from qup.attacks import base, losses
from qup.types import Bounds, LogitsFn


@attacks.register(kind="budget", norms=norms.NAMES, gradients=True)
def pgd(
    logits_fn: LogitsFn,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    epsilon: float,
    num_steps: int = 4,
    step_size: float | None = None,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
    random_start: bool = False,
    restarts: int = 1,
    targeted: bool = False,
    loss: str = "cross_entropy",
    seed: int = 0,
    ids: tf.Tensor | None = None,
    xla: str = "auto",
) -> tf.Tensor:
    """Climbs the loss in steps, each projected into the ball and the box.

    Args:
      logits_fn: The classifier, image to logits.
      images: float32 [batch, ...] inside `bounds`.
      labels: int [batch]; the targets where `targeted`.
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      num_steps: Number of steps, at least 1.
      step_size: Length of a step; None means epsilon / num_steps.
      norm: "linf" (Eq. 23) or "l2".
      bounds: (lowest, highest) pixel; None switches the box off.
      random_start: Start at a uniform point of the ball (Madry et al.).
      restarts: Number of random starts, see `_strongest`.
      targeted: Descend the loss of the targets instead.
      loss: "cross_entropy" or "log_odds".
      seed: Drives the random starts.
      ids: int64 [batch], on which starts depend; None means 0, 1, 2, ...
      xla: "auto", "on" or "off".

    Returns:
      float32 of the shape of `images`.

    Raises:
      InputError: An argument out of its range.

    Reference: Madry et al. 2018, arXiv 1706.06083.
    """
    _check(norm, loss, epsilon, num_steps, step_size, restarts, random_start)
    bounds = base.checked_bounds(bounds)
    images, labels = base.check_batch(images, labels, bounds)
    epsilon = tf.cast(epsilon, tf.float32)
    climb = _climber(logits_fn, norm, bounds, targeted, loss, xla)
    num_steps = tf.cast(num_steps, tf.int32)
    if step_size is None:
        step_size = epsilon / tf.cast(num_steps, tf.float32)
    scalars = epsilon, tf.cast(step_size, tf.float32), num_steps
    starts = iter([tf.zeros_like(images)])
    if random_start:
        drawn = _starts(images, epsilon, norm, seed, ids)
        starts = itertools.islice(drawn, restarts)
    ends = (climb(images, start, labels, *scalars) for start in starts)
    return _strongest(logits_fn, ends, labels, targeted, loss)


def _climber(logits_fn, norm, bounds, targeted, loss, xla):
    return compilation.program(
        logits_fn,
        ("pgd", norm, bounds, targeted, loss, xla),
        lambda call: _build_climb(call, norm, bounds, targeted, loss, xla),
    )


def _strongest(logits_fn, ends, labels, targeted, loss) -> tf.Tensor:
    """Keeps one of each image's ends.

    A misclassified one (for targets: one classified as the target), and
    among equals that of the highest loss.
    """
    best = next(ends)
    for other in ends:
        keep = compilation.program(
            logits_fn,
            ("pgd_keep", targeted, loss),
            lambda call: _build_keep(call, targeted, loss),
        )
        best = keep(best, other, labels)
    return best


def _check(norm, loss, epsilon, num_steps, step_size, restarts, random_start):
    norms.check(norm)
    losses.get(loss)
    base.check_number("epsilon", epsilon, least=0)
    base.check_number("num_steps", num_steps, least=1)
    base.check_number("restarts", restarts, least=1)
    if step_size is not None:
        base.check_number("step_size", step_size, least=0)
    if restarts > 1 and not random_start:
        raise errors.InputError(
            f"restarts={restarts} without random_start would climb the same "
            "path again. Set random_start=True, or restarts=1."
        )


@tf.function(autograph=False, reduce_retracing=True)
def _sample(images, epsilon, norm, seed, ids):
    return norms.sample(images, epsilon, norm, seed, ids)


def _starts(images, epsilon, norm, seed, ids) -> Iterator[tf.Tensor]:
    """Draws starts outside XLA, whose generator gives other numbers.

    They depend on the images' own numbers, not on the batch.
    """
    rows = tf.range(tf.shape(images)[0]) if ids is None else ids
    for restart in itertools.count():
        words = tf.constant([seed, restart], tf.int32)
        yield _sample(images, epsilon, norm, words, tf.cast(rows, tf.int64))


def _build_climb(call, norm, bounds, targeted, loss, xla):
    direction = base.ascent(call, norm, loss, targeted)

    @tf.function(autograph=False, reduce_retracing=True)
    def confine(images, origin, epsilon):
        delta = norms.project(images - origin, epsilon, norm)
        return base.clip(origin + delta, bounds)

    def step(images, origin, labels, epsilon, step_size):
        # X_{n+1} = Clip{X_n + alpha sign(grad_X l(f(X_n), Y*))}     (Eq. 23)
        images = images + step_size * direction(images, labels)
        return confine(base.clip(images, bounds), origin, epsilon)

    steps = base.repeated(step, xla)

    def climb(origin, start, labels, epsilon, step_size, num_steps):
        first = confine(origin + start, origin, epsilon)
        return steps(first, num_steps, origin, labels, epsilon, step_size)

    return climb


def _build_keep(call, targeted, loss):
    value = losses.get(loss)

    @tf.function(autograph=False, reduce_retracing=True)
    def keep(best, other, labels):
        def score(images):
            logits = call(images)
            hit = tf.argmax(logits, -1, tf.int32) == labels
            gain = value(logits, labels) * (-1.0 if targeted else 1.0)
            return (hit if targeted else ~hit), gain

        best_won, best_gain = score(best)
        won, gain = score(other)
        better = (won & ~best_won) | ((won == best_won) & (gain > best_gain))
        shape = tf.concat(
            [tf.shape(better), tf.ones(other.shape.rank - 1, tf.int32)], 0
        )
        return tf.where(tf.reshape(better, shape), other, best)

    return keep
