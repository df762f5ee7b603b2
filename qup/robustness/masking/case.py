"""What a check of masking examines (`DiagnosisCase`) and what it returns (`CheckResult`).

```python
case = DiagnosisCase.create(classifier, images, labels, epsilon=0.1)
case.clean_correct.mean(), case.classifier_info.num_classes
CheckResult("noise", {"robust_accuracy_noise": 97.0}, PASSED, "...", n=200)
```
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks import inputs
from qup.core import errors, gradients, norms
from qup.core.classifier import (
    ClassifierInfo,
    get_classifier_program,
    inspect_classifier,
    predict_logits,
)
from qup.core.types import Bounds, LogitsFn

PASSED = "passed"
FLAGGED = "flagged"
# Also if a check was undecided: it never means "passed".
NOT_CHECKED = "not checked"
# Each status as a number, for measurements.
STATUS_VALUES = {PASSED: 0.0, FLAGGED: 1.0, NOT_CHECKED: math.nan}


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One result of a diagnosis.

    Attributes:
      name: Name of the check.
      values: The numbers measured; accuracies and shares in percent.
      status: "passed", "flagged" or "not checked".
      message: One or two sentences: the measurement, and what it suggests.
      n: Number of images.
      arrays: Curves and surfaces, for figures.
    """

    name: str
    values: Mapping[str, float]
    status: str
    message: str
    n: int
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def build_unchecked_result(name: str, reason: str, n: int) -> CheckResult:
    """Returns the result of a check that was not made."""
    return CheckResult(name, {}, NOT_CHECKED, reason, n)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class DiagnosisCase:
    """A classifier on images, and the attack under test.

    Attributes:
      classifier: The original classifier.
      images: float32 [n, ...].
      labels: int32 [n].
      epsilon: The budget in the units of `bounds`.
      norm: "linf", "l2" or "l1".
      bounds: (lowest, highest) pixel, or None.
      seed: Seed of all random numbers.
      batch_size: Rows per batch.
      attack: The white-box attack under test; None means PGD-40 with random start and cross-entropy
        (in L1 apgd_ce).
      attack_options: Its options.
      options: The options of checks, by check.
      cache: Results shared by the checks.
    """

    classifier: LogitsFn
    images: np.ndarray
    labels: np.ndarray
    epsilon: float
    norm: str = "linf"
    bounds: Bounds = (0.0, 1.0)
    seed: int = 0
    batch_size: int = 128
    attack: str | Callable | None = None
    attack_options: Mapping[str, Any] | None = None
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    cache: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def create(cls, logits_fn: LogitsFn, images, labels, **settings) -> "DiagnosisCase":
        """Checks the arguments and creates a case.

        Args:
          logits_fn: The classifier, a Keras model or a function.
          images: float [n, ...] inside the bounds, or uint8 (value / 255), n at least 1.
          labels: int [n].
          **settings: The other attributes.

        Raises:
          InputError: An argument that cannot be used.
        """
        errors.check_number("epsilon", settings["epsilon"], above=0)
        norms.check_norm(settings.get("norm", "linf"))
        bounds = inputs.validate_bounds(settings.get("bounds", (0.0, 1.0)))
        images, labels = inputs.check_batch(images, labels, bounds)
        if not len(labels):
            raise errors.InputError(
                "A diagnosis needs at least one image; got none. A few hundred images give "
                "meaningful numbers."
            )
        if settings.get("attack_options") and not settings.get("attack"):
            raise errors.InputError(
                "attack_options need the name of an attack: give attack=... as well, such as 'pgd'."
            )
        size = settings.get("batch_size", cls.batch_size)
        errors.check_number("batch_size", size, at_least=1)
        settings |= {"bounds": bounds, "batch_size": min(size, len(labels))}
        case = cls(classifier=logits_fn, images=images.numpy(), labels=labels.numpy(), **settings)
        inputs.check_label_range(case.labels, case.classifier_info.num_classes)
        return case

    def with_classifier(self, logits_fn: LogitsFn, images, labels) -> "DiagnosisCase":
        """Returns the same case for another classifier and other images."""
        return dataclasses.replace(
            self, classifier=logits_fn, images=images, labels=labels, cache={}
        )

    @functools.cached_property
    def logits_fn(self) -> LogitsFn:
        """The classifier, with a gradient of zero if it has none."""
        return connect_gradient(self.classifier, self.images)

    @property
    def differentiable(self) -> bool:
        """Whether the logits have a gradient with respect to the image."""
        return self.logits_fn is self.classifier

    @property
    def classifier_info(self) -> ClassifierInfo:
        """The number of classes, and whether the outputs are probabilities."""
        batch = tf.constant(self.images[: self.batch_size])
        return inspect_classifier(self.classifier, batch)

    @functools.cached_property
    def clean_correct(self) -> np.ndarray:
        """Which clean images are classified as their label: bool [n]."""
        return self.compute_correct_mask(self.images)

    def compute_correct_mask(self, images: np.ndarray) -> np.ndarray:
        """Marks which of `images` are classified as their label."""
        return self.predict(images).argmax(-1) == self.labels

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the outputs of the classifier: float32 [m, classes]."""
        (logits,) = self.run_batched(lambda rows: (predict_logits(self.classifier, rows),), images)
        return logits

    def run_batched(self, run: Callable, *columns: np.ndarray) -> tuple:
        """Applies a function to rows in batches of one shape.

        Args:
          run: Tensors [batch, ...] -> a tuple of tensors [batch, ...].
          *columns: Arrays [m, ...].

        Returns:
          A tuple of arrays [m, ...].
        """
        batches = []
        for rows, num_real in inputs.iterate_padded_rows(len(columns[0]), self.batch_size):
            outputs = run(*(tf.constant(column[rows]) for column in columns))
            batches.append([value.numpy()[:num_real] for value in outputs])
        return tuple(np.concatenate(chunks) for chunks in zip(*batches, strict=True))


def connect_gradient(logits_fn: LogitsFn, images: np.ndarray) -> LogitsFn:
    """Returns the classifier, with a gradient of zero if it has none.

    Rounding, casts and NumPy code cut the chain from the logits to the image, and a gradient attack
    then refuses to run. With a zero gradient the checks run and report that such an attack does not
    move.

    Args:
      logits_fn: The classifier, kept alive by the caller.
      images: float32 [n, ...]; the first one is tested.
    """
    connected_fn = get_classifier_program(
        logits_fn,
        "masking connection",
        lambda call: _build_connected_fn(call, tf.constant(images[:1])),
    )
    return logits_fn if connected_fn is None else connected_fn


def _build_connected_fn(call: LogitsFn, image: tf.Tensor) -> LogitsFn | None:
    _, _, gradient = gradients.differentiate_logits(
        call, lambda logits: tf.reduce_sum(logits, -1), image
    )
    if gradient is not None:
        return None

    def with_gradient(images: tf.Tensor) -> tf.Tensor:
        axes = list(range(1, images.shape.rank))
        return call(images) + 0.0 * tf.reduce_sum(images, axes)[:, None]

    return with_gradient
