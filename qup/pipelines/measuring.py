"""The rows of the road: who is attacked, how, and on which images."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from qup import evaluation, progress
from qup.deltas import Deltas
from qup.measurements import Row
from qup.pipelines import attacking, settings, subjects
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")


def held_out(this: Run, classifier: keras.Model) -> dict[str, float]:
    """Returns the accuracy after an epoch, for the curves.

    On the validation split where images are held out, else on the test
    split, which no decision of the training looks at.
    """
    split = _watched(this)
    batches = this.data.evaluation_batches(split, this.config.attack.batch_size)
    accuracy = evaluation.accuracy(classifier, batches)
    return {f"{split}_accuracy": accuracy.value}


def _watched(this: Run) -> str:
    return "validation" if this.config.dataset.validation_size else "test"


def translator_check(
    this: Run, classifier: keras.Model
) -> Callable[[keras.Model], Mapping[str, float]]:
    """Returns the L1 error of Delta on images the translator never saw.

    Their Delta_N needs their labels; it is looked at, never trained on.
    """
    split = _watched(this)
    batch = next(iter(this.data.evaluation_batches(split, 500)))
    end = attacking.walked(this.config, classifier, batch)
    delta = end - batch["image"]

    def check(translator: keras.Model) -> dict[str, float]:
        error = tf.abs(translator(batch["image"], training=False) - delta)
        error = tf.reduce_mean(error, [1, 2, 3]) * batch["weight"]
        mean = tf.reduce_sum(error) / tf.reduce_sum(batch["weight"])
        return {f"{split}_l1_in_pixels": float(mean)}

    return check


def attacked(
    this: Run,
    classifier: keras.Model,
    name: str,
    epochs: int,
    parameters: Mapping[str, Any],
) -> list[Row]:
    """Measures TA, and RA under each look at the classifier.

    Args:
      this: The run.
      classifier: Alone, or behind the translator.
      name: "CL" or "ACL".
      epochs: Epochs of the classifier.
      parameters: What else its rows depend on.

    Returns:
      Rows "test_accuracy", "robust_accuracy" and "robust_accuracy_strict"
      of the attack as configured, the same with the pixel clip the other
      way, and the stronger check.
    """
    config = this.config
    split = config.dataset.evaluation_split
    shared = settings.classifier_parameters(config, this.data.info)
    shared |= {**parameters, "split": split}
    if name == "ACL":
        shared["through"] = config.attack.through
    subject = subjects.Subject(this, name, epochs, shared)
    rows = []
    for title, options, limit in _looks(config):
        batches = this.data.evaluation_batches(
            split, config.attack.batch_size, limit=limit
        )
        _log.info("%s, epoch %d: %s", name, epochs, title)
        seen = progress.bar(
            batches, title=f"{name} {title}", total=len(batches), unit="batch"
        )
        attack = attacking.bound(config, options)
        clean, robust, strict = evaluation.attacked(classifier, seen, attack)
        measures = {
            "robust_accuracy": robust,
            "robust_accuracy_strict": strict,
        }
        rows += subject.rows(clean, measures, options)
    return list({row.key(): row for row in rows}.values())


def _looks(config) -> list[tuple[str, dict[str, Any], int | None]]:
    """Returns (title, options of the attack, number of images)."""
    clip = config.attack.pixel_clip
    words = {True: "with pixel clip", False: "without pixel clip"}
    looks = [
        (f"{config.attack.name} {words[on]}", {"pixel_clip": on}, None)
        for on in ((clip, not clip) if attacking.clips(config) else (clip,))
    ]
    steps = config.attack.check_steps
    if steps and "random_start" in attacking.options(config):
        stronger = {
            "num_steps": steps,
            "step_size": 2.5 * config.attack.epsilon / steps,
            "random_start": True,
        }
        title = f"{config.attack.name} of {steps} steps"
        looks.append((title, stronger, config.attack.check_size))
    return [
        (title, attacking.options(config, **changes), limit)
        for title, changes, limit in looks
    ]


def trajectory(this: Run, deltas: Deltas, epochs: int) -> list[Row]:
    """Returns TA and RA of the training images X_n (supplement, Fig. 2)."""
    config = this.config
    clip = config.attack.pixel_clip and config.augmentation.pixel_clip
    options = attacking.options(config, pixel_clip=clip)
    shared = settings.classifier_parameters(config, this.data.info)
    shared |= {**settings.walk_parameters(config), "images": "X_n"}
    rows = []
    for step, *counts in deltas.trajectory:
        clean, robust = (
            evaluation.binomial(float(count), deltas.num_images)
            for count in counts
        )
        where = {**shared, "split": "train", "step": int(step)}
        measures = {"robust_accuracy": robust}
        rows += subjects.Subject(this, "CL", epochs, where).rows(
            clean, measures, options
        )
        this.board.scalars(
            f"trajectory/epoch-{epochs}",
            int(step),
            {
                "x_n/test_accuracy": clean.value,
                "x_n/robust_accuracy": robust.value,
            },
        )
    return rows
