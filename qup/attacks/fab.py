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
_DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
# Where a restart begins if nothing is known, in widths of the box.
_RADIUS = {"linf": 0.3, "l2": 1.0, "l1": 5.0}


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
        errors.check_number("restarts", self.restarts, least=1)
        base.check_number("eta", self.eta, least=1)
        for option in ("alpha_max", "beta"):
            value = getattr(self, option)
            base.check_number(option, value, least=0)
            if not tf.is_tensor(value) and value > 1:
                raise errors.InputError(
                    f"{option} is a share, 0 to 1; got {value!r}."
                )

    def init(self, victim, examples):
        """Starts at the image."""
        logits = victim.logits(examples.images)
        wrong = base.adversarial(logits, examples.labels, False)
        return {
            "images": examples.images,
            "best": examples.images,
            "distance": tf.where(wrong, 0.0, float("inf")),
            "step": tf.zeros_like(examples.labels),
        } | self.aim(examples, logits)

    def step(self, victim, examples, state):
        """Steps to the boundary, and back where it is crossed."""
        values, slopes = self.linearised(victim, examples, state)
        moved = self._moved(examples, state, values, slopes)
        wrong = base.adversarial(victim.logits(moved), examples.labels, False)
        delta = moved - examples.images
        distance = norms.length(delta, self.norm)
        better = wrong & (distance < state["distance"])
        # x <- (1 - beta) x_0 + beta x, where x is adversarial
        back = examples.images + self.beta * delta
        step = state["step"] + 1
        state = state | {
            "images": tf.where(norms.rows(wrong, moved), back, moved),
            "best": tf.where(norms.rows(better, moved), moved, state["best"]),
            "distance": tf.where(better, distance, state["distance"]),
            "step": step,
        }
        return self._restarted(examples, state)

    def done(self, examples, state):
        """After every start, or once inside epsilon."""
        near = state["distance"] <= examples.epsilon
        last = state["step"] >= self.num_steps * int(self.restarts)
        return last | near | (state["distance"] == 0)

    def images(self, examples, state):
        """The nearest adversarial image; the clean one where none is known."""
        return state["best"]

    def aim(self, examples, logits) -> base.State:
        """Returns what is remembered of the clean images' logits."""
        return {}

    def linearised(self, victim, examples, state):
        """Returns the nearest linearised boundary of each row.

        Returns:
          (values, slopes): z_l - z_y, float32 [batch], of the class l whose
          boundary is nearest, and its gradient, float32 [batch, ...].
        """

        def differences(logits):
            labels = examples.labels[:, None]
            others = tf.range(logits.shape[1] - 1)[None]
            others += tf.cast(others >= labels, tf.int32)
            own = tf.gather(logits, labels, batch_dims=1)
            return tf.gather(logits, others, batch_dims=1) - own

        logits, slopes = victim.slopes(state["images"], differences)
        values = differences(logits)
        lengths = _lengths(slopes, _DUAL[self.norm])
        # l = argmin |z_l - z_y| / |grad(z_l - z_y)|_q
        far = tf.where(lengths > 0, tf.abs(values) / lengths, float("inf"))
        nearest = tf.argmin(far, 1, tf.int32)
        return (
            tf.gather(values, nearest, batch_dims=1),
            tf.gather(slopes, nearest, batch_dims=1),
        )

    def _moved(self, examples, state, values, slopes):
        here, clean = state["images"], examples.images
        axes = list(range(1, here.shape.rank))
        shift = tf.reduce_sum(slopes * (clean - here), axes)
        moves = projections.onto_hyperplane(
            tf.concat([here, clean], 0),
            tf.concat([slopes, slopes], 0),
            tf.concat([values, values + shift], 0),
            self.norm,
            self.bounds,
        )
        first, second = tf.split(moves, 2)
        near, far = tf.split(norms.length(moves, self.norm), 2)
        # alpha = min(|d_1| / (|d_1| + |d_2|), alpha_max)
        alpha = tf.math.divide_no_nan(near, near + far)
        alpha = norms.rows(tf.minimum(alpha, self.alpha_max), here)
        # x <- (1 - alpha)(x + eta d_1) + alpha (x_0 + eta d_2)
        moved = (1 - alpha) * (here + self.eta * first)
        moved += alpha * (clean + self.eta * second)
        return base.clip(moved, self.bounds)

    def _restarted(self, examples, state):
        """Puts rows whose start is used up at a random point."""
        if int(self.restarts) == 1:
            return state
        step, images = state["step"], examples.images
        # min(best distance, epsilon) / 2
        budget = tf.where(
            tf.math.is_nan(examples.epsilon), float("inf"), examples.epsilon
        )
        radius = tf.minimum(state["distance"], budget)
        unknown = _RADIUS[self.norm] * self.width
        radius = 0.5 * tf.where(tf.math.is_inf(radius), unknown, radius)
        delta = spheres.sample(
            images,
            norms.rows(radius, images),
            self.norm,
            self.keys(examples, step),
        )
        start = base.clip(images + delta, self.bounds)
        again = norms.rows(step % self.num_steps == 0, images)
        return state | {"images": tf.where(again, start, state["images"])}


def _lengths(slopes: tf.Tensor, norm: str) -> tf.Tensor:
    """Returns the norms of [batch, k, ...] slopes, float32 [batch, k]."""
    rows = tf.reshape(slopes, (-1, *slopes.shape[2:]))
    # The square of a small float32 is none.
    scale = norms.length(rows, "linf")
    unit = tf.math.divide_no_nan(rows, norms.rows(scale, rows))
    return tf.reshape(scale * norms.length(unit, norm), slopes.shape[:2])
