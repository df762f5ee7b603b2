"""The Fast Adaptive Boundary attack: the closest adversarial image.

`fab` computes one gradient per class and step; `fab_t` one per step, for the most likely classes in
turn.

```python
adversarial = attacks.get("fab")(classifier, images, labels, norm="l2")
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import deepfool, inputs, losses, method
from qup.core import errors, norms
from qup.core.types import Bounds

# Twice the radius of a restart without a known distance, in widths of the box.
_DEFAULT_RADIUS = {"linf": 0.3, "l2": 1.0, "l1": 5.0}
# Gradients of more classes than these take minutes to compile, and the closest boundary is hardly
# ever that of an unlikely class.
_MAX_CLASSES = 100
# A gradient whose largest element is smaller counts as zero.
_MIN_GRADIENT = 1e-25
# More iterations than Newton's method needs: each divides the product of the residual and the
# slope by at least four.
_MAX_NEWTON_STEPS = 64


@attacks.register("fab", kind="minimum_norm", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FAB(method.Method):
    """Steps to the closest linearised decision boundary, with a bias to the clean image.

    After it crosses the boundary, it goes back towards the clean image and continues. A step
    computes one gradient per class other than the label; of more than 100 classes it takes the most
    likely ones of the current point.

    Attributes:
      epsilon: A row is done if it is adversarial within this radius; None searches the minimum.
      norm: "linf", "l2" or "l1".
      num_steps: Number of steps per start.
      restarts: Number of starts: the clean image, then random points at half of the smallest
        distance found or of epsilon, the smaller of the two; without either, at half of 0.3
        (linf), 1 (l2) or 5 (l1) widths of the box.
      alpha_max: The largest weight of the step from the clean image.
      eta: Length of a step; 1 ends on the linearised boundary.
      beta: Fraction of an adversarial perturbation that remains after going back.

    Reference: Croce and Hein 2020, arXiv 1907.02044, Alg. 1.
    """

    epsilon: float | None = None
    norm: str = "linf"
    num_steps: method.Count = 100
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def check(self):
        """Checks the ranges of the options."""
        errors.check_number("restarts", self.restarts, at_least=1)
        inputs.check_number("eta", self.eta, least=1)
        for option in ("alpha_max", "beta"):
            value = getattr(self, option)
            inputs.check_number(option, value, least=0)
            if not tf.is_tensor(value) and value > 1:
                raise errors.InputError(f"{option} must be between 0 and 1; got {value!r}.")

    def init(self, classifier, examples):
        """Starts at the image."""
        logits = classifier.logits(examples.images)
        success = method.adversarial(logits, examples.labels, False)
        return {
            "images": examples.images,
            "best": examples.images,
            "distance": tf.where(success, 0.0, float("inf")),
            "step": tf.zeros_like(examples.labels),
        } | self.init_target(examples, logits)

    def step(self, classifier, examples, state):
        """Steps to the boundary, and goes back if it is crossed."""
        values, gradients = self.linearise_boundary(classifier, examples, state)
        perturbed = self._compute_next_point(examples, state, values, gradients)
        success = method.adversarial(classifier.logits(perturbed), examples.labels, False)
        delta = perturbed - examples.images
        distance = norms.compute_norm(delta, self.norm)
        is_closer = success & (distance < state["distance"])
        # x <- (1 - beta) x_0 + beta x if x is adversarial     (Croce 2020, Alg. 1)
        biased = examples.images + self.beta * delta
        state = state | {
            "images": tf.where(norms.expand_like(success, perturbed), biased, perturbed),
            "best": tf.where(norms.expand_like(is_closer, perturbed), perturbed, state["best"]),
            "distance": tf.where(is_closer, distance, state["distance"]),
            "step": state["step"] + 1,
        }
        return state if int(self.restarts) == 1 else self._apply_restart(examples, state)

    def count_max_steps(self, image_shape):
        """The steps of all starts."""
        return self.num_steps * int(self.restarts)

    def done(self, examples, state):
        """After all starts, or at an adversarial point within epsilon."""
        is_inside = state["distance"] <= examples.epsilon
        is_last = state["step"] >= self.num_steps * int(self.restarts)
        return is_last | is_inside | (state["distance"] == 0)

    def images(self, examples, state):
        """The closest adversarial image, or the clean image without success."""
        return state["best"]

    def init_target(self, examples, logits) -> method.State:
        """Returns the entries of the state that derive from the clean images' logits."""
        return {}

    def linearise_boundary(self, classifier, examples, state):
        """Returns the closest linearised boundary of each row.

        Returns:
          (values, gradients): z_l - z_y, float32 [batch], of the class l with the closest
          boundary, and its gradient, float32 [batch, ...].
        """

        def compute_gaps(logits):
            if logits.shape[1] > _MAX_CLASSES:
                other_classes = deepfool.select_likely_classes(
                    logits, examples.labels, _MAX_CLASSES
                )
            else:
                other_classes = tf.range(logits.shape[1] - 1)[None]
                other_classes += tf.cast(other_classes >= examples.labels[:, None], tf.int32)
            return deepfool.compute_logit_gaps(logits, examples.labels, other_classes)

        logits, gradients = classifier.gradients(state["images"], compute_gaps)
        values = compute_gaps(logits)
        # l = argmin |z_l - z_y| / |grad(z_l - z_y)|_q     (Croce 2020, Alg. 1)
        gradient_norms = _compute_norms(gradients, norms.DUAL_NORM[self.norm])
        distances = tf.where(gradient_norms > 0, tf.abs(values) / gradient_norms, float("inf"))
        closest = tf.argmin(distances, 1, tf.int32)
        return (
            tf.gather(values, closest, batch_dims=1),
            tf.gather(gradients, closest, batch_dims=1),
        )

    def _compute_next_point(self, examples, state, values, gradients):
        current, clean = state["images"], examples.images
        axes = norms.get_image_axes(current)
        shift = tf.reduce_sum(gradients * (clean - current), axes)
        # d_1 and d_2: from the current point and from the clean image to the hyperplane.
        deltas = project_onto_hyperplane(
            tf.concat([current, clean], 0),
            tf.concat([gradients, gradients], 0),
            tf.concat([values, values + shift], 0),
            self.norm,
            self.bounds,
        )
        current_delta, clean_delta = tf.split(deltas, 2)
        current_distance, clean_distance = tf.split(norms.compute_norm(deltas, self.norm), 2)
        # alpha = min(|d_1| / (|d_1| + |d_2|), alpha_max)     (Croce 2020, Alg. 1)
        alpha = tf.math.divide_no_nan(current_distance, current_distance + clean_distance)
        alpha = norms.expand_like(tf.minimum(alpha, self.alpha_max), current)
        # x <- (1 - alpha)(x + eta d_1) + alpha (x_0 + eta d_2)     (Croce 2020, Alg. 1)
        perturbed = (1 - alpha) * (current + self.eta * current_delta)
        perturbed += alpha * (clean + self.eta * clean_delta)
        return method.clip(perturbed, self.bounds)

    def _apply_restart(self, examples, state):
        """Places rows that have used all steps of a start at a random point."""
        step, images = state["step"], examples.images
        # radius = min(smallest distance, epsilon) / 2
        budget = tf.where(tf.math.is_nan(examples.epsilon), float("inf"), examples.epsilon)
        radius = tf.minimum(state["distance"], budget)
        default_radius = _DEFAULT_RADIUS[self.norm] * self.width
        radius = 0.5 * tf.where(tf.math.is_inf(radius), default_radius, radius)
        delta = norms.sample_sphere(
            images, norms.expand_like(radius, images), self.norm, self.keys(examples, step)
        )
        start = method.clip(images + delta, self.bounds)
        is_restart = norms.expand_like(step % self.num_steps == 0, images)
        return state | {"images": tf.where(is_restart, start, state["images"])}


