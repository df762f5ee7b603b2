"""Eqs. 21 and 22: whether a gradient may stand in the place of its sign."""

import dataclasses
import itertools
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from qup import uncertainty
from qup.augmentation import opposite_fgsm
from qup.augmentation.deltas import DeltaDataset as Pairs
from qup.core import errors, measurements, progress
from qup.core.measurements import Accuracy, ModelInfo, Row
from qup.core.types import Batch, LogitsFn
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Deltas,
    Examples,
    Model,
    ModelEvaluation,
    UncertaintyMap,
)
from qup.reproduction.measures import example, gradient_steps
from qup.reproduction.measures.example import AttackExample
from qup.robustness import clever as robustness_clever
from qup.robustness import evaluation, margins
from qup.robustness.evaluation import evaluate_attack
from qup.uncertainty import estimation
from qup.uncertainty import measurements as uncertainty_measurements
from qup.uncertainty.estimation import EstimationTask, PacketLocation

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
    data = example_files.read(examples.path)
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


def _compute_test_accuracy(classifier: LogitsFn, batches: Iterable[Batch]) -> measurements.Accuracy:
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
    share = measurements.compute_accuracy(float(zero.sum()), len(zero))
    rows = [model_info.build_row("zero_gradient", share)]
    if not zero.all():
        mean = evaluation.compute_mean(cosines[~zero].astype(np.float64))
        rows.append(model_info.build_row("gradient_sign_cosine", mean))
    return [dataclasses.replace(row, artifact=_STEPS_FILE) for row in rows]


def _compute_robust_accuracy(
    classifier: LogitsFn, batches: Iterable[Batch], attack: dict[str, Any]
) -> measurements.Accuracy:
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
    return measurements.compute_accuracy(num_correct, total)


# What might predict RA beside the uncertainty: gradients, margins, CLEVER.


# Value of the parameter "evaluation" of these rows.
PREDICTORS_EVALUATION = "predictors"
_PREDICTORS_FILE = "predictors.npz"
# How CLEVER samples unless told.
_CLEVER_DEFAULTS = {"num_batches": 50, "num_samples": 256, "radius": 0.1}


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
    """Measures each of the first images, and gives means over them.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows, each a mean over images with its standard error:
        `predictors.NAMES`, and "clever_linf" with the parameters of its
        sampling. A mean leaves out images of infinite ratio; n tells how
        many are left. In predictors.npz the same names, float [n], and "id",
        int64 [n]; those of CLEVER are the first ones'.
      num_images: How many images; None for all.
      clever: "num_images", 0 for no CLEVER; and "num_batches" (50),
        "num_samples" (256) and "radius" (0.1) of `measures.clever`, where
        they are to be others. An image takes num_batches * num_samples *
        (classes - 1) gradients.
      split: Where the images are from.
      batch_size: Images, or samples, a batch.
      seed: Of CLEVER's samples.
    """
    data = example_files.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    model_info = artifacts.load_model_info(model.path)
    model_info = model_info.with_parameters(evaluation=PREDICTORS_EVALUATION, split=split)
    batches = data.evaluation_batches(split, batch_size, max_images=num_images)
    arrays = margins.compute_predictors(classifier, batches)
    rows = [
        model_info.build_row(name, evaluation.compute_mean(_select_finite(arrays[name])))
        for name in margins.PREDICTORS
        if len(_select_finite(arrays[name]))
    ]
    sampling = {**_CLEVER_DEFAULTS, **clever}
    if count := sampling.pop("num_images"):
        scores = _compute_clever_scores(
            classifier, data, split, count, batch_size=batch_size, seed=seed, **sampling
        )
        arrays["clever_linf"] = scores
        clever_parameters = {f"clever_{name}": value for name, value in sampling.items()}
        mean = evaluation.compute_mean(scores)
        rows.append(
            model_info.with_parameters(**clever_parameters, clever_seed=seed).build_row(
                "clever_linf", mean
            )
        )
    np.savez(evaluation.path / _PREDICTORS_FILE, **arrays)
    rows = [dataclasses.replace(row, artifact=_PREDICTORS_FILE) for row in rows]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _select_finite(values: np.ndarray) -> np.ndarray:
    """Returns the finite ones, float64."""
    return values[np.isfinite(values)].astype(np.float64)


def _compute_clever_scores(
    classifier: LogitsFn, data: Dataset, split: str, count: int, **options: Any
) -> np.ndarray:
    """Returns the untargeted scores of the first images, float64 [n]."""
    images, labels, ids = (array[:count] for array in data.get_arrays(split))
    clever_result = robustness_clever(
        classifier, images / np.float32(255), labels, ids=ids, norm="linf", **options
    )
    return clever_result.untargeted


# Fig. 1: one image that FGSM turns, and the accuracies it stands for.


