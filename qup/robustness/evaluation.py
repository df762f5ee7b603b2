"""Test accuracy and robust accuracy: sections 4.1 and S3 of the paper.

```python
result = attacked(classifier, batches, attacks.bind("pgd", epsilon=0.1))
result.robust_accuracy.value  # percent
```
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks.results import AttackResult
from qup.core import compilation, measurements
from qup.core.measurements import Accuracy, ModelInfo, Row, compute_accuracy
from qup.core.types import Attack, Batch, Bounds, LogitsFn


class AttackEvaluation(NamedTuple):
    """What one pass over a dataset measures.

    Attributes:
      test_accuracy: Of the clean images (TA).
      robust_accuracy: Of the attacked images (RA); an image that was
        misclassified before the attack counts by its attacked class alone,
        the paper's definition.
      robust_accuracy_strict: Right before and after the attack.
    """

    test_accuracy: Accuracy
    robust_accuracy: Accuracy
    robust_accuracy_strict: Accuracy


def compute_correct_mask(logits_fn: LogitsFn, images: tf.Tensor, batch: Batch) -> tf.Tensor:
    """Marks the rows of `images` that are classified as their label.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...], the batch's images or attacked ones.
      batch: Gives "label" and "weight".

    Returns:
      float32 [batch], 1 where right and 0 where wrong or padding.
    """
    classes = tf.argmax(compilation.predict(logits_fn, images), -1, tf.int32)
    return tf.cast(classes == batch["label"], tf.float32) * batch["weight"]


def evaluate_accuracy(logits_fn: LogitsFn, batches: Iterable[Batch]) -> Accuracy:
    """Returns the accuracy of a classifier over `batches` (TA)."""
    num_correct = total = 0.0
    for batch in batches:
        num_correct += float(tf.reduce_sum(compute_correct_mask(logits_fn, batch["image"], batch)))
        total += float(tf.reduce_sum(batch["weight"]))
    return compute_accuracy(num_correct, total)


def evaluate_attack(
    logits_fn: LogitsFn, batches: Iterable[Batch], attack: Attack
) -> AttackEvaluation:
    """Returns TA and RA of a classifier over `batches`.

    Args:
      logits_fn: The classifier, or a combined one.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids), see attacks.bind.

    Returns:
      An `AttackEvaluation`.
    """
    clean = robust = strict = total = 0.0
    for batch in batches:
        images = attack(logits_fn, batch["image"], batch["label"], ids=batch["id"])
        clean_mask = compute_correct_mask(logits_fn, batch["image"], batch)
        robust_mask = compute_correct_mask(logits_fn, images, batch)
        clean += float(tf.reduce_sum(clean_mask))
        robust += float(tf.reduce_sum(robust_mask))
        strict += float(tf.reduce_sum(clean_mask * robust_mask))
        total += float(tf.reduce_sum(batch["weight"]))
    return AttackEvaluation(*(compute_accuracy(x, total) for x in (clean, robust, strict)))


# What an attack on many images says of a classifier: rows and records.
#
# ```python
# rows = rows_of(subject, result, clean, options)
# ```


# Value of the parameter "evaluation" of rows that records stand behind.
PER_IMAGE = "per_image"


def build_attack_rows(
    model_info: ModelInfo, result: AttackResult, correct: np.ndarray, attack: Mapping[str, Any]
) -> list[Row]:
    """Returns the rows of one attack.

    Args:
      model_info: The classifier.
      result: What the attack found.
      correct: bool [n], the clean image is classified as its label.
      attack: Name, epsilon (None without a budget) and options; with
        "targets" the attack aims at a class.

    Returns:
      TA; RA (an image that is misclassified as it is counts as broken) and
      RA after each stage of an attack of several, or without a budget or
      with targets the share that was broken (classified as its target) of
      the images that were right; the mean
      distances of the latter; the mean number of calls.
    """
    count = len(result)
    model_info = model_info.with_parameters(evaluation=PER_IMAGE)
    clean = measurements.compute_accuracy(float(correct.sum()), count)
    if attack["epsilon"] is None or attack.get("targets"):
        adversarial = (result.success & correct).sum()
        rate = measurements.compute_accuracy(float(adversarial), max(int(correct.sum()), 1))
        rows = [
            model_info.build_row("test_accuracy", clean),
            model_info.build_row("success_rate", rate, attack),
        ]
    else:
        robust = measurements.compute_accuracy(float((~result.success).sum()), count)
        rows = model_info.build_rows(clean, {"robust_accuracy": robust}, attack)
    stages = result.after_stages()
    if len(stages) > 1:
        for name, percent in stages.items():
            stage_accuracy = measurements.compute_accuracy(percent * count / 100, count)
            stage_attack = {**attack, "after": name}
            rows.append(model_info.build_row("robust_accuracy_after", stage_accuracy, stage_attack))
    adversarial = result.success & correct
    columns = {
        f"mean_{norm}": distances[adversarial] for norm, distances in result.distances.items()
    }
    columns["mean_forward_calls"] = result.forward_calls
    columns["mean_gradient_calls"] = result.gradient_calls
    for measure, values in columns.items():
        if values.size and np.isfinite(values).all():
            rows.append(model_info.build_row(measure, compute_mean(values), attack))
    return rows


def compute_mean(values: np.ndarray) -> measurements.Accuracy:
    """Returns a mean, its standard error (None of one value), and n."""
    error = None
    if values.size > 1:
        error = float(values.std(ddof=1) / np.sqrt(values.size))
    return measurements.Accuracy(float(values.mean()), error, values.size)


# Looks at a classifier: the attacks that one group of settings asks for.
#
# Beside the attack as configured, the same with the pixel clip the other way
# (the paper does not say which it used), and a stronger check. Settings of an
# attack are a mapping with the keys of the group `attack` of
# configs/defaults.py.
#
# ```python
# for look in looks(settings):
#     attack = bound(look.options, seed=0)
# ```


_ATTACK_OPTIONS = ("norm", "loss", "num_steps", "step_size", "random_start", "restarts")


class AttackCondition(NamedTuple):
    """One attack on one part of the images.

    Attributes:
      title: For a log.
      options: Name, epsilon and options, as a row tells them.
      max_images: Only the first that many images; None for all.
    """

    title: str
    options: dict[str, Any]
    max_images: int | None


def build_attack_options(settings: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Returns the attack's name, epsilon and options, as a row tells them.

    Args:
      settings: Those of the attack.
      **changes: Settings to take instead.
    """
    attack_settings = {**settings, **changes}
    accepted = _get_parameters(attack_settings["name"])
    chosen = {key: attack_settings[key] for key in _ATTACK_OPTIONS if key in accepted}
    if "step_size" in chosen and chosen["step_size"] is None:
        chosen["step_size"] = attack_settings["epsilon"] / attack_settings["num_steps"]
    if has_pixel_bounds(attack_settings):
        chosen["pixel_clip"] = attack_settings["pixel_clip"]
    name_and_epsilon = {
        "name": attack_settings["name"],
        "epsilon": float(attack_settings["epsilon"]),
    }
    return {**name_and_epsilon, **chosen}


