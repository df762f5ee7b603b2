"""SPSA: gradient ascent with a gradient that is estimated from queries.

The paper does not use it. It distinguishes a robust classifier from one with a masked or missing
gradient.

```python
adversarial = attacks.get("spsa")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses
import math

import tensorflow as tf

from qup import attacks
from qup.attacks import losses, method, pgd
from qup.core import errors, norms, prng

# Pairs of samples per query: more of a batch of 128 may not fit into memory. One bit per pair keeps
# a random integer within 31 bits.
_PAIRS_PER_QUERY = 16
# Adam's decay rates and epsilon, for gradients per width of the box.
_ADAM_DECAY, _ADAM_SQUARE_DECAY, _ADAM_EPSILON = 0.9, 0.999, 1e-7


@attacks.register("spsa", kind="budget", norms=("linf", "l2"), gradients=False)
@dataclasses.dataclass(frozen=True, kw_only=True)
class SPSA(method.Method):
    """Increases the loss by Adam on an estimated gradient, projected on the ball and the box.

    It starts at a uniform point of the ball. A row stops at its first misclassified iterate.
    Samples can leave the box by `delta`; iterates cannot.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf" or "l2".
      num_steps: Number of steps, at least 1.
      num_samples: Classified images per gradient, even: each random direction is used forwards and
        backwards. It is rounded up to full batches of at most 32.
      learning_rate: Of Adam, about the largest change of a pixel per step; None: 0.01 of the width
        of the box (0.01 without a box).
      delta: The change of each pixel of a sample; None: as `learning_rate`.
      loss: See `losses`.
      targeted: The labels are targets, whose loss decreases.

    Reference: Uesato et al. 2018, arXiv 1802.05666, Algorithm 1.
    """

    epsilon: float
    norm: str = "linf"
    num_steps: method.Count = 100
    num_samples: int = 128
    learning_rate: float | None = None
    delta: float | None = None
    loss: str = "margin"
    targeted: bool = False

    def check(self):
        """Checks the ranges of the options."""
        losses.get(self.loss)
        errors.check_number("num_samples", self.num_samples, at_least=2)
        if self.num_samples % 2:
            raise errors.InputError(
                f"num_samples must be even, because samples come in pairs; got {self.num_samples}."
            )
        for name in ("learning_rate", "delta"):
            value = getattr(self, name)
            if value is not None and not tf.is_tensor(value):
                errors.check_number(name, value, above=0)

    def init(self, classifier, examples):
        """Starts at a random point of the ball, or at a misclassified image."""
        images = examples.images
        start = norms.sample(images, examples.budget(), self.norm, self.keys(examples))
        start = pgd.project(images + start, examples, self.norm, self.bounds)
        logits = classifier.logits(images)
        success = method.adversarial(logits, examples.labels, self.targeted)
        return {
            "images": tf.where(norms.expand_like(success, images), images, start),
            "success": success,
            "query": tf.zeros_like(examples.labels),
            "gradient": tf.zeros_like(images),
            "mean": tf.zeros_like(images),
            "square": tf.zeros_like(images),
        }

    def step(self, classifier, examples, state):
        """Evaluates one batch of samples; after the last batch of a gradient, takes a step."""
        query = state["query"]
        success, gradient = self._estimate_gradient(classifier, examples, state["images"], query)
        new_state = {**state, "gradient": state["gradient"] + gradient}
        adam_state = self._apply_adam(examples, new_state)
        is_last_query = (query + 1) % self._num_batches == 0
        new_state = {
            name: tf.where(norms.expand_like(is_last_query, value), adam_state[name], value)
            for name, value in new_state.items()
        }
        success_rows = norms.expand_like(success, gradient)
        new_state["images"] = tf.where(success_rows, state["images"], new_state["images"])
        return {**new_state, "success": state["success"] | success, "query": query + 1}

    def count_max_steps(self, image_shape):
        """The steps, each in one or several batches of queries."""
        return self.num_steps * self._num_batches

    def done(self, examples, state):
        """At an adversarial image, or after `num_steps`."""
        return state["success"] | (state["query"] >= self.num_steps * self._num_batches)

    @property
    def _num_batches(self) -> int:
        """Batches of samples per gradient."""
        return math.ceil(self.num_samples / 2 / _PAIRS_PER_QUERY)

    @property
    def _num_pairs(self) -> int:
        """Pairs of samples per batch."""
        return math.ceil(self.num_samples / 2 / self._num_batches)

    def _resolve_length(self, value):
        """Returns a length in the units of `bounds`; the default for None."""
        return 0.01 * self.width if value is None else value

    def _estimate_gradient(self, classifier, examples, images, query):
        """Evaluates the images and pairs of samples around each.

        Returns:
          (success, gradient): bool [batch], and the contribution of this batch of samples to the
          gradient, per width of the box.
        """
        shape, delta = images.shape, self._resolve_length(self.delta)
        keys = self.keys(examples, query)
        # One bit of a random integer per direction gives the signs of all pairs.
        bits = prng.integers(keys, shape[1:], 2**self._num_pairs)[:, None]
        bit_positions = tf.reshape(tf.range(self._num_pairs), [-1] + [1] * (len(shape) - 1))
        sampled_bits = tf.bitwise.right_shift(bits, bit_positions) & 1
        signs = 2.0 * tf.cast(sampled_bits, tf.float32) - 1.0
        perturbations = delta * tf.concat([signs, -signs, signs[:, :1] * 0], 1)
        samples = tf.reshape(images[:, None] + perturbations, (-1, *shape[1:]))
        logits = classifier.logits(samples)
        samples_per_image = perturbations.shape[1]
        labels = tf.repeat(examples.labels, samples_per_image)
        objective = losses.build_objective(self.loss, labels, self.targeted)
        values = tf.reshape(objective(logits), (-1, samples_per_image))
        forward_values, backward_values, _ = tf.split(
            values, [self._num_pairs, self._num_pairs, 1], 1
        )
        # g = mean of (l(x + delta v) - l(x - delta v)) / (2 delta) v     (Uesato 2018, Alg. 1)
        directional_derivatives = (forward_values - backward_values) * (self.width / (2 * delta))
        weights = directional_derivatives / (self._num_pairs * self._num_batches)
        gradient = tf.einsum("bp,bp...->b...", weights, signs)
        success = method.adversarial(logits, labels, self.targeted)
        return tf.reshape(success, (-1, samples_per_image))[:, -1], gradient

    def _apply_adam(self, examples, state):
        """Returns the state after a step of Adam along the complete gradient."""
        gradient = state["gradient"]
        mean = _ADAM_DECAY * state["mean"] + (1 - _ADAM_DECAY) * gradient
        square = state["square"] * _ADAM_SQUARE_DECAY
        square += (1 - _ADAM_SQUARE_DECAY) * tf.square(gradient)
        step_number = tf.cast(state["query"] // self._num_batches + 1, tf.float32)
        step_number = norms.expand_like(step_number, gradient)
        # x <- Proj(x + rate m' / (sqrt(u') + epsilon)), m' = m / (1 - b^t)     (Kingma and Ba 2014)
        unbiased = mean / (1 - _ADAM_DECAY**step_number)
        root_mean_square = tf.sqrt(square / (1 - _ADAM_SQUARE_DECAY**step_number)) + _ADAM_EPSILON
        update = self._resolve_length(self.learning_rate) * unbiased / root_mean_square
        return {
            **state,
            "images": pgd.project(state["images"] + update, examples, self.norm, self.bounds),
            "gradient": tf.zeros_like(gradient),
            "mean": mean,
            "square": square,
        }
