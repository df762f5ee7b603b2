"""The Fast Adaptive Boundary attack towards the next likely classes in turn.

One gradient a step, where `fab` takes one a class.

```python
attacked = attacks.get("fab_t")(classifier, images, labels, norm="l2")
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.core import errors, norms
from qup.core.types import Bounds

# The nearest point of a hyperplane that lies in the pixel box, exactly.
#
# What FAB moves to. Clipping the nearest point of the whole plane would leave
# the plane.
#
# ```python
# move = projections.onto_hyperplane(images, slopes, values, "l2", (0.0, 1.0))
# ```


# A slope whose largest element is below this counts as zero.
_MIN_GRADIENT = 1e-25
# More passes than Newton's method takes; each divides the product of what
# is left and the slope by at least four.
_MAX_PASSES = 64


def project_onto_hyperplane(
    images: tf.Tensor, gradients: tf.Tensor, values: tf.Tensor, norm: str, bounds: Bounds
) -> tf.Tensor:
    """Returns the shortest move in the box to where a linear function is 0.

    Where that is beyond the box, the move to the corner that comes nearest;
    where the slope is zero, no move.

    Args:
      images: float32 [batch, ...], inside the bounds.
      gradients: float32 [batch, ...], the function's gradients.
      values: float32 [batch], the function at `images`.
      norm: "linf", "l2" or "l1", by which the move is shortest.
      bounds: The pixel box, or None.

    Returns:
      float32 [batch, ...], to be added to `images`.

    Reference: Croce and Hein 2020, arXiv 1907.02044.
    """
    gradients, x = _flatten_rows(gradients), _flatten_rows(images)
    scale = tf.reduce_max(tf.abs(gradients), 1, keepdims=True)
    gradients = tf.where(scale > _MIN_GRADIENT, gradients / scale, 0.0)
    # f(x + d) = f + w d = 0, so |w| moves = |f| against the sign of f w.
    required = tf.where(scale > _MIN_GRADIENT, tf.abs(values)[:, None] / scale, 0.0)
    direction = -tf.sign(values)[:, None] * tf.sign(gradients)
    moves = _compute_moves(tf.abs(gradients), _compute_room(x, direction, bounds), required, norm)
    return tf.reshape(direction * moves, tf.shape(images))


def _flatten_rows(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (tf.shape(values)[0], -1))


def _compute_room(x: tf.Tensor, direction: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """Returns how far each element can move the way given."""
    if bounds is None:
        return tf.fill(tf.shape(x), float("inf"))
    low, high = bounds
    return tf.maximum(tf.where(direction > 0, high - x, x - low), 0.0)


def _compute_moves(magnitudes, room, required, norm):
    """Returns the shortest moves in [0, room] with sum(steep moves) = need."""
    if norm == "l1":
        return _fill_steepest(magnitudes, room, required)
    if norm == "linf":
        # d_i = min(t, room_i) with one t.
        return tf.minimum(_solve_water_level(magnitudes, room, required), room)
    # d_i = min(t w_i, room_i): the nearest point that KKT allows.
    caps = tf.math.divide_no_nan(room, magnitudes)
    level = _solve_water_level(tf.square(magnitudes), caps, required)
    return tf.minimum(level * magnitudes, room)


def _solve_water_level(rates: tf.Tensor, caps: tf.Tensor, required: tf.Tensor) -> tf.Tensor:
    """Returns t with sum_i rates_i min(t, caps_i) = need.

    The sum is concave and piecewise linear, so Newton's method climbs to t
    from below, and is there once it passes no further cap: a few passes,
    where sorting the caps would cost more than a small classifier.

    Args:
      rates: float32 [batch, n], none negative.
      caps: float32 [batch, n], none negative.
      required: float32 [batch, 1].

    Returns:
      float32 [batch, 1]; above every cap where the sum stays below `required`.
    """

    def newton_step(level, previous_rate, _):
        open_rates = tf.where(caps > level, rates, 0.0)
        total_rate = tf.reduce_sum(open_rates, 1, keepdims=True)
        filled = tf.reduce_sum(rates * tf.minimum(level, caps), 1, keepdims=True)
        increment = tf.math.divide_no_nan(required - filled, total_rate)
        has_changed = tf.reduce_any(total_rate != previous_rate)
        return level + tf.maximum(increment, 0.0), total_rate, has_changed

    zeros = tf.zeros_like(required)
    level, _, _ = tf.while_loop(
        lambda level, previous_rate, has_changed: has_changed,
        newton_step,
        (zeros, zeros - 1.0, tf.constant(True)),
        maximum_iterations=_MAX_PASSES,
    )
    return level


def _fill_steepest(magnitudes, room, required):
    """Fills the room of the steepest elements, one after the other."""
    count = magnitudes.shape[1]
    sorted_magnitudes, order = tf.math.top_k(magnitudes, count)
    gains = sorted_magnitudes * tf.gather(room, order, batch_dims=1)
    gains = tf.where(sorted_magnitudes > 0, gains, 0.0)
    gains_before = tf.cumsum(gains, axis=1, exclusive=True)
    is_full = tf.cast(gains_before + gains < required, tf.int32)
    index_of_pivot = tf.minimum(tf.reduce_sum(is_full, 1, keepdims=True), count - 1)
    pivot_magnitude, pivot, filled_before = (
        tf.gather(values, index_of_pivot, batch_dims=1)
        for values in (sorted_magnitudes, order, gains_before)
    )
    pivot_move = tf.maximum(tf.math.divide_no_nan(required - filled_before, pivot_magnitude), 0.0)
    index = tf.range(count)[None]
    is_earlier = (magnitudes > pivot_magnitude) | (
        (magnitudes == pivot_magnitude) & (index < pivot)
    )
    moves = tf.where(index == pivot, tf.minimum(pivot_move, room), 0.0)
    return tf.where(is_earlier, room, moves)


# The Fast Adaptive Boundary attack: the nearest adversarial image.
#
# ```python
# attacked = attacks.get("fab")(classifier, images, labels, norm="l2")
# ```


# The norm by which a slope tells a distance.
_DUAL_NORM = {"linf": "l1", "l2": "l2", "l1": "linf"}
# Where a restart begins if nothing is known, in widths of the box.
_DEFAULT_RADIUS = {"linf": 0.3, "l2": 1.0, "l1": 5.0}


@attacks.register("fab", kind="minimum_norm", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FAB(method.Method):
    """Steps to the nearest linearised boundary, biased to the clean image.

    Once across, it goes back towards the clean image, and on.

    Attributes:
      epsilon: A row is done once it is adversarial inside this radius; None
        looks for the least.
      norm: "linf", "l2" or "l1".
      num_steps: Number of steps of a start.
      restarts: Number of starts: the clean image, then random points at
        half the best distance or half of epsilon, whichever is nearer; where
        there is neither, at half of 0.3 (linf), 1 (l2) or 5 (l1) widths of
        the box.
      alpha_max: The largest weight of the move from the clean image.
      eta: How far a step goes, 1 ending on the linearised boundary.
      beta: The share of a perturbation that is left when going back.

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
        """Raises an InputError for an option out of its range."""
        errors.check_number("restarts", self.restarts, at_least=1)
        inputs.check_number("eta", self.eta, least=1)
        for option in ("alpha_max", "beta"):
            value = getattr(self, option)
            inputs.check_number(option, value, least=0)
            if not tf.is_tensor(value) and value > 1:
                raise errors.InputError(f"{option} is a share, 0 to 1; got {value!r}.")

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
        """Steps to the boundary, and back where it is crossed."""
        values, gradients = self.linearise_boundary(classifier, examples, state)
        perturbed = self._compute_next_point(examples, state, values, gradients)
        success = method.adversarial(classifier.logits(perturbed), examples.labels, False)
        delta = perturbed - examples.images
        distance = norms.compute_norm(delta, self.norm)
        is_closer = success & (distance < state["distance"])
        # x <- (1 - beta) x_0 + beta x, where x is adversarial
        biased = examples.images + self.beta * delta
        step = state["step"] + 1
        state = state | {
            "images": tf.where(norms.expand_like(success, perturbed), biased, perturbed),
            "best": tf.where(norms.expand_like(is_closer, perturbed), perturbed, state["best"]),
            "distance": tf.where(is_closer, distance, state["distance"]),
            "step": step,
        }
        return self._apply_restart(examples, state)

    def done(self, examples, state):
        """After every start, or once inside epsilon."""
        is_inside = state["distance"] <= examples.epsilon
        is_last = state["step"] >= self.num_steps * int(self.restarts)
        return is_last | is_inside | (state["distance"] == 0)

    def images(self, examples, state):
        """The nearest adversarial image; the clean one where none is known."""
        return state["best"]

    def init_target(self, examples, logits) -> method.State:
        """Returns what is remembered of the clean images' logits."""
        return {}

    def linearise_boundary(self, classifier, examples, state):
        """Returns the nearest linearised boundary of each row.

        Returns:
          (values, slopes): z_l - z_y, float32 [batch], of the class l whose
          boundary is nearest, and its gradient, float32 [batch, ...].
        """

        def compute_differences(logits):
            labels = examples.labels[:, None]
            other_classes = tf.range(logits.shape[1] - 1)[None]
            other_classes += tf.cast(other_classes >= labels, tf.int32)
            label_logit = tf.gather(logits, labels, batch_dims=1)
            return tf.gather(logits, other_classes, batch_dims=1) - label_logit

        logits, gradients = classifier.slopes(state["images"], compute_differences)
        values = compute_differences(logits)
        gradient_norms = _compute_norms(gradients, _DUAL_NORM[self.norm])
        # l = argmin |z_l - z_y| / |grad(z_l - z_y)|_q
        distances = tf.where(gradient_norms > 0, tf.abs(values) / gradient_norms, float("inf"))
        closest = tf.argmin(distances, 1, tf.int32)
        return (
            tf.gather(values, closest, batch_dims=1),
            tf.gather(gradients, closest, batch_dims=1),
        )

    def _compute_next_point(self, examples, state, values, gradients):
        current, clean = state["images"], examples.images
        axes = list(range(1, current.shape.rank))
        shift = tf.reduce_sum(gradients * (clean - current), axes)
        moves = project_onto_hyperplane(
            tf.concat([current, clean], 0),
            tf.concat([gradients, gradients], 0),
            tf.concat([values, values + shift], 0),
            self.norm,
            self.bounds,
        )
        current_move, clean_move = tf.split(moves, 2)
        current_distance, clean_distance = tf.split(norms.compute_norm(moves, self.norm), 2)
        # alpha = min(|d_1| / (|d_1| + |d_2|), alpha_max)
        alpha = tf.math.divide_no_nan(current_distance, current_distance + clean_distance)
        alpha = norms.expand_like(tf.minimum(alpha, self.alpha_max), current)
        # x <- (1 - alpha)(x + eta d_1) + alpha (x_0 + eta d_2)
        perturbed = (1 - alpha) * (current + self.eta * current_move)
        perturbed += alpha * (clean + self.eta * clean_move)
        return method.clip(perturbed, self.bounds)

    def _apply_restart(self, examples, state):
        """Puts rows whose start is used up at a random point."""
        if int(self.restarts) == 1:
            return state
        step, images = state["step"], examples.images
        # min(best distance, epsilon) / 2
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


