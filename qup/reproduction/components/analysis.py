"""Analyses of one classifier: sign and gradient steps, predictors of RA, an example image."""

import dataclasses
import itertools
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core import measurements, progress
from qup.core.measurements import Measurement, ModelInfo, Row
from qup.core.types import Batch, LogitsFn
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, Model, ModelEvaluation
from qup.reproduction.measures import example, gradient_steps
from qup.reproduction.measures.example import AttackExample
from qup.robustness import compute_clever, margins
from qup.robustness.evaluation import (
    bind_attack,
    compute_correct_mask,
    compute_mean,
    evaluate_accuracy,
    evaluate_attack,
)

_log = logging.getLogger("qup")
# Value of the column "attack", and of the parameter "evaluation", of StepAnalyzer's rows.
_GRADIENT_STEPS = "gradient_steps"
_STEPS_FILE = "steps.npz"
_PREDICTORS_FILE = "predictors.npz"
_EXAMPLE_FILE = "example.npz"


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
    """Attacks by sign steps and by gradient steps of equal size (Eqs. 21 and 22).

    Every direction of `gradient_steps.DIRECTIONS` is combined with every loss: the cross-entropy
    -ln p_y of the logits, the squared loss sum_j (p_j - [j = y])^2 of the probabilities, and the
    margin max_{j != y} z_j - z_y of the logits.

    Args:
      evaluation: "test_accuracy" of these images; "robust_accuracy" by epsilon and {"direction",
        "loss", "num_steps", "size"}, where "size" is the norm in which a step is as large as the
        sign step. For each loss "gradient_sign_cosine", a mean over the images with a nonzero
        gradient, and "zero_gradient", the percentage of the other images. steps.npz has the
        cosines, float32 [n], by loss.
      epsilons: Budgets of the sign step, in units of [0, 1].
      num_steps: Numbers of steps; all steps of an attack together have the size of one.
      pixel_clip: Clip to [0, 1]. Clipped steps are shorter.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples, model, evaluation=_GRADIENT_STEPS, split=split
    )
    batches = data.evaluation_batches(split, batch_size, max_images=num_images)
    cosines = {
        loss: _compute_sign_cosines(classifier, batches, loss) for loss in gradient_steps.LOSSES
    }
    np.savez(evaluation.path / _STEPS_FILE, **cosines)
    rows = [model_info.build_row("test_accuracy", evaluate_accuracy(classifier, batches))]
    for loss, values in cosines.items():
        is_zero = np.isnan(values)
        loss_info = model_info.with_parameters(loss=loss)
        share = measurements.compute_accuracy(float(is_zero.sum()), len(is_zero))
        loss_rows = [loss_info.build_row("zero_gradient", share)]
        if not is_zero.all():
            mean = compute_mean(values[~is_zero].astype(np.float64))
            loss_rows.append(loss_info.build_row("gradient_sign_cosine", mean))
        rows += [dataclasses.replace(row, artifact=_STEPS_FILE) for row in loss_rows]
    # Attacks of one loss follow one another: they share a compiled program.
    conditions = [
        {"loss": loss, "direction": direction, "num_steps": steps, "epsilon": epsilon}
        for loss, direction, steps, epsilon in itertools.product(
            gradient_steps.LOSSES,
            gradient_steps.DIRECTIONS,
            dict.fromkeys(num_steps),
            dict.fromkeys(map(float, epsilons)),
        )
    ]
    for condition in progress.track(
        conditions, title="gradient steps", total=len(conditions), unit="attack"
    ):
        bounds = (0.0, 1.0) if pixel_clip else None
        accuracy = _compute_robust_accuracy(classifier, batches, {**condition, "bounds": bounds})
        size = gradient_steps.DIRECTIONS[condition["direction"]]
        attack = {"name": _GRADIENT_STEPS, "size": size, **condition, "pixel_clip": pixel_clip}
        rows.append(model_info.build_row("robust_accuracy", accuracy, attack))
    artifacts.write_rows(evaluation, rows)


def _compute_sign_cosines(classifier: LogitsFn, batches: Iterable[Batch], loss: str) -> np.ndarray:
    """Returns the cosine of each image, float32 [n]; NaN where the gradient is zero."""
    batch_cosines = [
        gradient_steps.compute_sign_cosine(classifier, batch["image"], batch["label"], loss=loss)[
            batch["weight"] > 0
        ]
        for batch in batches
    ]
    return np.concatenate(batch_cosines)


def _compute_robust_accuracy(
    classifier: LogitsFn, batches: Iterable[Batch], options: dict[str, Any]
) -> Measurement:
    num_correct = total = 0.0
    for batch in batches:
        attacked_images = gradient_steps.gradient_ascent(
            classifier, batch["image"], batch["label"], **options
        )
        correct_mask = compute_correct_mask(classifier, attacked_images, batch)
        num_correct += float(tf.reduce_sum(correct_mask))
        total += float(tf.reduce_sum(batch["weight"]))
    return measurements.compute_accuracy(num_correct, total)


@component
def PredictorAnalyzer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    num_images: int | None = None,
    clever: dict[str, Any],
    split: str = "test",
    batch_size: int = 500,
    seed: int = 0,
) -> None:
    """Measures possible predictors of RA: gradients, margins and CLEVER.

    Args:
      evaluation: Means over images with standard errors: `margins.PREDICTORS`, and "clever_linf"
        with the parameters of its sampling. A mean leaves out images of infinite ratio; n is the
        number of the others. predictors.npz has the same names, float [n], and "id", int64 [n];
        CLEVER has scores of the first images only.
      clever: "num_images", 0 for no CLEVER; and "num_batches" (50), "num_samples" (256) and
        "radius" (0.1) of `qup.robustness.compute_clever`. An image takes
        num_batches * num_samples * (classes - 1) gradients.
      batch_size: Images, or samples, per batch.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples, model, evaluation="predictors", split=split
    )
    batches = data.evaluation_batches(split, batch_size, max_images=num_images)
    arrays = margins.compute_predictors(classifier, batches)
    rows = []
    for name in margins.PREDICTORS:
        finite = arrays[name][np.isfinite(arrays[name])].astype(np.float64)
        if len(finite):
            rows.append(model_info.build_row(name, compute_mean(finite)))
    sampling = {"num_batches": 50, "num_samples": 256, "radius": 0.1, **clever}
    if count := sampling.pop("num_images"):
        images, labels, ids = (array[:count] for array in data.get_arrays(split))
        scores = compute_clever(
            classifier,
            images / np.float32(255),
            labels,
            ids=ids,
            norm="linf",
            batch_size=batch_size,
            seed=seed,
            **sampling,
        ).untargeted
        arrays["clever_linf"] = scores
        clever_parameters = {f"clever_{name}": value for name, value in sampling.items()}
        clever_info = model_info.with_parameters(**clever_parameters, clever_seed=seed)
        rows.append(clever_info.build_row("clever_linf", compute_mean(scores)))
    np.savez(evaluation.path / _PREDICTORS_FILE, **arrays)
    artifacts.write_rows(evaluation, rows, arrays_file=_PREDICTORS_FILE)


