"""The Fast Adaptive Boundary attack: the nearest adversarial image.

```python
attacked = attacks.get("fab")(classifier, images, labels, norm="l2")
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, errors, norms
from qup.attacks import base, projections, spheres

# The norm by which a slope tells a distance.
_DUAL_NORM = {"linf": "l1", "l2": "l2", "l1": "linf"}
# Where a restart begins if nothing is known, in widths of the box.
_DEFAULT_RADIUS = {"linf": 0.3, "l2": 1.0, "l1": 5.0}


@attacks.register("fab", kind="minimum_norm", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FAB(base.Method):
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
    num_steps: base.Count = 100
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def check(self):
        """Raises an InputError for an option out of its range."""
        errors.check_number("restarts", self.restarts, at_least=1)
        base.check_number("eta", self.eta, least=1)
        for option in ("alpha_max", "beta"):
            value = getattr(self, option)
            base.check_number(option, value, least=0)
            if not tf.is_tensor(value) and value > 1:
                raise errors.InputError(f"{option} is a share, 0 to 1; got {value!r}.")

    def init(self, classifier, examples):
        """Starts at the image."""
        logits = classifier.logits(examples.images)
        success = base.adversarial(logits, examples.labels, False)
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
        success = base.adversarial(classifier.logits(perturbed), examples.labels, False)
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

    def init_target(self, examples, logits) -> base.State:
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
        moves = projections.project_onto_hyperplane(
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
        return base.clip(perturbed, self.bounds)

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
        delta = spheres.sample_sphere(
            images, norms.expand_like(radius, images), self.norm, self.keys(examples, step)
        )
        start = base.clip(images + delta, self.bounds)
        is_restart = norms.expand_like(step % self.num_steps == 0, images)
        return state | {"images": tf.where(is_restart, start, state["images"])}


def _compute_norms(gradients: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the norms of [batch, k, ...] slopes, float32 [batch, k]."""
    flat_gradients = tf.reshape(gradients, (-1, *gradients.shape[2:]))
    # The square of a small float32 is none.
    scale = norms.compute_norm(flat_gradients, "linf")
    unit_gradients = tf.math.divide_no_nan(flat_gradients, norms.expand_like(scale, flat_gradients))
    return tf.reshape(scale * norms.compute_norm(unit_gradients, norm), gradients.shape[:2])