def _get_parameters(name: str) -> Mapping[str, Any]:
    return inspect.signature(attacks.get(name)).parameters


def has_pixel_bounds(settings: Mapping[str, Any]) -> bool:
    """Says whether the attack takes a pixel box at all."""
    return "bounds" in _get_parameters(settings["name"])


def get_pixel_bounds(pixel_clip: bool) -> Bounds:
    """Returns the pixel box, or None without clip."""
    return (0.0, 1.0) if pixel_clip else None


def bind_attack(options: Mapping[str, Any], *, seed: int) -> Attack:
    """Returns the attack with options of the form `build_attack_options` returns."""
    arguments = {**options, "seed": seed}
    name = arguments.pop("name")
    arguments["bounds"] = get_pixel_bounds(arguments.pop("pixel_clip", True))
    accepted = _get_parameters(name)
    return attacks.bind(name, **{key: value for key, value in arguments.items() if key in accepted})


def build_trajectory_options(settings: Mapping[str, Any], *, pixel_clip: bool) -> dict[str, Any]:
    """Returns the options on X_n: its ball round X_n, the box if X_n has it.

    Args:
      settings: Those of the attack.
      pixel_clip: Whether the walk clips.
    """
    clip = bool(settings["pixel_clip"] and pixel_clip)
    return build_attack_options(settings, pixel_clip=clip)


def build_attack_conditions(settings: Mapping[str, Any]) -> list[AttackCondition]:
    """Returns the looks that the settings of an attack ask for."""
    name, clip = settings["name"], settings["pixel_clip"]
    clip_titles = {True: "with pixel clip", False: "without pixel clip"}
    conditions = [
        AttackCondition(
            f"{name} {clip_titles[clip_on]}",
            build_attack_options(settings, pixel_clip=clip_on),
            None,
        )
        for clip_on in ((clip, not clip) if has_pixel_bounds(settings) else (clip,))
    ]
    steps = settings["check_steps"]
    if steps and "random_start" in build_attack_options(settings):
        stronger = build_attack_options(
            settings,
            num_steps=steps,
            step_size=2.5 * settings["epsilon"] / steps,
            random_start=True,
        )
        conditions.append(
            AttackCondition(f"{name} of {steps} steps", stronger, settings["check_size"])
        )
    return conditions