_log = logging.getLogger("qup")
_EXAMPLE_FILE = "example.npz"


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
    """Shows one attacked image, and TA and RA of all.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows: "test_accuracy", "robust_accuracy" and
        "robust_accuracy_strict", and of the image "clean_confidence" and
        "attacked_confidence" in percent, of the class that the network
        names; and example.npz, see `example.Example.arrays`.
      attack: Name, epsilon and options, as `looks.bound` takes them: the
        figure's is {"name": "fgsm", "epsilon": 8 / 255, "norm": "linf",
        "loss": "cross_entropy", "pixel_clip": True}.
      num_images: How many images; None for all.
      split: Where they are from.
      batch_size: Images a batch.
      seed: Of a random attack.
    """
    data = example_files.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    bound_attack = evaluation.bind_attack(attack, seed=seed)
    size = min(batch_size, num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, max_images=num_images)
    values = evaluate_attack(classifier, batches, bound_attack)._asdict()
    images, labels, ids = (a[:num_images] for a in data.get_arrays(split))
    attacked_example = example.find_example(
        classifier, images, labels, ids, bound_attack, batch_size=size
    )
    model_info = artifacts.load_model_info(model.path).with_parameters(split=split, figure="fig1")
    rows = model_info.build_rows(values.pop("test_accuracy"), values, attack)
    rows += _build_confidence_rows(model_info, attacked_example, data.info.class_names, attack)
    arrays = attacked_example.to_arrays(data.info.class_names)
    np.savez(evaluation.path / _EXAMPLE_FILE, **arrays)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
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
        model_info.with_parameters(named=class_names[attacked_example.clean_class]).build_row(
            "clean_confidence", Accuracy(attacked_example.clean_confidence, None, 1)
        ),
        model_info.with_parameters(named=class_names[attacked_example.attacked_class]).build_row(
            "attacked_confidence", Accuracy(attacked_example.attacked_confidence, None, 1), attack
        ),
    ]
    return [dataclasses.replace(row, artifact=_EXAMPLE_FILE) for row in rows]


# Step 8: the uncertainty relation of a translator's own loss.
#
# The supplement (section 3) extends the paper's theorem to generators: "the
# uncertainty principle should be a common result for general neural networks".
# A translator's loss is the L1 distance to Delta_N, so its packet is
# psi(X) ~ mean |G(X) - Delta_N(x)|, x one image that it never saw.


_TRANSLATOR_ESTIMATOR = "importance"


@component
def TranslatorAnalyzer(
    examples: In[Examples],
    model: In[Model],
    translator: In[Model],
    deltas: In[Deltas],
    evaluation: Out[ModelEvaluation],
    relations: Out[UncertaintyMap],
    *,
    domain: str,
    image: int,
    sizes: dict[str, int],
    row_parameters: dict[str, Any],
    seed: int = 0,
) -> None:
    """Measures both sides of the relation for a translator.

    Args:
      examples: The images.
      model: The classifier whose walk was taught.
      translator: G, image to Delta.
      deltas: The walk.
      evaluation: Its rows, see `uncertainty_rows.of_relation`.
      relations: All axes; see `UncertaintyMap`.
      domain: "box", "sine" or "window:0.1", a window round the image.
      image: The test image x whose Delta_N is the target.
      sizes: See `uncertainty_case.Case`.
      row_parameters: What its rows tell beside the classifier's.
      seed: Of everything random.

    Raises:
      InputError: There is no such image, or the packet cannot be measured.
    """
    data = example_files.read(examples.path)
    network = artifacts.load_network(translator.path)
    target, location = _compute_delta_target(data, image, model, Pairs.open(deltas.path))
    case = EstimationTask(
        data.info.image_shape,
        uncertainty.of_translator(network, target),
        location,
        estimation.parse_domain(domain, location.centre),
        sizes,
        seed,
    )
    directions, row_names = estimation.choose_axes(
        case.packet, location, {}, directions_file=None, seed=seed
    )
    relation = case.estimate(_TRANSLATOR_ESTIMATOR, directions)
    setting = {
        "packet": "l1",
        "domain": domain,
        "centre": f"image:{image}",
        "control": "translator",
    }
    model_info = artifacts.load_model_info(model.path).with_parameters(**row_parameters, **setting)
    model_info = dataclasses.replace(model_info, classifier="ACL", seed=seed)
    estimation.save_relations(
        case, {_TRANSLATOR_ESTIMATOR: relation}, model_info, setting, relations.path
    )
    rows = uncertainty_measurements.build_relation_rows(
        model_info, relation, named_axes=row_names, artifact=f"{_TRANSLATOR_ESTIMATOR}.npz"
    )
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _compute_delta_target(
    data: Dataset, image: int, model: Model, deltas: Pairs
) -> tuple[tf.Tensor, PacketLocation]:
    """Returns Delta_N of a test image, float32, and the image's place."""
    images, labels, _ = data.get_arrays("test")
    if not 0 <= image < len(labels):
        raise errors.InputError(
            f"image must be one of the {len(labels)} test images, from 0; got {image}."
        )
    label = labels[image]
    clean_images = images[image][None] / np.float32(255)
    walked_images = opposite_fgsm.iterate(
        artifacts.load_network(model.path), clean_images, label[None], **deltas.iterate_options
    )
    location = estimation.build_location(data, int(label), f"image:{image}")
    return (walked_images - clean_images)[0], location