def _compute_norms(gradients: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the norms of [batch, k, ...] slopes, float32 [batch, k]."""
    flat_gradients = tf.reshape(gradients, (-1, *gradients.shape[2:]))
    # The square of a small float32 is none.
    scale = norms.compute_norm(flat_gradients, "linf")
    unit_gradients = tf.math.divide_no_nan(flat_gradients, norms.expand_like(scale, flat_gradients))
    return tf.reshape(scale * norms.compute_norm(unit_gradients, norm), gradients.shape[:2])


@attacks.register("fab_t", kind="minimum_norm", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FABT(FAB):
    """Steps to the linearised boundary of one target a part.

    The labels are true classes, and any other class is success.

    Attributes:
      epsilon, norm, num_steps, restarts, alpha_max, eta, beta: See `FAB`.
      num_targets: Number of targets: the classes that are most likely on
        the clean image, after the true one. Where there are fewer, the
        parts that are left do nothing.

    Reference: Croce and Hein 2020, arXiv 1907.02044; arXiv 2003.01690,
    Sec. 5, for the targets.
    """

    num_targets: int = 9

    def check(self):
        """Raises an InputError for an option out of its range."""
        super().check()
        errors.check_number("num_targets", self.num_targets, at_least=1)

    def stages(self):
        """One part a target."""
        return (self,) * int(self.num_targets)

    def init_target(self, examples, logits):
        """Picks the target by its rank on the clean image."""
        rank = examples.part + 1
        has_no_target = tf.fill(examples.labels.shape, rank >= logits.shape[1])
        target = losses.select_ranked_class(logits, examples.labels, rank)
        return {"target": target, "over": has_no_target}

    def done(self, examples, state):
        """After every start, once inside epsilon, or without a target."""
        return super().done(examples, state) | state["over"]

    def linearise_boundary(self, classifier, examples, state):
        """Returns z_t - z_y and its gradient."""

        def compute_difference(logits):
            target_logit = tf.gather(logits, state["target"], batch_dims=1)
            return target_logit - tf.gather(logits, examples.labels, batch_dims=1)

        _, values, gradients = classifier.gradient(compute_difference, state["images"])
        return values, gradients
