"""Adversarial training: counter-examples to a strict trade-off.

The paper states that accuracy and robustness exclude each other in a network with standard
training. These two methods include robustness in their objective. So they show which part of the
trade-off comes from the training and which from the architecture. Neither is in the paper.

```python
adversary = AdversarialTraining("trades", epsilon=0.1, num_steps=7)
training.fit_classifier(classifier, data, epochs=3, adversary=adversary)
```
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from qup import attacks
from qup.core import errors, gradients, norms, prng
from qup.core.classifier import get_classifier_program, predict_logits
from qup.core.types import Batch, LogitsFn

METHODS = ("pgd_at", "trades")
_PIXEL_BOUNDS = (0.0, 1.0)
# Standard deviation of the start of TRADES. At the image itself the divergence has no gradient.
_TRADES_NOISE_STDDEV = 1e-3


@dataclasses.dataclass(frozen=True)
class AdversarialTraining:
    """PGD-AT or TRADES in an L-inf ball, a `training.Adversary`.

    PGD-AT minimises E max_{|d| <= epsilon} l(f(X + d), Y*), the cross-entropy after a PGD that
    starts at a uniform point of the ball.

    TRADES minimises l(f(X), Y*) + beta max_{|d| <= epsilon} KL(f(X) || f(X+d)). It starts at the
    image plus Gaussian noise of standard deviation 0.001.

    The inner maximisation takes sign-gradient steps in inference mode, as TRADES does: batch
    statistics and dropout belong to the outer step alone. Each step is projected into the ball and
    into [0, 1].

    Attributes:
      method: "pgd_at" or "trades".
      epsilon: Radius of the ball, in units of [0, 1].
      num_steps: Steps of the inner maximisation, each a forward and a backward pass.
      step_size: Length of a step; None means 2.5 epsilon / num_steps, which reaches every point of
        the ball.
      beta: Weight of the divergence of TRADES (its 1 / lambda); PGD-AT has none.
      seed: Seed of the starts, together with the image's id and the number of the training step.

    References: Madry et al. 2018, arXiv 1706.06083, Eq. 2.1; Zhang et al. 2019, arXiv 1901.08573,
    Eq. 5 and Algorithm 1.
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
            raise errors.make_unknown_error("adversarial training", self.method, METHODS)
        errors.check_number("epsilon", self.epsilon, above=0)
        errors.check_number("num_steps", self.num_steps, at_least=1)
        errors.check_number("beta", self.beta, at_least=0)
        if self.step_size is not None:
            errors.check_number("step_size", self.step_size, above=0)

    @property
    def effective_step_size(self) -> float:
        """Length of a step, in units of [0, 1]."""
        if self.step_size is not None:
            return self.step_size
        return 2.5 * self.epsilon / self.num_steps

    def describe(self) -> dict[str, Any]:
        """Returns the parameters that measurement rows of such a network record."""
        parameters = {
            "method": self.method,
            "adversary_epsilon": self.epsilon,
            "adversary_num_steps": self.num_steps,
            "adversary_step_size": self.effective_step_size,
        }
        if self.method == "trades":
            parameters["adversary_beta"] = self.beta
        return parameters

    def perturb(
        self, classifier: keras.Model, images: tf.Tensor, batch: Batch, step: tf.Tensor
    ) -> tf.Tensor:
        """Returns the images after the inner maximisation, float32 [batch, ...]."""
        epsilon = tf.constant(self.epsilon, tf.float32)
        seed = tf.constant(self.seed, tf.int64)
        is_trades = self.method == "trades"
        sample_start = _sample_gaussian_start if is_trades else _sample_uniform_start
        target = batch["label"]
        if is_trades:
            logits = predict_logits(classifier, images)
            target = tf.nn.log_softmax(logits)
        maximise = get_classifier_program(
            classifier,
            ("adversary", self.method),
            lambda call: _build_inner_maximisation(
                call, _kl_divergence if is_trades else _cross_entropy
            ),
        )
        return maximise(
            sample_start(images, batch["id"], seed, step, epsilon),
            tf.constant(self.num_steps, tf.int32),
            images,
            target,
            epsilon,
            tf.constant(self.effective_step_size, tf.float32),
        )

    def loss(
        self, classifier: keras.Model, images: tf.Tensor, labels: tf.Tensor, perturbed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the outer loss, and logits: those of `perturbed` for PGD-AT, else of `images`."""
        if self.method == "pgd_at":
            logits = classifier(perturbed, training=True)
            return _cross_entropy(logits, labels), logits
        logits = classifier(images, training=True)
        perturbed_logits = classifier(perturbed, training=True)
        # l(f(X), Y*) + beta KL(f(X) || f(X'))             (TRADES, Eq. 5)
        divergence = _kl_divergence(perturbed_logits, tf.nn.log_softmax(logits))
        return _cross_entropy(logits, labels) + self.beta * divergence, logits


def _cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _kl_divergence(logits: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    """Returns KL(p || q) = sum_j p_j (ln p_j - ln q_j), float32 [batch].

    Args:
      logits: float32 [batch, classes]; their softmax is q.
      reference: float32 [batch, classes], ln p.
    """
    log_ratio = reference - tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(reference) * log_ratio, -1)


@tf.function(autograph=False)
def _sample_uniform_start(images, ids, seed, step, epsilon):
    keys = prng.make_keys(seed, ids, step)
    perturbed = images + norms.sample(images, epsilon, "linf", keys)
    return attacks.clip(perturbed, _PIXEL_BOUNDS)


@tf.function(autograph=False)
def _sample_gaussian_start(images, ids, seed, step, epsilon):
    keys = prng.make_keys(seed, ids, step)
    return images + _TRADES_NOISE_STDDEV * prng.normal(keys, images.shape[1:].as_list())


def _build_inner_maximisation(call: LogitsFn, objective):
    def step(perturbed, images, target, epsilon, step_size):
        _, gradient = gradients.compute_input_gradient(
            lambda inputs: objective(call(inputs), target), perturbed
        )
        perturbed += step_size * tf.sign(gradient)
        delta = norms.project(perturbed - images, epsilon, "linf")
        return attacks.clip(images + delta, _PIXEL_BOUNDS)

    return attacks.compile_repeated_step(step, "auto")