@attacks.register("fab_t", kind="minimum_norm", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FABT(FAB):
    """FAB towards the linearised boundary of one target per stage.

    The labels are true classes, and success is any other class.

    Attributes:
      epsilon, norm, num_steps, restarts, alpha_max, eta, beta: See `FAB`.
      num_targets: Number of targets: the most likely classes of the clean image after the true
        one. With fewer classes the remaining stages do nothing.

    Reference: Croce and Hein 2020, arXiv 1907.02044; arXiv 2003.01690, Sec. 5, for the targets.
    """

    num_targets: int = 9

    def check(self):
        """Checks the ranges of the options."""
        super().check()
        errors.check_number("num_targets", self.num_targets, at_least=1)

    def stages(self):
        """One stage per target."""
        return (self,) * int(self.num_targets)

    def init_target(self, examples, logits):
        """Chooses the target by its rank for the clean image."""
        rank = examples.repeat + 1
        has_no_target = tf.fill(examples.labels.shape, rank >= logits.shape[1])
        target = losses.select_ranked_class(logits, examples.labels, rank)
        return {"target": target, "finished": has_no_target}

    def done(self, examples, state):
        """As `FAB`, or without a target."""
        return super().done(examples, state) | state["finished"]

    def linearise_boundary(self, classifier, examples, state):
        """Returns z_t - z_y and its gradient."""

        def compute_difference(logits):
            target_logit = tf.gather(logits, state["target"], batch_dims=1)
            return target_logit - tf.gather(logits, examples.labels, batch_dims=1)

        _, values, gradients = classifier.gradient(compute_difference, state["images"])
        return values, gradients


def _compute_norms(gradients: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the norms of gradients [batch, k, ...], float32 [batch, k]."""
    flat_gradients = tf.reshape(gradients, (-1, *gradients.shape[2:]))
    # The square of a small element underflows.
    scale = norms.compute_norm(flat_gradients, "linf")
    unit_gradients = tf.math.divide_no_nan(flat_gradients, norms.expand_like(scale, flat_gradients))
    return tf.reshape(scale * norms.compute_norm(unit_gradients, norm), gradients.shape[:2])


def project_onto_hyperplane(
    images: tf.Tensor, gradients: tf.Tensor, values: tf.Tensor, norm: str, bounds: Bounds
) -> tf.Tensor:
    """Returns the smallest perturbation within the box to the zero of a linear function.

    The projection is exact: the projection on the hyperplane, clipped to the box, would leave the
    hyperplane. If the hyperplane does not meet the box, the result leads to the closest corner; for
    a zero gradient it is zero.

    Args:
      images: float32 [batch, ...], inside the bounds.
      gradients: float32 [batch, ...], of the linear function.
      values: float32 [batch], the function at `images`.
      norm: "linf", "l2" or "l1", the norm that is minimised.
      bounds: (lowest, highest) pixel value, or None.

    Returns:
      float32 [batch, ...], the perturbation of `images`.

    Reference: Croce and Hein 2020, arXiv 1907.02044, Sec. 3.
    """
    w, x = (tf.reshape(t, (tf.shape(t)[0], -1)) for t in (gradients, images))
    scale = tf.reduce_max(tf.abs(w), 1, keepdims=True)
    w = tf.where(scale > _MIN_GRADIENT, w / scale, 0.0)
    # f(x + d) = f + w d = 0: |w| |d| = |f|, with d opposite in sign to f w.
    required = tf.where(scale > _MIN_GRADIENT, tf.abs(values)[:, None] / scale, 0.0)
    direction = -tf.sign(values)[:, None] * tf.sign(w)
    if bounds is None:
        room = tf.fill(tf.shape(x), float("inf"))
    else:
        room = tf.maximum(tf.where(direction > 0, bounds[1] - x, x - bounds[0]), 0.0)
    sizes = _compute_sizes(tf.abs(w), room, required, norm)
    return tf.reshape(direction * sizes, tf.shape(images))


def _compute_sizes(w, room, required, norm):
    """Returns the smallest d in [0, room] with sum_i w_i d_i = required, for w >= 0."""
    if norm == "l1":
        return _fill_steepest(w, room, required)
    if norm == "linf":
        # d_i = min(t, room_i) with one t.
        return tf.minimum(_solve_water_level(w, room, required), room)
    # d_i = min(t w_i, room_i), by the KKT conditions.
    caps = tf.math.divide_no_nan(room, w)
    level = _solve_water_level(tf.square(w), caps, required)
    return tf.minimum(level * w, room)


def _solve_water_level(rates: tf.Tensor, caps: tf.Tensor, required: tf.Tensor) -> tf.Tensor:
    """Solves sum_i rates_i min(t, caps_i) = required for t.

    The sum is concave and piecewise linear: Newton's method approaches t from below and ends as
    soon as it passes no further cap. It needs a few steps, while sorting the caps costs more than a
    small classifier.

    Args:
      rates: float32 [batch, n], not negative.
      caps: float32 [batch, n], not negative.
      required: float32 [batch, 1].

    Returns:
      float32 [batch, 1]; above every cap where the sum stays below `required`.
    """

    def take_newton_step(level, previous_rate, _):
        open_rates = tf.where(caps > level, rates, 0.0)
        total_rate = tf.reduce_sum(open_rates, 1, keepdims=True)
        filled = tf.reduce_sum(rates * tf.minimum(level, caps), 1, keepdims=True)
        increment = tf.math.divide_no_nan(required - filled, total_rate)
        has_changed = tf.reduce_any(total_rate != previous_rate)
        return level + tf.maximum(increment, 0.0), total_rate, has_changed

    zeros = tf.zeros_like(required)
    level, _, _ = tf.while_loop(
        lambda level, previous_rate, has_changed: has_changed,
        take_newton_step,
        (zeros, zeros - 1.0, tf.constant(True)),
        maximum_iterations=_MAX_NEWTON_STEPS,
    )
    return level


def _fill_steepest(w, room, required):
    """Uses the whole room of the steepest elements, one after the other."""
    count = w.shape[1]
    sorted_w, order = tf.math.top_k(w, count)
    gains = sorted_w * tf.gather(room, order, batch_dims=1)
    gains = tf.where(sorted_w > 0, gains, 0.0)
    gains_before = tf.cumsum(gains, axis=1, exclusive=True)
    is_full = tf.cast(gains_before + gains < required, tf.int32)
    # The pivot is the one element that uses a part of its room.
    index_of_pivot = tf.minimum(tf.reduce_sum(is_full, 1, keepdims=True), count - 1)
    pivot_w, pivot, gain_before = (
        tf.gather(values, index_of_pivot, batch_dims=1)
        for values in (sorted_w, order, gains_before)
    )
    pivot_size = tf.maximum(tf.math.divide_no_nan(required - gain_before, pivot_w), 0.0)
    index = tf.range(count)[None]
    is_before_pivot = (w > pivot_w) | ((w == pivot_w) & (index < pivot))
    sizes = tf.where(index == pivot, tf.minimum(pivot_size, room), 0.0)
    return tf.where(is_before_pivot, room, sizes)
