"""SPSA: gradient steps whose gradient is estimated from queries alone.

Not an attack of the paper; it tells a robust classifier from one whose
gradient is masked or missing.

```python
attacked = attacks.get("spsa")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses
import math

import tensorflow as tf

from qup import attacks, draws, errors, norms
from qup.attacks import base, losses

# Pairs of samples that are asked about at once: more of a batch of 128 may
# not fit into memory. A power of two for each keeps a draw within 31 bits.
_TOGETHER = 16
# Adam's decay rates and epsilon, for gradients by the width of the box.
_DECAY, _SQUARE_DECAY, _SMALL = 0.9, 0.999, 1e-7


@attacks.register("spsa", kind="budget", norms=("linf", "l2"), gradients=False)
@dataclasses.dataclass(frozen=True, kw_only=True)
class SPSA(base.Method):
    """Climbs an estimated gradient with Adam, projected into ball and box.

    Starts at a uniform point of the ball; a row stops when misclassified.
    Samples may leave the box by `delta`, the attacked image never does.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf" or "l2".
      num_steps: Number of steps, at least 1.
      num_samples: Images asked about for one gradient, even: each random
        direction is asked about forwards and backwards. Rounded up so that
        batches of at most 32 are full.
      learning_rate: Of Adam, about the most a pixel moves in a step; None
        means 0.01 of the width of the box (0.01 without a box).
      delta: How far each pixel of a sample is moved; None as above.
      loss: See `losses`.
      targeted: Descend the loss of the labels, which are targets.

    Reference: Uesato et al. 2018, arXiv 1802.05666, Algorithm 1.
    """

    epsilon: float
    norm: str = "linf"
    num_steps: base.Count = 100
    num_samples: int = 128
    learning_rate: float | None = None
    delta: float | None = None
    loss: str = "margin"
    targeted: bool = False

    def check(self):
        """Raises an InputError for an option out of its range."""
        losses.get(self.loss)
        errors.check_number("num_samples", self.num_samples, least=2)
        if self.num_samples % 2:
            raise errors.InputError(
                "num_samples must be even, because samples come in pairs; "
                f"got {self.num_samples}."
            )
        for name in ("learning_rate", "delta"):
            value = getattr(self, name)
            if value is not None and not tf.is_tensor(value):
                errors.check_number(name, value, above=0)

    def init(self, victim, examples):
        """Starts at random in the ball, or at a misclassified image."""
        images = examples.images
        start = norms.sample(
            images, examples.budget(), self.norm, self.keys(examples)
        )
        start = self._confined(images + start, examples)
        hit = self._hit(victim.logits(images), examples.labels)
        return {
            "images": tf.where(norms.rows(hit, images), images, start),
            "found": hit,
            "query": tf.zeros_like(examples.labels),
            "slope": tf.zeros_like(images),
            "mean": tf.zeros_like(images),
            "square": tf.zeros_like(images),
        }

    def step(self, victim, examples, state):
        """Asks one batch of samples; the last one of a gradient steps."""
        query = state["query"]
        hit, slope = self._sampled(victim, examples, state["images"], query)
        total = {**state, "slope": state["slope"] + slope}
        stepped = self._stepped(examples, total)
        full = (query + 1) % self._batches == 0
        total = {
            name: tf.where(norms.rows(full, value), stepped[name], value)
            for name, value in total.items()
        }
        kept = norms.rows(hit, slope)
        total["images"] = tf.where(kept, state["images"], total["images"])
        return {**total, "found": state["found"] | hit, "query": query + 1}

    def done(self, examples, state):
        """After `num_steps`, or once misclassified."""
        out = state["query"] >= self.num_steps * self._batches
        return state["found"] | out

    @property
    def _batches(self) -> int:
        """Batches of samples that make one gradient."""
        return math.ceil(self.num_samples / 2 / _TOGETHER)

    @property
    def _pairs(self) -> int:
        """Pairs of samples in a batch."""
        return math.ceil(self.num_samples / 2 / self._batches)

    def _scaled(self, value):
        """Returns a length in pixels; the default is that of the box."""
        if value is not None:
            return value
        return 0.01 * self.width

    def _hit(self, logits, labels):
        return base.adversarial(logits, labels, self.targeted)

    def _sampled(self, victim, examples, images, query):
        """Asks about the images and pairs of samples around each.

        Returns:
          (hit, slope): which images are adversarial, bool [batch], and the
          batch's share of the gradient, by the width of the box.
        """
        shape, delta = images.shape, self._scaled(self.delta)
        keys = self.keys(examples, query)
        # A bit of a random number for each direction: signs of all pairs.
        bits = draws.integers(keys, shape[1:], 2**self._pairs)[:, None]
        places = tf.reshape(
            tf.range(self._pairs), [-1] + [1] * (len(shape) - 1)
        )
        ones = tf.bitwise.right_shift(bits, places) & 1
        signs = 2.0 * tf.cast(ones, tf.float32) - 1.0
        moves = delta * tf.concat([signs, -signs, signs[:, :1] * 0], 1)
        asked = tf.reshape(images[:, None] + moves, (-1, *shape[1:]))
        logits = victim.logits(asked)
        rows = moves.shape[1]
        labels = tf.repeat(examples.labels, rows)
        climbed = losses.ascent(self.loss, labels, self.targeted)
        values = tf.reshape(climbed(logits), (-1, rows))
        ahead, behind, _ = tf.split(values, [self._pairs, self._pairs, 1], 1)
        # g = mean of (l(x + delta v) - l(x - delta v)) / (2 delta) v
        rise = (ahead - behind) * (self.width / (2 * delta))
        share = rise / (self._pairs * self._batches)
        slope = tf.einsum("bp,bp...->b...", share, signs)
        hit = self._hit(logits, labels)
        return tf.reshape(hit, (-1, rows))[:, -1], slope

    def _stepped(self, examples, state):
        """Returns the state after a step of Adam along the whole slope."""
        slope = state["slope"]
        mean = _DECAY * state["mean"] + (1 - _DECAY) * slope
        square = state["square"] * _SQUARE_DECAY
        square += (1 - _SQUARE_DECAY) * tf.square(slope)
        count = tf.cast(state["query"] // self._batches + 1, tf.float32)
        count = norms.rows(count, slope)
        # x <- Proj(x + rate m' / (sqrt(u') + epsilon)), m' = m / (1 - b^t)
        unbiased = mean / (1 - _DECAY**count)
        size = tf.sqrt(square / (1 - _SQUARE_DECAY**count)) + _SMALL
        move = self._scaled(self.learning_rate) * unbiased / size
        return {
            **state,
            "images": self._confined(state["images"] + move, examples),
            "slope": tf.zeros_like(slope),
            "mean": mean,
            "square": square,
        }

    def _confined(self, images, examples):
        delta = images - examples.images
        delta = norms.project(delta, examples.budget(), self.norm)
        return base.clip(examples.images + delta, self.bounds)
