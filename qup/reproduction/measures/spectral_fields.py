"""The fields whose spectra are told: data, gradients, walks and errors.

```python
for key, field in of_batch(classifier, batch, plan).items(): ...
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
from qup.core.types import Batch, LogitsFn


@dataclasses.dataclass(frozen=True)
class SpectralFieldSpec:
    """Which fields are made, and how.

    Attributes:
      loss: Name of the loss, see attacks.losses.
      iterate_options: Keyword arguments of `opposite_fgsm.walk`, whose num_steps is N;
        None for no walk.
      steps: The n at which Delta_n of the walk is looked at.
      translator: Image to Delta_N; None for none.
      seed: Of the random signs.
    """

    loss: str = "log_odds"
    iterate_options: Mapping[str, Any] | None = None
    steps: Sequence[int] = ()
    translator: LogitsFn | None = None
    seed: int = 0

    def __post_init__(self):
        """Raises an InputError for what does not fit."""
        losses.get(self.loss)
        if self.translator is not None and self.iterate_options is None:
            raise errors.InputError(
                "A translator's error needs the walk that it learnt. Give "
                "the deltas beside the translator."
            )
        last = self.iterate_options["num_steps"] if self.iterate_options else 0
        for step in self.steps:
            if not 1 <= step <= last:
                raise errors.InputError(
                    f"Delta_n is to be had for n from 1 to {last} of the "
                    f"walk; got n = {step}. Choose other steps, or give the "
                    "deltas of a longer walk."
                )

    @property
    def delta_steps(self) -> list[int]:
        """The n of all Delta_n of the walk, in order; N where it is learnt."""
        last = {self.iterate_options["num_steps"]} if self.translator is not None else ()
        return sorted({*self.steps, *last})

    def describe_fields(self) -> dict[str, dict[str, Any]]:
        """Returns the keys of `compute_fields`, and what tells each in a row."""
        descriptions = {
            "data": {"field": "data"},
            "random_signs": {"field": "random_signs", "draw": self.seed},
            "gradient": {"field": "gradient", "loss": self.loss},
            "delta_1": {"field": "delta", **_build_step_parameters(1), "loss": self.loss},
        }
        walk_settings = {k: v for k, v in (self.iterate_options or {}).items() if k != "num_steps"}
        for step in self.delta_steps:
            clip = walk_settings["bounds"] is not None
            descriptions[_format_iterate_key(step)] = {
                "field": "walk",
                **_build_step_parameters(step),
                "loss": walk_settings["loss"],
                "step_size": walk_settings["step_size"],
                "pixel_clip": clip,
            }
        if self.translator is not None:
            target_description = descriptions[_format_iterate_key(self.delta_steps[-1])]
            descriptions["translated"] = {**target_description, "field": "translated"}
            descriptions["error"] = {**target_description, "field": "error"}
        return descriptions


def _build_step_parameters(step: int) -> dict[str, Any]:
    return {"step": step, "pixel_clip": False}


def _format_iterate_key(step: int) -> str:
    return f"walk_{step}"


def compute_fields(
    logits_fn: LogitsFn, batch: Batch, spec: SpectralFieldSpec
) -> dict[str, np.ndarray]:
    """Makes the fields of a batch.

    Args:
      logits_fn: The classifier.
      batch: The images; rows of weight 0 are left out.
      spec: What is made.

    Returns:
      float32 [n, height, width, channels] by key: "data", the images;
      "random_signs", of the same shape; "gradient" of the loss of the true
      label; "delta_1", Delta_1 / epsilon of supplement Eq. 1, that is
      -sign(gradient), no pixel clipped; "walk_n", Delta_n as the walk goes,
      clipped if it is; "translated", G(X_0); and "error", G(X_0) less
      Delta_N of the true label.
    """
    is_real = batch["weight"].numpy() > 0
    images, labels = batch["image"], batch["label"]
    gradient = _get_gradient_program(logits_fn, spec.loss)(images, labels)
    keys = prng.make_keys(spec.seed, batch["id"])
    fields = {
        "data": images,
        "random_signs": prng.signs(keys, images.shape[1:]),
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
    """Yields Delta_n at the points of the walk."""
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

    return compilation.get_program(logits_fn, ("input gradient", loss), build)
