"""Image-shaped fields for Fourier spectra: images, gradients, Delta_n and translator errors.

```python
spec = SpectralFieldSpec(iterate_options={"num_steps": 20, ...}, steps=[20])
for key, field in compute_fields(classifier, batch, spec).items(): ...
```
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qup.attacks import losses
from qup.augmentation import opposite_fgsm
from qup.core import compilation, errors, gradients, prng
from qup.core.classifier import get_classifier_program
from qup.core.types import Batch, LogitsFn


@dataclasses.dataclass(frozen=True)
class SpectralFieldSpec:
    """Selects the fields.

    Attributes:
      loss: Name of the loss, see attacks.losses.
      iterate_options: Keyword arguments of `opposite_fgsm.iterate`, whose num_steps is N; None for
        no Delta_n.
      steps: The n of the fields Delta_n.
      translator: Image to Delta_N; None for no fields of a translator.
      seed: Of the random signs.
    """

    loss: str = "log_odds"
    iterate_options: Mapping[str, Any] | None = None
    steps: Sequence[int] = ()
    translator: LogitsFn | None = None
    seed: int = 0

    def __post_init__(self):
        """Raises an InputError for options that contradict one another."""
        losses.get(self.loss)
        if self.translator is not None and self.iterate_options is None:
            raise errors.InputError(
                "The error of a translator requires its Delta_N. Pass deltas in addition to the "
                "translator."
            )
        last = self.iterate_options["num_steps"] if self.iterate_options else 0
        for step in self.steps:
            if not 1 <= step <= last:
                raise errors.InputError(
                    f"Delta_n exists for n from 1 to {last}; got n = {step}. Choose other steps, "
                    "or pass deltas of more steps."
                )

    @property
    def delta_steps(self) -> list[int]:
        """The n of all Delta_n, ascending; with N if there is a translator."""
        last = {self.iterate_options["num_steps"]} if self.translator is not None else ()
        return sorted({*self.steps, *last})

    def describe_fields(self) -> dict[str, dict[str, Any]]:
        """Returns the row parameters of each field of `compute_fields`."""
        descriptions = {
            "data": {"field": "data"},
            "random_signs": {"field": "random_signs", "draw": self.seed},
            "gradient": {"field": "gradient", "loss": self.loss},
            "delta_1": {"field": "delta", "step": 1, "pixel_clip": False, "loss": self.loss},
        }
        for step in self.delta_steps:
            descriptions[_format_iterate_key(step)] = {
                "field": "walk",
                "step": step,
                "pixel_clip": self.iterate_options["bounds"] is not None,
                "loss": self.iterate_options["loss"],
                "step_size": self.iterate_options["step_size"],
            }
        if self.translator is not None:
            target_description = descriptions[_format_iterate_key(self.delta_steps[-1])]
            descriptions["translated"] = {**target_description, "field": "translated"}
            descriptions["error"] = {**target_description, "field": "error"}
        return descriptions


def _format_iterate_key(step: int) -> str:
    return f"walk_{step}"


def compute_fields(
    logits_fn: LogitsFn, batch: Batch, spec: SpectralFieldSpec
) -> dict[str, np.ndarray]:
    """Computes the fields of a batch, without rows of weight 0.

    Returns:
      float32 [n, height, width, channels] by key: "data", the images; "random_signs"; "gradient" of
      the loss of the true label; "delta_1", Delta_1 / epsilon of supplement Eq. 1, that is
      -sign(gradient), without clip; "walk_n", Delta_n of opposite FGSM, with its clip;
      "translated", G(X_0); and "error", G(X_0) minus Delta_N of the true label.
    """
    is_real = batch["weight"].numpy() > 0
    images, labels = batch["image"], batch["label"]
    gradient = _get_gradient_program(logits_fn, spec.loss)(images, labels)
    keys = prng.make_keys(spec.seed, batch["id"])
    fields = {
        "data": images,
        "random_signs": prng.rademacher(keys, images.shape[1:]),
        "gradient": gradient,
        # Delta_1 = -epsilon sign(grad_X l(f(X_0), Y*))       (S, Eqs. 1, 2)
        "delta_1": -tf.sign(gradient),
    }
    deltas = dict(_iterate_deltas(logits_fn, images, labels, spec))
    fields |= deltas
    if spec.translator is not None:
        translated = compilation.predict(spec.translator, images)
        fields["translated"] = translated
        fields["error"] = translated - deltas[_format_iterate_key(spec.delta_steps[-1])]
    return {key: field.numpy()[is_real] for key, field in fields.items()}


def _iterate_deltas(
    logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, spec: SpectralFieldSpec
) -> Iterator[tuple[str, tf.Tensor]]:
    """Yields Delta_n for each n of `spec.delta_steps`."""
    current, num_done = images, 0
    for point in spec.delta_steps:
        current = opposite_fgsm.iterate(
            logits_fn, current, labels, **{**spec.iterate_options, "num_steps": point - num_done}
        )
        num_done = point
        yield _format_iterate_key(point), current - images


def _get_gradient_program(logits_fn: LogitsFn, loss: str) -> Callable:
    loss_fn = losses.get(loss)

    def build(call: LogitsFn) -> Callable:
        def compute_gradient(images, labels):
            return gradients.compute_input_gradient(
                lambda inputs: loss_fn(call(inputs), labels), images
            )[1]

        return tf.function(compute_gradient, autograph=False, reduce_retracing=True)

    return get_classifier_program(logits_fn, ("input gradient", loss), build)
