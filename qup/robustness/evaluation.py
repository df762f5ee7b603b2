"""Test accuracy (TA), robust accuracy (RA), and the attacks of an evaluation (paper, 4.1 and S3).

Settings of an attack are a mapping with the keys of the group `attack` of
qup/pipelines/defaults.py. The paper does not say whether its attacks clip pixels. So an evaluation
attacks with and without clipping, and once more with a stronger attack.

```python
for condition in build_attack_conditions(settings):
    attack = bind_attack(condition.options, seed=0)
    evaluation = evaluate_attack(classifier, batches, attack)
    evaluation.robust_accuracy.value  # percent
```
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import reliability
from qup.attacks.reliability import EvaluatedImages, Flag
from qup.attacks.results import AttackResult
from qup.attacks.verification import verify_images
from qup.core.classifier import predict_logits, wrap_classifier
from qup.core.measurements import Measurement, ModelInfo, Row, compute_accuracy
from qup.core.types import Attack, Batch, Bounds, LogitsFn

# Value of the parameter "evaluation" of rows that have records of each image.
PER_IMAGE = "per_image"
_ATTACK_OPTIONS = ("norm", "loss", "num_steps", "step_size", "random_start", "restarts")


class Accuracies(NamedTuple):
    """Accuracies of one pass over a dataset.

    Attributes:
      test_accuracy: Accuracy on clean images (TA).
      robust_accuracy: Accuracy on attacked images (RA), the paper's definition: an image that is
        misclassified before the attack counts by its class after the attack.
      robust_accuracy_strict: Share of images classified correctly both before and after the attack.
      flags: Reasons to doubt the robust accuracy, see `qup.attacks.reliability`.
    """

    test_accuracy: Measurement
    robust_accuracy: Measurement
    robust_accuracy_strict: Measurement
    flags: tuple[Flag, ...] = ()

    def build_rows(self, model_info: ModelInfo, attack: Mapping[str, Any]) -> list[Row]:
        """Returns the rows of an attack with these options, see `ModelInfo.build_rows`."""
        attacked = {
            "robust_accuracy": self.robust_accuracy,
            "robust_accuracy_strict": self.robust_accuracy_strict,
        }
        return model_info.build_rows(self.test_accuracy, attacked, attack, self.flags)


class AttackCondition(NamedTuple):
    """One attack on a part of the images.

    Attributes:
      title: For the log.
      options: Name, epsilon and options, as recorded in a row.
      max_images: Use only the first `max_images` images; None means all.
    """

    title: str
    options: dict[str, Any]
    max_images: int | None


def compute_correct_mask(logits_fn: LogitsFn, images: tf.Tensor, batch: Batch) -> tf.Tensor:
    """Marks the images that are classified as their label.

    Args:
      logits_fn: The classifier.
      images: float32 [batch, ...], the batch's images, or perturbed ones.
      batch: Gives "label" and "weight".

    Returns:
      float32 [batch], 1 where correct, 0 where incorrect or padding.
    """
    classes = tf.argmax(predict_logits(logits_fn, images), -1, tf.int32)
    return tf.cast(classes == batch["label"], tf.float32) * batch["weight"]


def evaluate_accuracy(logits_fn: LogitsFn, batches: Iterable[Batch]) -> Measurement:
    """Returns the accuracy of a classifier over `batches` (TA)."""
    num_correct = total = 0.0
    for batch in batches:
        num_correct += float(tf.reduce_sum(compute_correct_mask(logits_fn, batch["image"], batch)))
        total += float(tf.reduce_sum(batch["weight"]))
    return compute_accuracy(num_correct, total)


def evaluate_attack(logits_fn: LogitsFn, batches: Iterable[Batch], attack: Attack) -> Accuracies:
    """Returns TA and RA of a classifier.

    Args:
      logits_fn: The classifier, or a combined one.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids), see `attacks.bind`.
    """
    method, classifier = _find_method(attack), wrap_classifier(logits_fn)
    rules = _get_rules(attack, method)
    columns: list[tuple[np.ndarray, ...]] = []
    for batch in batches:
        images = attack(logits_fn, batch["image"], batch["label"], ids=batch["id"])
        clean_pixels, labels = batch["image"].numpy(), batch["label"].numpy()
        if not columns:
            needs_gradient = method is None or method.needs_gradients
            probe = classifier.probe(clean_pixels, needs_gradient=needs_gradient)
        options = {"targeted": False, "batch_size": len(labels)}
        clean = verify_images(logits_fn, clean_pixels, clean_pixels, labels, **options)
        attacked = verify_images(
            logits_fn, clean_pixels, np.asarray(images), labels, **options, **rules
        )
        # An image that breaks a rule counts as not attacked.
        robust = np.where(attacked.violations == 0, ~attacked.adversarial, clean.correct)
        progress = clean.margins - attacked.margins
        progress = np.where(attacked.distances["linf"] > 0, progress, np.nan)
        values = (~robust, clean.correct, clean.classes, progress, attacked.violations)
        is_real = batch["weight"].numpy() > 0
        columns.append(tuple(v[is_real] for v in (*values, clean.is_saturated)))
    evaluated = EvaluatedImages(*map(np.concatenate, zip(*columns, strict=True)))
    flags = reliability.find_flags(method, evaluated, classifier.info, probe)
    correct, robust = evaluated.correct, ~evaluated.success
    counts = (correct.sum(), robust.sum(), (correct & robust).sum())
    return Accuracies(*(compute_accuracy(float(x), len(correct)) for x in counts), flags)


def _get_rules(attack: Attack, method: attacks.Method | None) -> dict[str, Any]:
    """Returns the box and the ball of a bound attack, for `verify_images`; {} for any other."""
    options = getattr(attack, "options", None)
    if options is None:
        return {}
    if method is not None:
        options = {"bounds": method.bounds, "norm": method.distance_norm, "epsilon": method.budget}
        if method.is_minimum_norm:
            options["epsilon"] = None
    rules = {"bounds": (0.0, 1.0), "norm": "linf", "epsilon": None, **options}
    return {key: rules[key] for key in ("bounds", "norm", "epsilon")}


def _find_method(attack: Attack) -> attacks.Method | None:
    """Returns the attack with its options; None for a function without init, step and done."""
    name = getattr(attack, "method_name", "")
    if not name or attacks.traits(name)["method"] is None:
        return None
    return attacks.build_method(name, **attack.options)


def resolve_attack_parameters(attack: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of an attack's rows: its name, epsilon and options with defaults."""
    options = {key: value for key, value in attack.items() if key != "epsilons"}
    name, targets = options.pop("name"), options.pop("targets", None)
    if attacks.traits(name)["method"]:
        options = dict(vars(attacks.build_method(name, **options)))
    for option in ("seed", "xla"):
        options.pop(option, None)
    bounds = options.pop("bounds", (0.0, 1.0))
    attack_parameters = {"name": name, "epsilon": None, **options}
    if targets is not None:
        attack_parameters |= {"targeted": True, "targets": targets}
    return attack_parameters | {"pixel_clip": bounds is not None}


