"""The rows of the road: who is attacked, how, and on which images."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from qup import evaluation
from qup.deltas import Deltas
from qup.measurements import Row
from qup.pipelines import attacking
from qup.pipelines.opening import Run

_log = logging.getLogger("qup")


def held_out(this: Run, classifier: keras.Model) -> dict[str, float]:
    """Returns the accuracy after an epoch, for the curves.

    On the validation split where images are held out, else on the test
    split, which no decision of the training looks at.
    """
    split = "validation" if this.config.dataset.validation_size else "test"
    batches = this.data.evaluation_batches(split, this.config.attack.batch_size)
    accuracy = evaluation.accuracy(classifier, batches)
    return {f"{split}_accuracy": accuracy.value}


def translator_check(
    this: Run, classifier: keras.Model
) -> Callable[[keras.Model], Mapping[str, float]]:
    """Returns the L1 error of Delta on images the translator never saw.

    Their Delta_N needs their labels; it is looked at, never trained on.
    """
    batches = this.data.evaluation_batches(
        this.config.dataset.evaluation_split, 500
    )
    batch = next(iter(batches))
    end = attacking.walked(this.config, classifier, batch)
    delta = end - batch["image"]

    def check(translator: keras.Model) -> dict[str, float]:
        error = tf.abs(translator(batch["image"], training=False) - delta)
        error = tf.reduce_mean(error, [1, 2, 3]) * batch["weight"]
        mean = tf.reduce_sum(error) / tf.reduce_sum(batch["weight"])
        return {"held_out_l1_in_pixels": float(mean)}

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
      Rows "test_accuracy", "robust_accuracy" and "robust_accuracy_strict";
      the attack as configured, the same with the pixel clip the other way,
      and the stronger check. A robust accuracy above the clean one, the
      sign of a broken attack, is warned of and becomes a row of its own.
    """
    config = this.config
    clip = config.attack.pixel_clip
    looks = [({}, None), ({"pixel_clip": not clip}, None)]
    if config.attack.check_steps and config.attack.name != "fgsm":
        steps = config.attack.check_steps
        check = {
            "num_steps": steps,
            "step_size": 2.5 * config.attack.epsilon / steps,
            "random_start": True,
        }
        looks.append((check, config.attack.check_size))
    if name == "ACL":
        parameters = {**parameters, "through": config.attack.through}
    rows = []
    for changes, images in looks:
        options = attacking.options(config, **changes)
        rows += _look(
            this, classifier, name, epochs, parameters, options, images
        )
    return list({row.key(): row for row in rows}.values())


def _look(this, classifier, name, epochs, parameters, options, images):
    config = this.config
    split = config.dataset.evaluation_split
    size = config.attack.batch_size
    batches = this.data.evaluation_batches(split, size)
    if images is not None and images < this.data.info.sizes[split]:
        size = min(size, images)
        batches = this.data.evaluation_batches(split, size)
        batches = batches.take(images // size)
    result = evaluation.attacked(
        classifier, batches, attacking.bound(config, options)
    )
    clean = {**parameters, "split": split}

    def row(measure: str, accuracy: evaluation.Accuracy) -> Row:
        return _row(
            this, name, epochs, measure, accuracy, config.attack.name,
            {**clean, **options},
        )  # fmt: skip

    rows = [
        _row(this, name, epochs, "test_accuracy", result[0], "", clean),
        row("robust_accuracy", result.robust_accuracy),
        row("robust_accuracy_strict", result.robust_accuracy_strict),
    ]
    excess = result.robust_accuracy.value - result.test_accuracy.value
    if excess > 0:
        _log.warning(
            "%s: robust accuracy %.2f is above test accuracy %.2f: the "
            "attack is broken or its gradients are masked.",
            name, result.robust_accuracy.value, result.test_accuracy.value,
        )  # fmt: skip
        n = result.test_accuracy.n
        over = evaluation.Accuracy(excess, 0.0, n)
        rows.append(row("robust_accuracy_excess", over))
    return rows


def _row(this, name, epochs, measure, accuracy, attack, parameters) -> Row:
    return Row(
        dataset=this.data.info.name,
        model=this.config.model.name,
        classifier=name,
        attack=attack,
        epsilon=float(this.config.attack.epsilon) if attack else None,
        measure=measure,
        value=accuracy.value,
        stderr=accuracy.stderr,
        n=accuracy.n,
        epochs=epochs,
        seed=this.config.seed,
        parameters=parameters,
    )


def trajectory(this: Run, deltas: Deltas, epochs: int) -> list[Row]:
    """Returns TA and RA of the training images X_n (supplement, Fig. 2)."""
    walk = this.config.augmentation
    clip = this.config.attack.pixel_clip and walk.pixel_clip
    options = attacking.options(this.config, pixel_clip=clip)
    rows = []
    for step, right, robust in deltas.trajectory:
        where = {
            "augmentation_pixel_clip": walk.pixel_clip,
            "augmentation_step_size": walk.step_size,
            "images": "X_n",
            "split": "train",
            "step": int(step),
        }
        counts = {
            "test_accuracy": (right, "", where),
            "robust_accuracy": (
                robust,
                this.config.attack.name,
                {**where, **options},
            ),
        }
        for measure, (count, attack, parameters) in counts.items():
            accuracy = evaluation.binomial(float(count), deltas.num_images)
            rows.append(
                _row(this, "CL", epochs, measure, accuracy, attack, parameters)
            )
            this.board.scalars(
                f"trajectory/epoch-{epochs}",
                int(step),
                {f"x_n/{measure}": accuracy.value},
            )
    return rows
