"""PDPGD: proximal steps on the image, and gradient steps on the weight of the norm.

```python
adversarial = attacks.get("pdpgd")(classifier, images, labels, norm="l1")
```
"""

import dataclasses
import math

import tensorflow as tf

from qup import attacks
from qup.attacks import closest, method
from qup.core import norms

# The last step sizes as fractions of the first.
_LAST_STEP_SIZE, _LAST_DUAL_STEP_SIZE = 0.01, 0.1
# The largest weight of the norm relative to that of the margin, and of the margin relative to that
# of the norm, as a logarithm.
_MAX_LOG_RATIO = math.log(1e6)
# More iterations than Newton's method needs.
_MAX_NEWTON_STEPS = 64
# Enough for float32.
_ROOT_STEPS = 6


@attacks.register("pdpgd", kind="minimum_norm", norms=(*norms.NAMES, "l0"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class PDPGD(closest.ClosestSearch):
    """Searches the saddle point of the Lagrangian: the norm, and the margin with a multiplier.

    The perturbation descends by Adam on the hinge of the margin and by the proximal operator of the
    norm in Adam's metric. The multiplier ascends while the image is not adversarial.

    Attributes:
      targeted, num_steps: See `closest.ClosestSearch`.
      norm: "linf", "l2", "l1" or "l0" (elements, height x width x channels). "l0" descends on the
        sum of |r_i|^(2/3), as the authors advise, and selects by the number of elements.
      step_size: Of the perturbation; it falls to a hundredth, by an equal factor each step.
      dual_step_size: Of the logarithm of the multiplier; it falls linearly to a tenth.
      initial_ratio: The first weight of the norm divided by that of the margin.
      averaging: The share of the previous weights in their moving average.

    Reference: Matyasko and Chau 2021, arXiv 2106.01538; the metric of Adam by Melchior et al. 2019,
    arXiv 1910.10094.
    """

    num_steps: method.Count = 500
    norm: str = "linf"
    step_size: float = 0.1
    dual_step_size: float = 0.1
    initial_ratio: float = 0.01
    averaging: float = 0.9

    def check(self):
        """Checks the ranges of the options."""
        closest.check_positive(self, "step_size", "dual_step_size", "initial_ratio")
        closest.check_fraction(self, "averaging")

    def init_variables(self, examples):
        """Starts at the first ratio of the weights, with Adam's moments at zero."""
        log_ratio = tf.math.log(tf.cast(self.initial_ratio, tf.float32))
        log_ratio = tf.fill(examples.labels.shape, log_ratio)
        weights = {"log_ratio": log_ratio, "weight": tf.sigmoid(log_ratio)}
        return weights | closest.init_moments(examples.images)

    def move(self, examples, state, visit):
        """Takes a step of Adam and the proximal step, and changes the weights."""
        clean, step = examples.images, tf.cast(state["step"], tf.float32)
        share = step / tf.cast(self.num_steps, tf.float32)
        # Gradient of max(0, z_y - max_{k != y} z_k), in widths of the box.
        is_missed = norms.expand_like(tf.cast(~visit.success, tf.float32), clean)
        direction, scale, moments = closest.update_moments(
            state, -is_missed * self.width * visit.gradient
        )
        step_size = norms.expand_like(self.step_size * _LAST_STEP_SIZE**share, clean)
        images = clean + visit.delta - self.width * step_size * direction / scale
        delta = (method.clip(images, self.bounds) - clean) / self.width
        # r = prox(r) of lambda_0 ||.|| / lambda_1, in the metric of Adam
        ratio = state["weight"] / (1 - state["weight"])
        delta = shrink(delta, scale / step_size, ratio, self.norm)
        # log(lambda_0 / lambda_1) falls by theta if x + r is not adversarial, else rises by theta.
        change = self.dual_step_size * (1 - share * (1 - _LAST_DUAL_STEP_SIZE))
        log_ratio = state["log_ratio"] + tf.where(visit.success, change, -change)
        log_ratio = tf.clip_by_value(log_ratio, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
        weight = self.averaging * state["weight"] + (1 - self.averaging) * tf.sigmoid(log_ratio)
        return clean + self.width * delta, moments | {"log_ratio": log_ratio, "weight": weight}


def shrink(delta: tf.Tensor, metric: tf.Tensor, weight: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the proximal operator of a norm in a diagonal metric.

    It minimises sum_i h_i (z_i - d_i)^2 / 2 + weight ||z||, where "l0" stands for the sum of
    |z_i|^(2/3): dropping all elements below a threshold at once loses the way.

    Args:
      delta: float32 [batch, ...], d.
      metric: float32 [batch, ...], h > 0.
      weight: float32 [batch], not negative.
      norm: "linf", "l2", "l1" or "l0".

    Returns:
      float32 [batch, ...], z.
    """
    shape, weight = tf.shape(delta), weight[:, None]
    delta, metric = (tf.reshape(t, (delta.shape[0], -1)) for t in (delta, metric))
    size = tf.abs(delta)
    if norm == "l0":
        shrunk = _solve_two_thirds(size, weight / metric)
    elif norm == "l1":
        shrunk = tf.maximum(size - weight / metric, 0.0)
    elif norm == "l2":
        length = _solve_length(metric * size, metric, weight)
        shrunk = tf.math.divide_no_nan(metric * size * length, metric * length + weight)
    else:
        shrunk = tf.minimum(size, _solve_cap(size, metric, weight))
    return tf.reshape(tf.sign(delta) * shrunk, shape)


def _solve_cap(size: tf.Tensor, metric: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Solves sum_i h_i max(|d_i| - t, 0) = weight for t >= 0: float32 [batch, 1].

    The sum is convex and falls: Newton's method approaches t from below and ends as soon as it
    passes no further element.
    """

    def take_newton_step(cap, previous_slope, _):
        above = tf.where(size > cap, metric, 0.0)
        slope = tf.reduce_sum(above, 1, keepdims=True)
        excess = tf.reduce_sum(above * (size - cap), 1, keepdims=True) - weight
        cap += tf.maximum(tf.math.divide_no_nan(excess, slope), 0.0)
        return cap, slope, tf.reduce_any(slope != previous_slope)

    zeros = tf.zeros_like(weight)
    cap, _, _ = tf.while_loop(
        lambda cap, slope, has_changed: has_changed,
        take_newton_step,
        (zeros, zeros - 1.0, tf.constant(True)),
        maximum_iterations=_MAX_NEWTON_STEPS,
    )
    return cap


def _solve_two_thirds(size: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns the z >= 0 that minimises (z - size)^2 / 2 + weight z^(2/3), element by element.

    z is 0 or u^3 with the largest root u of u^4 - size u + 2/3 weight. Newton's method falls to
    that root from size^(1/3), because the polynomial is convex to the right of its minimum.
    """
    lowest = (size / 4) ** (1 / 3)
    root = size ** (1 / 3)
    for _ in range(_ROOT_STEPS):
        value = root**4 - size * root + 2 / 3 * weight
        root = tf.maximum(root - tf.math.divide_no_nan(value, 4 * root**3 - size), lowest)
    shrunk = root**3
    cost = tf.square(shrunk - size) / 2 + weight * tf.square(root)
    return tf.where(cost < tf.square(size) / 2, shrunk, 0.0)


def _solve_length(slope: tf.Tensor, metric: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Solves sum_i (h_i |d_i| / (h_i s + weight))^2 = 1 for s >= 0: float32 [batch, 1].

    s is the length of the shrunk perturbation, and 0 if the weight exceeds the length of h d. One
    over the root of the sum is concave, so Newton's method on it approaches s from below.
    """

    def take_newton_step(length, _):
        denominator = metric * length + weight
        terms = tf.square(tf.math.divide_no_nan(slope, denominator))
        total = tf.reduce_sum(terms, 1, keepdims=True)
        # Half of the derivative of the sum, with the opposite sign.
        fall = tf.reduce_sum(tf.math.divide_no_nan(terms * metric, denominator), 1, keepdims=True)
        change = tf.math.divide_no_nan(total * (tf.sqrt(total) - 1), fall)
        new_length = length + tf.maximum(change, 0.0)
        return new_length, tf.reduce_any(new_length > length * (1 + 1e-6))

    length, _ = tf.while_loop(
        lambda length, has_changed: has_changed,
        take_newton_step,
        (tf.zeros_like(weight), tf.constant(True)),
        maximum_iterations=_MAX_NEWTON_STEPS,
    )
    return length