@component
def ExampleDrawer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 128,
    seed: int = 0,
) -> None:
    """Selects one attacked image for Fig. 1, and measures TA and RA of all images.

    Args:
      evaluation: "test_accuracy", "robust_accuracy" and "robust_accuracy_strict"; and of the
        image "clean_confidence" and "attacked_confidence", the softmax probability of the
        predicted class in percent. example.npz: see `AttackExample.to_arrays`.
      attack: The figure's is {"name": "fgsm", "epsilon": 8 / 255, "norm": "linf",
        "loss": "cross_entropy", "pixel_clip": True}.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples, model, split=split, figure="fig1"
    )
    bound_attack = bind_attack(attack, seed=seed)
    size = min(batch_size, num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, max_images=num_images)
    accuracies = evaluate_attack(classifier, batches, bound_attack)
    images, labels, ids = (a[:num_images] for a in data.get_arrays(split))
    attacked_example = example.find_example(
        classifier, images, labels, ids, bound_attack, batch_size=size
    )
    rows = accuracies.build_rows(model_info, attack)
    class_names = data.info.class_names
    rows += _build_confidence_rows(model_info, attacked_example, class_names, attack)
    np.savez(evaluation.path / _EXAMPLE_FILE, **attacked_example.to_arrays(class_names))
    artifacts.write_rows(evaluation, rows)
    _log.info(
        "Fig. 1: image %d, %s", attacked_example.id, example.SELECTION_RULES[attacked_example.rule]
    )


def _build_confidence_rows(
    model_info: ModelInfo,
    attacked_example: AttackExample,
    class_names: tuple[str, ...],
    attack: dict[str, Any],
) -> list[Row]:
    """Returns the two rows of the image; one image has no error."""
    model_info = model_info.with_parameters(
        image_id=attacked_example.id,
        label=class_names[attacked_example.label],
        rule=attacked_example.rule,
    )
    rows = [
        model_info.with_parameters(named=class_names[predicted_class]).build_row(
            measure, Measurement(confidence, None, 1), attack_options
        )
        for measure, predicted_class, confidence, attack_options in (
            (
                "clean_confidence",
                attacked_example.clean_class,
                attacked_example.clean_confidence,
                None,
            ),
            (
                "attacked_confidence",
                attacked_example.attacked_class,
                attacked_example.attacked_confidence,
                attack,
            ),
        )
    ]
    return [dataclasses.replace(row, artifact=_EXAMPLE_FILE) for row in rows]
