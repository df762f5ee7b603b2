"""Eqs. 21 and 22: whether a gradient may stand in the place of its sign."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from qup import evaluation, gradient_steps, measurements, progress, robustness
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo
from qup.types import Batch, LogitsFn

# Value of the column "attack", and of the parameter "evaluation", of the rows.
GRADIENT_STEPS_ATTACK = "gradient_steps"
_STEPS_FILE = "steps.npz"


@component
def StepAnalyzer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    epsilons: list[float],
    num_steps: list[int],
    pixel_clip: bool = True,
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 500,
) -> None:
    """Attacks by sign steps and by gradient steps of equal size.

    Every direction of `gradient_steps.DIRECTIONS`, up every loss: the
    cross-entropy -ln p_y of the logits, the squared loss
    sum_j (p_j - [j = y])^2 of the probabilities, and the margin
    max_{j != y} z_j - z_y of the logits.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows. "test_accuracy" of these images;
        "robust_accuracy", by epsilon and {"direction", "loss", "num_steps",
        "size"}, the last the norm in which the steps are as large as the
        sign's; and of each loss "gradient_sign_cosine",
        a mean over the images whose gradient is not zero, and
        "zero_gradient", the percentage of those where it is. In steps.npz
        the cosines, float32 [n], under the loss's name.
      epsilons: Of the sign step, in units of [0, 1].
      num_steps: Numbers of steps, such as 1 and 4; all together have the
        size of one.
      pixel_clip: Clip to [0, 1]: what is clipped is shorter than it was.
      num_images: How many images; None for all.
      split: The images to attack.
      batch_size: Images a batch.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    batches = data.evaluation_batches(split, batch_size, max_images=num_images)
    model_info = artifacts.load_model_info(model.path)
    model_info = model_info.with_parameters(evaluation=GRADIENT_STEPS_ATTACK, split=split)
    cosines = {
        loss: _compute_sign_cosines(classifier, batches, loss) for loss in gradient_steps.LOSSES
    }
    np.savez(evaluation.path / _STEPS_FILE, **cosines)
    rows = [model_info.build_row("test_accuracy", _compute_test_accuracy(classifier, batches))]
    rows += [
        row
        for loss, values in cosines.items()
        for row in _build_gradient_rows(model_info.with_parameters(loss=loss), values)
    ]
    step_attacks = _list_step_attacks(epsilons, num_steps, pixel_clip)
    for attack in progress.track(
        step_attacks, title="gradient steps", total=len(step_attacks), unit="look"
    ):
        robust_accuracy = _compute_robust_accuracy(classifier, batches, attack)
        rows.append(
            model_info.build_row("robust_accuracy", robust_accuracy, _describe_step_attack(attack))
        )
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _describe_step_attack(attack: dict[str, Any]) -> dict[str, Any]:
    size = gradient_steps.DIRECTIONS[attack["direction"]]
    return {"name": GRADIENT_STEPS_ATTACK, "size": size, **attack}


def _list_step_attacks(
    epsilons: Iterable[float], num_steps: Iterable[int], pixel_clip: bool
) -> list[dict[str, Any]]:
    """Returns the options of every look, those of a loss together."""
    product = itertools.product(
        gradient_steps.LOSSES,
        gradient_steps.DIRECTIONS,
        dict.fromkeys(num_steps),
        dict.fromkeys(map(float, epsilons)),
    )
    names = ("loss", "direction", "num_steps", "epsilon")
    return [
        {**dict(zip(names, values, strict=True)), "pixel_clip": pixel_clip} for values in product
    ]


def _compute_test_accuracy(classifier: LogitsFn, batches: Iterable[Batch]) -> evaluation.Accuracy:
    return evaluation.evaluate_accuracy(classifier, batches)


def _compute_sign_cosines(classifier: LogitsFn, batches: Iterable[Batch], loss: str) -> np.ndarray:
    """Returns the cosine of each image, float32 [n]; NaN for none."""
    batch_cosines = [
        gradient_steps.compute_sign_cosine(classifier, batch["image"], batch["label"], loss=loss)[
            batch["weight"] > 0
        ]
        for batch in batches
    ]
    return np.concatenate(batch_cosines)


def _build_gradient_rows(model_info: ModelInfo, cosines: np.ndarray) -> list[Row]:
    """Returns the rows of one loss's gradient at the clean images."""
    zero = np.isnan(cosines)
    share = evaluation.compute_accuracy(float(zero.sum()), len(zero))
    rows = [model_info.build_row("zero_gradient", share)]
    if not zero.all():
        mean = robustness.compute_mean(cosines[~zero].astype(np.float64))
        rows.append(model_info.build_row("gradient_sign_cosine", mean))
    return [dataclasses.replace(row, artifact=_STEPS_FILE) for row in rows]


def _compute_robust_accuracy(
    classifier: LogitsFn, batches: Iterable[Batch], attack: dict[str, Any]
) -> evaluation.Accuracy:
    """Returns RA of one look."""
    options = dict(attack)
    options["bounds"] = (0.0, 1.0) if options.pop("pixel_clip") else None
    num_correct = total = 0.0
    for batch in batches:
        attacked_images = gradient_steps.gradient_ascent(
            classifier, batch["image"], batch["label"], **options
        )
        correct_mask = evaluation.compute_correct_mask(classifier, attacked_images, batch)
        num_correct += float(tf.reduce_sum(correct_mask))
        total += float(tf.reduce_sum(batch["weight"]))
    return evaluation.compute_accuracy(num_correct, total)
