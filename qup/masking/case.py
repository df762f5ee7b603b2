"""What a diagnosis examines: a classifier, images, a budget, an attack.

```python
case = Case.of(classifier, images, labels, epsilon=0.1)
case.right.mean(), case.answers.num_classes
```
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup import compilation, errors, norms
from qup.attacks.base import checks
from qup.masking.connection import connect_gradient
from qup.types import Bounds, LogitsFn


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class DiagnosisCase:
    """A classifier on images, and the evaluation that is to be trusted.

    Attributes:
      classifier: As it was given.
      images: float32 [n, ...].
      labels: int32 [n].
      epsilon: The budget in the units of `bounds`.
      norm: "linf", "l2" or "l1".
      bounds: (lowest, highest) pixel, or None.
      seed: Drives every random number.
      batch_size: Rows a batch.
      attack: The white-box attack under test; None for PGD-40 with random
        start and cross-entropy (in L1 for apgd_ce).
      attack_options: Its options.
      options: The options of checks, by check.
      cache: What was found already.
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
        """Checks what was given.

        Args:
          logits_fn: The classifier, a Keras model or a function.
          images: float [n, ...] inside the bounds, n at least 1.
          labels: int [n].
          **settings: The other attributes.

        Raises:
          InputError: Something that cannot be examined.
        """
        errors.check_number("epsilon", settings["epsilon"], above=0)
        norms.check_norm(settings.get("norm", "linf"))
        bounds = checks.validate_bounds(settings.get("bounds", (0.0, 1.0)))
        images, labels = checks.check_batch(images, labels, bounds)
        if not len(labels):
            raise errors.InputError(
                "A diagnosis needs at least one image; got none. A few "
                "hundred give numbers that mean something."
            )
        if settings.get("attack_options") and not settings.get("attack"):
            raise errors.InputError(
                "attack_options are those of an attack that is named: give "
                "attack=... as well, such as 'pgd'."
            )
        size = settings.get("batch_size", cls.batch_size)
        errors.check_number("batch_size", size, at_least=1)
        settings |= {"bounds": bounds, "batch_size": min(size, len(labels))}
        case = cls(classifier=logits_fn, images=images.numpy(), labels=labels.numpy(), **settings)
        checks.check_label_range(case.labels, case.classifier_info.num_classes)
        return case

    def with_classifier(self, logits_fn: LogitsFn, images, labels) -> "DiagnosisCase":
        """Returns the same evaluation of another classifier and images."""
        return dataclasses.replace(
            self, classifier=logits_fn, images=images, labels=labels, cache={}
        )

    @functools.cached_property
    def logits_fn(self) -> LogitsFn:
        """The classifier, with a gradient of zero where it has none."""
        return connect_gradient(self.classifier, self.images)

    @property
    def differentiable(self) -> bool:
        """Whether the logits have any gradient by the image."""
        return self.logits_fn is self.classifier

    @property
    def classifier_info(self) -> checks.ClassifierInfo:
        """How many classes there are, and whether as probabilities."""
        batch = tf.constant(self.images[: self.batch_size])
        return checks.inspect_classifier(self.classifier, batch)

    @functools.cached_property
    def clean_correct(self) -> np.ndarray:
        """Which clean images are classified as their label: bool [n]."""
        return self.compute_correct_mask(self.images)

    def compute_correct_mask(self, images: np.ndarray) -> np.ndarray:
        """Marks which of `images` are classified as their label."""
        return self.predict(images).argmax(-1) == self.labels

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns what the classifier answers: float32 [m, classes]."""
        return self.run_batched(lambda rows: (compilation.predict(self.classifier, rows),), images)[
            0
        ]

    def run_batched(self, run: Callable, *columns: np.ndarray) -> tuple:
        """Runs batches of one size over rows.

        Args:
          run: Tensors [batch, ...] -> a tuple of tensors [batch, ...].
          *columns: Arrays [m, ...].

        Returns:
          A tuple of arrays [m, ...].
        """
        count, batches = len(columns[0]), []
        for start in range(0, count, self.batch_size):
            rows = np.arange(start, start + self.batch_size)
            rows = np.minimum(rows, count - 1)
            outputs = run(*(tf.constant(column[rows]) for column in columns))
            batches.append([value.numpy()[: count - start] for value in outputs])
        return tuple(np.concatenate(chunks) for chunks in zip(*batches, strict=True))
