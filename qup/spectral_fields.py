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

from qup import compilation, draws, errors, gradients, opposite_fgsm
from qup.attacks import losses
from qup.types import Batch, LogitsFn


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which fields are made, and how.

    Attributes:
      loss: Name of the loss, see attacks.losses.
      walk: Keyword arguments of `opposite_fgsm.walk`, whose num_steps is N;
        None for no walk.
      steps: The n at which Delta_n of the walk is looked at.
      translator: Image to Delta_N; None for none.
      seed: Of the random signs.
    """

    loss: str = "log_odds"
    walk: Mapping[str, Any] | None = None
    steps: Sequence[int] = ()
    translator: LogitsFn | None = None
    seed: int = 0

    def __post_init__(self):
        """Raises an InputError for what does not fit."""
        losses.get(self.loss)
        if self.translator is not None and self.walk is None:
            raise errors.InputError(
                "A translator's error needs the walk that it learnt. Give "
                "the deltas beside the translator."
            )
        last = self.walk["num_steps"] if self.walk else 0
        for step in self.steps:
            if not 1 <= step <= last:
                raise errors.InputError(
                    f"Delta_n is to be had for n from 1 to {last} of the "
                    f"walk; got n = {step}. Choose other steps, or give the "
                    "deltas of a longer walk."
                )

    @property
    def points(self) -> list[int]:
        """The n of all Delta_n of the walk, in order; N where it is learnt."""
        last = {self.walk["num_steps"]} if self.translator is not None else ()
        return sorted({*self.steps, *last})

    def told(self) -> dict[str, dict[str, Any]]:
        """Returns the keys of `of_batch`, and what tells each in a row."""
        found = {
            "data": {"field": "data"},
            "random_signs": {"field": "random_signs", "draw": self.seed},
            "gradient": {"field": "gradient", "loss": self.loss},
            "delta_1": {"field": "delta", **_step(1), "loss": self.loss},
        }
        walk = {k: v for k, v in (self.walk or {}).items() if k != "num_steps"}
        for step in self.points:
            clip = walk["bounds"] is not None
            found[_key(step)] = {
                "field": "walk", **_step(step), "loss": walk["loss"],
                "step_size": walk["step_size"], "pixel_clip": clip,
            }  # fmt: skip
        if self.translator is not None:
            learnt = found[_key(self.points[-1])]
            found["translated"] = {**learnt, "field": "translated"}
            found["error"] = {**learnt, "field": "error"}
        return found


def _step(step: int) -> dict[str, Any]:
    return {"step": step, "pixel_clip": False}


def _key(step: int) -> str:
    return f"walk_{step}"


def of_batch(
    logits_fn: LogitsFn, batch: Batch, plan: Plan
) -> dict[str, np.ndarray]:
    """Makes the fields of a batch.

    Args:
      logits_fn: The classifier.
      batch: The images; rows of weight 0 are left out.
      plan: What is made.

    Returns:
      float32 [n, height, width, channels] by key: "data", the images;
      "random_signs", of the same shape; "gradient" of the loss of the true
      label; "delta_1", Delta_1 / epsilon of supplement Eq. 1, that is
      -sign(gradient), no pixel clipped; "walk_n", Delta_n as the walk goes,
      clipped if it is; "translated", G(X_0); and "error", G(X_0) less
      Delta_N of the true label.
    """
    rows = batch["weight"].numpy() > 0
    images, labels = batch["image"], batch["label"]
    gradient = _program(logits_fn, plan.loss)(images, labels)
    keys = draws.keys(plan.seed, batch["id"])
    found = {
        "data": images,
        "random_signs": draws.signs(keys, images.shape[1:]),
        "gradient": gradient,
        # Delta_1 = -epsilon sign(grad_X l(f(X_0), Y*))       (S, Eqs. 1, 2)
        "delta_1": -tf.sign(gradient),
    }
    moved = dict(_walked(logits_fn, images, labels, plan))
    found |= moved
    if plan.translator is not None:
        translated = compilation.predict(plan.translator, images)
        found["translated"] = translated
        found["error"] = translated - moved[_key(plan.points[-1])]
    return {key: field.numpy()[rows] for key, field in found.items()}


def _walked(
    logits_fn: LogitsFn, images: tf.Tensor, labels: tf.Tensor, plan: Plan
) -> Iterator[tuple[str, tf.Tensor]]:
    """Yields Delta_n at the points of the walk."""
    current, done = images, 0
    for point in plan.points:
        current = opposite_fgsm.walk(
            logits_fn, current, labels,
            **{**plan.walk, "num_steps": point - done},
        )  # fmt: skip
        done = point
        yield _key(point), current - images


def _program(logits_fn: LogitsFn, loss: str) -> Callable:
    value = losses.get(loss)

    def build(call: LogitsFn) -> Callable:
        def slope(images, labels):
            return gradients.input_gradient(
                lambda inputs: value(call(inputs), labels), images
            )[1]

        return tf.function(slope, autograph=False, reduce_retracing=True)

    return compilation.program(logits_fn, ("input gradient", loss), build)
