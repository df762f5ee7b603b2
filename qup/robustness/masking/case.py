"""What a diagnosis examines: a classifier, images, a budget, an attack.

```python
case = Case.of(classifier, images, labels, epsilon=0.1)
case.right.mean(), case.answers.num_classes
```
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks import inputs
from qup.core import compilation, errors, gradients, norms
from qup.core.types import Bounds, LogitsFn

# A gradient of zero for classifiers that have none at all.
#
# Rounding, casts and NumPy code cut the chain from the logits to the image;
# an attack that needs a gradient then refuses to run. The checks shall run
# and say what follows: such an attack does not move.
#
# ```python
# classifier = connected(classifier, images)
# ```


def connect_gradient(logits_fn: LogitsFn, images: np.ndarray) -> LogitsFn:
    """Returns the classifier, with a gradient of zero where it has none.

    Args:
      logits_fn: The classifier, kept alive by the caller.
      images: float32 [n, ...], of which the first is tried.

    Returns:
      `logits_fn` itself where it has a gradient, else a function of the
      same logits, kept with it.
    """
    connected_fn = compilation.get_program(
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
        bounds = inputs.validate_bounds(settings.get("bounds", (0.0, 1.0)))
        images, labels = inputs.check_batch(images, labels, bounds)
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
        inputs.check_label_range(case.labels, case.classifier_info.num_classes)
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
    def classifier_info(self) -> inputs.ClassifierInfo:
        """How many classes there are, and whether as probabilities."""
        batch = tf.constant(self.images[: self.batch_size])
        return inputs.inspect_classifier(self.classifier, batch)

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


# What a check of masking found: numbers, a status, and words.
#
# ```python
# Finding("noise", {"robust_accuracy_noise": 97.0}, PASSED, "...", n=200)
# ```


PASSED = "passed"
FLAGGED = "flagged"
# Also where a check ran and could not decide: never to be read as passed.
NOT_CHECKED = "not checked"


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One result of a diagnosis.

    Attributes:
      name: Of the check.
      values: The numbers measured; accuracies and shares in percent.
      status: "passed", "flagged" or "not checked".
      message: One or two sentences: what was measured, what it suggests.
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
    """Returns the finding of a check that was not made."""
    return CheckResult(name, {}, NOT_CHECKED, reason, n)


# A check as a function of a classifier and images.


# What every check takes besides the classifier, images and labels.
CASE_OPTIONS = ("epsilon", "norm", "bounds", "seed", "batch_size", "attack", "attack_options")


def get_check_options(check: Callable) -> dict[str, inspect.Parameter]:
    """Returns the keyword-only parameters of a check, by name."""
    parameters = inspect.signature(check).parameters
    return {k: p for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def wrap_check(check: Callable[..., CheckResult]) -> Callable[..., CheckResult]:
    """Returns the check as a function of a classifier and images.

    Args:
      check: check(case, **options) -> Finding.

    Returns:
      A function of `logits_fn`, `images` and `labels`, by keyword the
      attributes of a `DiagnosisCase` and the check's own options.
    """
    check_options = get_check_options(check)

    def run(logits_fn: LogitsFn, images, labels, *, epsilon: float, **options: Any) -> CheckResult:
        for option in options:
            if option not in {*check_options, *CASE_OPTIONS}:
                known = [*CASE_OPTIONS, *check_options]
                raise errors.make_unknown_error(f"option of {check.__name__}", option, known)
        check_arguments = {k: v for k, v in options.items() if k in check_options}
        case_arguments = {k: v for k, v in options.items() if k not in check_options}
        case = DiagnosisCase.create(logits_fn, images, labels, epsilon=epsilon, **case_arguments)
        return check(case, **check_arguments)

    case_parameters = inspect.signature(DiagnosisCase).parameters
    positional = list(inspect.signature(run).parameters.values())[:3]
    run.__signature__ = inspect.Signature(
        [*positional, *(case_parameters[name] for name in CASE_OPTIONS), *check_options.values()]
    )
    run.__name__ = run.__qualname__ = check.__name__
    run.__module__, run.__doc__ = check.__module__, check.__doc__
    return run
