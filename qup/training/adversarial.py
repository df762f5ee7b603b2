"""Adversarial training: PGD-AT, TRADES, MART, Free and Fast.

The paper states that accuracy and robustness exclude each other in a network with standard
training. These methods include robustness in their objective. So they show which part of the
trade-off comes from the training and which from the architecture. None of them is in the paper.

```python
adversary = AdversarialTraining("trades", epsilon=0.1, num_steps=7)
training.fit_classifier(classifier, data, epochs=3, adversary=adversary)
```

For a Keras model of your own, `training.fit` chooses the adversary by its name.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from qup import attacks
from qup.core import compilation, errors, gradients, norms, prng
from qup.core.classifier import get_classifier_program
from qup.core.types import Batch, LogitsFn
from qup.training.classifier import Adversary, StandardTraining

METHODS = ("pgd_at", "trades", "mart", "free", "fast")
NORMS = ("linf", "l2")
_INNER_METHODS = ("pgd_at", "trades", "mart", "fast")
_PIXEL_BOUNDS = (0.0, 1.0)
# Standard deviation of the start of TRADES. At the image itself the divergence has no gradient.
_TRADES_NOISE_STDDEV = 1e-3
_DEFAULT_NUM_STEPS = 7
_DEFAULT_BETA = {"mart": 5.0}
# The total length of all steps, in units of epsilon: it reaches every point of the ball.
_PATH_LENGTH = 2.5
# The step of Fast, in units of epsilon (Wong et al. 2020, section 5.1).
_FAST_STEP = 1.25


@dataclasses.dataclass(frozen=True)
class AdversarialTraining(Adversary):
    """PGD-AT, TRADES, MART or Fast: an inner maximisation, then a step on the outer loss.

    With p = softmax(f), X' the result of the inner maximisation in the ball |X' - X| <= epsilon:

    - PGD-AT minimises l(f(X'), Y*), the cross-entropy. X' is that of PGD on the cross-entropy from
      a uniform point of the ball.
    - TRADES minimises l(f(X), Y*) + beta KL(p(X) || p(X')). X' maximises the divergence, from the
      image plus Gaussian noise of standard deviation 0.001.
    - MART minimises BCE(p(X'), Y*) + beta KL(p(X) || p(X')) (1 - p_Y*(X)), where
      BCE(p, y) = -ln p_y - ln(1 - max_{k != y} p_k). X' is that of PGD-AT.
    - Fast is PGD-AT with a single step of 1.25 epsilon.

    The inner maximisation takes steps along the normalised gradient (L-inf: its sign) in inference
    mode, as TRADES does: batch statistics and dropout belong to the outer step alone. The authors
    of Fast compute their gradient in training mode. Each step is projected into the ball and into
    [0, 1].

    Attributes:
      method: "pgd_at", "trades", "mart" or "fast".
      epsilon: Radius of the ball, in units of [0, 1].
      num_steps: Steps of the inner maximisation, each a forward and a backward pass; None means 7,
        and 1 for Fast.
      step_size: Length of a step; None means 2.5 epsilon / num_steps, which reaches every point of
        the ball, and 1.25 epsilon for Fast.
      beta: Weight of the divergence, 1 / lambda of TRADES and lambda of MART; None means 6 and 5.
        The other methods have none.
      seed: Seed of the starts, together with the image's id and the number of the training step.
      norm: "linf" or "l2".
      xla: "auto", "on" or "off", see `compilation.use_xla`.
      warmup_steps: The radius and the step grow linearly over so many training steps. A network
        that starts in the whole ball may learn nothing; 0 is the definition of the papers.

    References: Madry et al. 2018, arXiv 1706.06083, Eq. 2.1; Zhang et al. 2019, arXiv 1901.08573,
    Eq. 5 and Algorithm 1; Wang et al. 2020, "Improving adversarial robustness requires revisiting
    misclassified examples" (ICLR), Eq. 8 to 11; Wong et al. 2020, arXiv 2001.03994, Algorithm 3.
    """

    method: str
    epsilon: float
    num_steps: int | None = None
    step_size: float | None = None
    beta: float | None = None
    seed: int = 0
    norm: str = "linf"
    xla: str = "auto"
    warmup_steps: int = 0

    def __post_init__(self):
        """Sets the defaults of the method; raises an InputError for an option out of its range."""
        if self.method not in _INNER_METHODS:
            raise errors.make_unknown_error("adversarial training", self.method, _INNER_METHODS)
        is_fast = self.method == "fast"
        if self.num_steps is None:
            object.__setattr__(self, "num_steps", 1 if is_fast else _DEFAULT_NUM_STEPS)
        if self.beta is None:
            object.__setattr__(self, "beta", _DEFAULT_BETA.get(self.method, 6.0))
        _check_ball(self.epsilon, self.norm)
        errors.check_number("num_steps", self.num_steps, at_least=1)
        errors.check_number("beta", self.beta, at_least=0)
        errors.check_number("warmup_steps", self.warmup_steps, at_least=0)
        if is_fast and self.num_steps != 1:
            raise errors.InputError(
                f"fast takes a single step; got num_steps={self.num_steps}. Use pgd_at for more."
            )
        if self.step_size is not None:
            errors.check_number("step_size", self.step_size, above=0)

    @property
    def effective_step_size(self) -> float:
        """Length of a step, in units of [0, 1]."""
        if self.step_size is not None:
            return self.step_size
        if self.method == "fast":
            return _FAST_STEP * self.epsilon
        return _PATH_LENGTH * self.epsilon / self.num_steps

    def describe(self) -> dict[str, Any]:
        """Returns the parameters that measurement rows of such a network record."""
        parameters = {
            "method": self.method,
            "adversary_epsilon": self.epsilon,
            "adversary_num_steps": self.num_steps,
            "adversary_step_size": self.effective_step_size,
        }
        if self.method in ("trades", "mart"):
            parameters["adversary_beta"] = self.beta
        options = {"norm": self.norm, "warmup_steps": self.warmup_steps}
        defaults = {"norm": "linf", "warmup_steps": 0}
        return parameters | {
            f"adversary_{name}": value for name, value in options.items() if value != defaults[name]
        }

    def perturb(
        self, classifier: keras.Model, images: tf.Tensor, batch: Batch, step: tf.Tensor
    ) -> tf.Tensor:
        """Returns the images after the inner maximisation, float32 [batch, ...]."""
        scale = _compute_warmup(step, self.warmup_steps)
        epsilon = scale * tf.constant(self.epsilon, tf.float32)
        seed = tf.constant(self.seed, tf.int64)
        is_trades = self.method == "trades"
        if is_trades:
            start = _sample_gaussian_start(images, batch["id"], seed, step)
            predict = get_classifier_program(classifier, "adversary logits", _build_predict)
            target = tf.nn.log_softmax(predict(images))
        else:
            sample = _sample_l2_start if self.norm == "l2" else _sample_uniform_start
            start = sample(images, batch["id"], seed, step, epsilon)
            target = batch["label"]
        objective = _kl_divergence if is_trades else _cross_entropy
        maximise = get_classifier_program(
            classifier,
            ("adversary", is_trades, self.norm, self.xla),
            lambda call: _build_inner_maximisation(call, objective, self.norm, self.xla),
        )
        step_size = scale * tf.constant(self.effective_step_size, tf.float32)
        return maximise(start, self.num_steps, images, target, epsilon, step_size)

    def loss(
        self, classifier: keras.Model, images: tf.Tensor, labels: tf.Tensor, perturbed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the outer loss and logits: of `images` for TRADES and MART, else of `perturbed`.

        TRADES and MART run the classifier twice in training mode, as their authors do: each batch
        normalisation averages the clean and the perturbed images.
        """
        if self.method in ("pgd_at", "fast"):
            logits = classifier(perturbed, training=True)
            return _cross_entropy(logits, labels), logits
        logits = classifier(images, training=True)
        perturbed_logits = classifier(perturbed, training=True)
        divergence = _kl_divergence(perturbed_logits, tf.nn.log_softmax(logits))
        if self.method == "trades":
            # l(f(X), Y*) + beta KL(f(X) || f(X'))             (TRADES, Eq. 5)
            return _cross_entropy(logits, labels) + self.beta * divergence, logits
        # BCE(p(X'), Y*) + beta KL(p(X) || p(X')) (1 - p_Y*(X))   (MART, Eq. 11)
        doubt = 1.0 - tf.exp(-_cross_entropy(logits, labels))
        losses = _boosted_cross_entropy(perturbed_logits, labels) + self.beta * divergence * doubt
        return losses, logits


class FreeTraining(Adversary):
    """Free: one backward pass gives the gradient of the weights and that of the images.

    Each batch is repeated m times. Every repeat takes a step of the weights on l(f(X + d), Y*), and
    a step d <- P(d + epsilon g / |g|) of the perturbation (L-inf: epsilon sign(g)), g the gradient
    of the same pass and P the projection into the ball. The next batch starts at the d of the batch
    before it. Pixels X + d are clipped to [0, 1], which Algorithm 1 does not do.

    Attributes:
      epsilon: Radius of the ball and length of a step, in units of [0, 1].
      num_replays: m, the repeats of a batch.
      norm: "linf" or "l2".
      warmup_steps: See `AdversarialTraining`.

    Reference: Shafahi et al. 2019, arXiv 1904.12843, Algorithm 1.
    """

    needs_image_gradient = True

    def __init__(
        self, epsilon: float, *, num_replays: int = 8, norm: str = "linf", warmup_steps: int = 0
    ):
        """Raises an InputError for an option out of its range."""
        _check_ball(epsilon, norm)
        errors.check_number("num_replays", num_replays, at_least=1)
        errors.check_number("warmup_steps", warmup_steps, at_least=0)
        self.epsilon, self.num_replays, self.norm = epsilon, int(num_replays), norm
        self.warmup_steps = warmup_steps
        self._delta: tf.Variable | None = None
        # The radius of the current step; `perturb` sets it.
        self._radius: tf.Variable | None = None

    @property
    def variables(self) -> Mapping[str, tf.Variable]:
        """The perturbation of the last batch."""
        return {} if self._delta is None else {"delta": self._delta}

    def describe(self) -> dict[str, Any]:
        """Returns the parameters that identify the training."""
        return {
            "method": "free",
            "adversary_epsilon": self.epsilon,
            "adversary_num_replays": self.num_replays,
            "adversary_norm": self.norm,
            "adversary_warmup_steps": self.warmup_steps,
        }

    def build(self, batch_shape: Sequence[int]) -> None:
        """Starts at the images themselves."""
        self._delta = tf.Variable(tf.zeros(batch_shape), trainable=False, name="delta")
        self._radius = tf.Variable(self.epsilon, dtype=tf.float32, trainable=False)

    def perturb(self, classifier, images, batch, step) -> tf.Tensor:
        """Returns X + d, clipped."""
        if self.warmup_steps:
            self._radius.assign(self.epsilon * _compute_warmup(step, self.warmup_steps))
        return attacks.clip(images + self._delta, _PIXEL_BOUNDS)

    def loss(self, classifier, images, labels, perturbed) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the cross-entropy of the perturbed images, and their logits."""
        logits = classifier(perturbed, training=True)
        return _cross_entropy(logits, labels), logits

    def update(self, image_gradient: tf.Tensor) -> None:
        """Takes the step of the perturbation."""
        delta = self._delta + self._radius * norms.normalise(image_gradient, self.norm)
        self._delta.assign(norms.project(delta, self._radius, self.norm))


def build_adversary(
    method: str,
    *,
    epsilon: float | None,
    norm: str = "linf",
    num_steps: int | None = None,
    step_size: float | None = None,
    beta: float | None = None,
    num_replays: int | None = None,
    warmup_steps: int = 0,
    seed: int = 0,
    xla: str = "auto",
) -> Adversary:
    """Returns the adversary of a method; None leaves an option to the method.

    Raises:
      InputError: The method is unknown, or does not have an option.
    """
    if method not in ("standard", *METHODS):
        raise errors.make_unknown_error("method of training", method, ("standard", *METHODS))
    if method != "standard" and epsilon is None:
        raise errors.InputError(
            f"{method} needs epsilon, in units of [0, 1], such as 8 / 255. Without it use "
            "method='standard'."
        )
    options = {"num_steps": num_steps, "step_size": step_size, "beta": beta}
    allowed = {"trades": set(options), "mart": set(options), "pgd_at": {"num_steps", "step_size"}}
    allowed |= {"fast": {"step_size"}, "free": {"num_replays"}}
    for name, value in {**options, "num_replays": num_replays}.items():
        if value is not None and name not in allowed.get(method, ()):
            owners = ", ".join(owner for owner, names in allowed.items() if name in names)
            raise errors.InputError(
                f"{method} has no option {name}; got {value}. It belongs to {owners}. Omit it."
            )
    if method == "standard":
        return StandardTraining()
    if method == "free":
        num_replays = 8 if num_replays is None else num_replays
        return FreeTraining(epsilon, num_replays=num_replays, norm=norm, warmup_steps=warmup_steps)
    options |= {"seed": seed, "norm": norm, "xla": xla, "warmup_steps": warmup_steps}
    return AdversarialTraining(method, epsilon, **options)


def _compute_warmup(step: tf.Tensor, warmup_steps: int) -> tf.Tensor:
    """Returns the factor of epsilon in a training step, from 0; float32 scalar."""
    if not warmup_steps:
        return tf.constant(1.0)
    return tf.minimum((tf.cast(step, tf.float32) + 1.0) / warmup_steps, 1.0)


def _check_ball(epsilon: float, norm: str) -> None:
    """Raises an InputError for a radius that is not positive, or not in units of [0, 1]."""
    norms.check_norm(norm, NORMS)
    errors.check_number("epsilon", epsilon, above=0)
    if norm == "linf" and epsilon > 1:
        raise errors.InputError(
            f"epsilon must be in units of [0, 1], the range of pixels; got {epsilon:g}. Divide by "
            "255 if it is for 8-bit pixels."
        )


def _cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def _boosted_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns -ln p_y - ln(1 - max_{k != y} p_k), float32 [batch] (MART, Eq. 8).

    1 - p_j is the sum of the other probabilities. Its logarithm is a difference of two sums of
    exponentials, and is finite for every finite logit.
    """
    num_classes = logits.shape[-1]
    is_label = tf.one_hot(labels, num_classes, on_value=True, off_value=False, dtype=tf.bool)
    rival = tf.argmax(tf.where(is_label, logits.dtype.min, logits), -1)
    is_rival = tf.one_hot(rival, num_classes, on_value=True, off_value=False, dtype=tf.bool)
    others = tf.reduce_logsumexp(tf.where(is_rival, logits.dtype.min, logits), -1)
    return _cross_entropy(logits, labels) + tf.reduce_logsumexp(logits, -1) - others


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
def _sample_l2_start(images, ids, seed, step, epsilon):
    keys = prng.make_keys(seed, ids, step)
    return attacks.clip(images + norms.sample(images, epsilon, "l2", keys), _PIXEL_BOUNDS)


@tf.function(autograph=False)
def _sample_gaussian_start(images, ids, seed, step):
    keys = prng.make_keys(seed, ids, step)
    return images + _TRADES_NOISE_STDDEV * prng.normal(keys, images.shape[1:].as_list())


def _build_predict(call: LogitsFn) -> Callable:
    return tf.function(call, autograph=False)


def _build_inner_maximisation(call: LogitsFn, objective: Callable, norm: str, xla: str) -> Callable:
    """Returns (start, num_steps, images, target, epsilon, step_size) -> images.

    With XLA the whole loop is one program. Without it the step is compiled and the loop runs in
    Python, which is faster on a CPU, see `attacks.compile_repeated_step`.
    """

    def step(perturbed, images, target, epsilon, step_size):
        _, gradient = gradients.compute_input_gradient(
            lambda inputs: objective(call(inputs), target), perturbed
        )
        gradient = gradients.replace_non_finite(gradient)
        perturbed += step_size * norms.normalise(gradient, norm)
        delta = norms.project(perturbed - images, epsilon, norm)
        return attacks.clip(images + delta, _PIXEL_BOUNDS)

    if not compilation.use_xla(xla):
        compiled_step = compilation.compile_function(step, xla, reduce_retracing=True)

        def run(perturbed, num_steps, *rest):
            for _ in range(num_steps):
                perturbed = compiled_step(perturbed, *rest)
            return perturbed

        return run

    def run_in_graph(perturbed, num_steps, *rest):
        _, result = tf.while_loop(
            lambda i, _: i < num_steps,
            lambda i, current: (i + 1, step(current, *rest)),
            (tf.constant(0), perturbed),
            parallel_iterations=1,
        )
        return result

    compiled_run = compilation.compile_function(run_in_graph, xla)
    return lambda perturbed, num_steps, *rest: compiled_run(
        perturbed, tf.constant(num_steps, tf.int32), *rest
    )