def build_attack_rows(
    model_info: ModelInfo,
    result: AttackResult,
    attack: Mapping[str, Any],
    *,
    correct: np.ndarray | None = None,
) -> list[Row]:
    """Returns the rows of one attack.

    Args:
      model_info: The classifier.
      result: The result of the attack.
      attack: Name, epsilon (None for an attack without a budget) and options; with "targets" the
        attack is targeted.
      correct: bool [n], the images whose success counts; None for the correctly classified ones.

    Returns:
      TA; RA (a misclassified clean image counts as adversarial), and RA after each stage of an
      attack with several. For an attack without a budget, or a targeted one, the success rate on
      correctly classified images instead of RA. The mean distances of these successes; the mean
      numbers of calls; and the row "reliability".
    """
    count, correct = len(result), result.correct if correct is None else correct
    model_info = model_info.with_parameters(evaluation=PER_IMAGE)
    clean = compute_accuracy(float(correct.sum()), count)
    if attack["epsilon"] is None or attack.get("targets"):
        adversarial = (result.success & correct).sum()
        rate = compute_accuracy(float(adversarial), max(int(correct.sum()), 1))
        rows = [
            model_info.build_row("test_accuracy", clean),
            model_info.build_row("success_rate", rate, attack),
            model_info.build_reliability_row(result.flags, count, attack),
        ]
    else:
        robust = compute_accuracy(float((~result.success).sum()), count)
        rows = model_info.build_rows(clean, {"robust_accuracy": robust}, attack, result.flags)
    stages = result.after_stages()
    # Every stage of a minimum-norm attack runs on all images, and `stage` is that of the closest.
    if len(stages) > 1 and attack["epsilon"] is not None:
        for name, percent in stages.items():
            stage_accuracy = compute_accuracy(percent * count / 100, count)
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


def compute_mean(values: np.ndarray) -> Measurement:
    """Returns a mean, its standard error (None for one value), and n."""
    stderr = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None
    return Measurement(float(values.mean()), stderr, values.size)


def _get_parameters(name: str) -> Mapping[str, Any]:
    return inspect.signature(attacks.get(name)).parameters


def has_pixel_bounds(settings: Mapping[str, Any]) -> bool:
    """Returns whether the attack can clip pixels."""
    return "bounds" in _get_parameters(settings["name"])


def get_pixel_bounds(pixel_clip: bool) -> Bounds:
    """Returns the range of pixels, or None without clipping."""
    return (0.0, 1.0) if pixel_clip else None


def bind_attack(options: Mapping[str, Any], *, seed: int) -> Attack:
    """Returns the attack of options that `build_attack_options` returned."""
    arguments = {**options, "seed": seed}
    name = arguments.pop("name")
    arguments["bounds"] = get_pixel_bounds(arguments.pop("pixel_clip", True))
    accepted = _get_parameters(name)
    return attacks.bind(name, **{key: value for key, value in arguments.items() if key in accepted})


def build_attack_options(settings: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Returns name, epsilon and options of `settings` and `changes`, as recorded in a row."""
    attack_settings = {**settings, **changes}
    accepted = _get_parameters(attack_settings["name"])
    chosen = {key: attack_settings[key] for key in _ATTACK_OPTIONS if key in accepted}
    if "step_size" in chosen and chosen["step_size"] is None:
        chosen["step_size"] = attack_settings["epsilon"] / attack_settings["num_steps"]
    if has_pixel_bounds(attack_settings):
        chosen["pixel_clip"] = attack_settings["pixel_clip"]
    name, epsilon = attack_settings["name"], float(attack_settings["epsilon"])
    return {"name": name, "epsilon": epsilon, **chosen}


def build_trajectory_options(settings: Mapping[str, Any], *, pixel_clip: bool) -> dict[str, Any]:
    """Returns the options of the attack on X_n, in a ball around X_n.

    It clips if both the attack and the iterates (`pixel_clip`) clip.
    """
    return build_attack_options(settings, pixel_clip=bool(settings["pixel_clip"] and pixel_clip))


def build_attack_conditions(settings: Mapping[str, Any]) -> list[AttackCondition]:
    """Returns the attacks of the settings: with and without clipping, and a stronger one."""
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
