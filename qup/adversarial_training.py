"""Training on attacked images: counter-examples to a strict trade-off.

The paper says that accuracy and robustness exclude each other in a network
that is trained as usual. These two trainings take robustness into what they
minimise, and so show how much of the trade the training makes and how much
the architecture. None is in the paper.

```python
adversary = Adversary("trades", epsilon=0.1, num_steps=7)
training.fit_classifier(classifier, data, epochs=3, adversary=adversary)
```
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from qup import compilation, draws, errors, gradients, norms
from qup.attacks import base
from qup.types import Batch, LogitsFn

METHODS = ("pgd_at", "trades")
_BOX = (0.0, 1.0)
# Standard deviation of where TRADES starts: at the image itself the
# divergence has no gradient.
_NEAR = 1e-3


@dataclasses.dataclass(frozen=True)
class Adversary:
    """PGD-AT or TRADES in an L-inf ball, a `training.Adversary`.

    PGD-AT learns cross-entropy at the end of a PGD from a uniform point of
    the ball: min E max_{|d| <= epsilon} l(f(X + d), Y*).

    TRADES learns l(f(X), Y*) + beta max_{|d| <= epsilon} KL(f(X) || f(X+d)),
    and starts at Gaussian noise of width 0.001 round the image.

    The inner maximum is climbed by steps along the sign of the gradient, in
    inference mode, as TRADES does it: batch statistics and dropout belong to
    the outer step alone. Each step is projected into the ball and [0, 1].

    Attributes:
      method: "pgd_at" or "trades".
      epsilon: Radius of the ball, in units of [0, 1].
      num_steps: Steps of the inner maximum. One costs a forward and a
        backward pass.
      step_size: Length of a step; None means 2.5 epsilon / num_steps, with
        which every point of the ball can be reached.
      beta: Weight of TRADES' divergence (its 1 / lambda); PGD-AT has none.
      seed: Of the starts, which depend on it, the image's id and the number
        of the training's step.

    References: Madry et al. 2018, arXiv 1706.06083, Eq. 2.1; Zhang et al.
    2019, arXiv 1901.08573, Eq. 5 and Algorithm 1.
    """

    method: str
    epsilon: float
    num_steps: int = 7
    step_size: float | None = None
    beta: float = 6.0
    seed: int = 0

    def __post_init__(self):
        """Raises an InputError for an option out of its range."""
        if self.method not in METHODS:
            raise errors.unknown("adversarial training", self.method, METHODS)
        errors.check_number("epsilon", self.epsilon, above=0)
        errors.check_number("num_steps", self.num_steps, least=1)
        errors.check_number("beta", self.beta, least=0)
        if self.step_size is not None:
            errors.check_number("step_size", self.step_size, above=0)

    @property
    def length(self) -> float:
        """Length of a step, in units of [0, 1]."""
        if self.step_size is not None:
            return self.step_size
        return 2.5 * self.epsilon / self.num_steps

    def told(self) -> dict[str, Any]:
        """Returns what rows of a network so trained tell of it."""
        told = {
            "method": self.method,
            "adversary_epsilon": self.epsilon,
            "adversary_num_steps": self.num_steps,
            "adversary_step_size": self.length,
        }
        if self.method == "trades":
            told["adversary_beta"] = self.beta
        return told

    def attacked(
        self,
        classifier: keras.Model,
        images: tf.Tensor,
        batch: Batch,
        step: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the images at the inner maximum, float32 [batch, ...]."""
        epsilon = tf.constant(self.epsilon, tf.float32)
        seed = tf.constant(self.seed, tf.int64)
        trades = self.method == "trades"
        start = _near if trades else _uniform
        goal = batch["label"]
        if trades:
            logits = compilation.predict(classifier, images)
            goal = tf.nn.log_softmax(logits)
        climb = compilation.program(
            classifier,
            ("adversary", self.method),
            lambda call: _build_climb(call, _divergence if trades else _loss),
        )
        return climb(
            start(images, batch["id"], seed, step, epsilon),
            tf.constant(self.num_steps, tf.int32),
            images,
            goal,
            epsilon,
            tf.constant(self.length, tf.float32),
        )

    def loss(
        self,
        classifier: keras.Model,
        images: tf.Tensor,
        labels: tf.Tensor,
        attacked: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the outer loss; PGD-AT tells the attacked logits."""
        if self.method == "pgd_at":
            logits = classifier(attacked, training=True)
            return _loss(logits, labels), logits
        logits = classifier(images, training=True)
        moved = classifier(attacked, training=True)
        # l(f(X), Y*) + beta KL(f(X) || f(X'))             (TRADES, Eq. 5)
        parted = _divergence(moved, tf.nn.log_softmax(logits))
        return _loss(logits, labels) + self.beta * parted, logits


def _loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _divergence(logits: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Returns KL(p || q) = sum_j p_j (ln p_j - ln q_j), float32 [batch].

    Args:
      logits: float32 [batch, classes], of q.
      reference: float32 [batch, classes], ln p.
    """
    gap = reference - tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(reference) * gap, -1)


@tf.function(autograph=False)
def _uniform(images, ids, seed, step, epsilon):
    keys = draws.keys(seed, ids, step)
    moved = images + norms.sample(images, epsilon, "linf", keys)
    return base.clip(moved, _BOX)


@tf.function(autograph=False)
def _near(images, ids, seed, step, epsilon):
    keys = draws.keys(seed, ids, step)
    return images + _NEAR * draws.normal(keys, images.shape[1:].as_list())


def _build_climb(call: LogitsFn, value):
    def step(moved, images, goal, epsilon, length):
        _, gradient = gradients.input_gradient(
            lambda inputs: value(call(inputs), goal), moved
        )
        moved += length * tf.sign(gradient)
        delta = norms.project(moved - images, epsilon, "linf")
        return base.clip(images + delta, _BOX)

    return base.repeated(step, "auto")
