"""A control: in the place of every Delta_N the mean one of its class."""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup.augmentation import templates as augmentation_templates
from qup.augmentation import trajectories
from qup.augmentation import translator as augmentation_translator
from qup.augmentation.deltas import DeltaDataset as Pairs
from qup.augmentation.templates import LabelReader
from qup.augmentation.trajectories import TrajectoryPoint, evaluate_trajectory
from qup.core import compilation, measurements
from qup.core.measurements import ModelInfo, Row
from qup.core.types import Attack, Batch
from qup.datasets import examples as example_files
from qup.orchestration import In, Out, StatefulDir, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Deltas, Examples, Model, ModelEvaluation, Trajectory
from qup.robustness import evaluation as robustness_evaluation
from qup.robustness.transfer import evaluate_transfer


@component
def TemplateDeltaGen(
    examples: In[Examples], deltas: In[Deltas], templates: Out[Deltas], shards: StatefulDir
) -> None:
    """Replaces a walk by one fixed pattern a class.

    Args:
      examples: The images that were walked, with the labels that count.
      deltas: Their walk.
      templates: Pairs that a translator learns as those of a walk.
      shards: Of an unfinished replacement.
    """
    data = example_files.read(examples.path)
    pairs, labels = Pairs.open(deltas.path), augmentation_templates.load_labels_by_id(data)
    means = augmentation_templates.compute_class_means(pairs, labels, data.info.num_classes)
    template_deltas = augmentation_templates.write_template_deltas(pairs, means, labels, shards)
    template_deltas.link(templates.path)


# A control: the same images, with the labels that a classifier gives.


_PREDICTION_BATCH_SIZE = 500


@component
def LabelPredictor(examples: In[Examples], model: In[Model], predicted: Out[Examples]) -> None:
    """Replaces the labels of the training images by predicted ones.

    What is walked with them knows nothing of the true labels but what the
    classifier learnt.

    Args:
      examples: The images.
      model: The classifier.
      predicted: The same images; the other splits keep their labels.
    """
    classifier = artifacts.load_network(model.path)
    data = example_files.read(examples.path)
    classes = np.concatenate(
        [
            tf.argmax(compilation.predict(classifier, batch["image"]), -1)
            for batch in data.evaluation_batches("train", _PREDICTION_BATCH_SIZE)
        ]
    )
    shutil.copytree(examples.path, predicted.path, dirs_exist_ok=True)
    path = predicted.path / "Split-train" / "labels.npy"
    np.save(path, classes[: data.info.sizes["train"]].astype(np.int32))
    predicted.properties.update(examples.properties)


# A control: the class that a translator tells by its Delta.


_TEMPLATES_FILE = "templates.npz"


@component
def ImpliedClassMeter(
    examples: In[Examples],
    model: In[Model],
    translator: In[Model],
    deltas: In[Deltas],
    augmented: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    seed: int = 0,
) -> None:
    """Measures what accuracy a translator has by itself, and what RA.

    Args:
      examples: The images, with true labels.
      model: The classifier.
      translator: Image to Delta.
      deltas: What it learnt: a walk, or the templates of one.
      augmented: The pair of both, which the attack is made on.
      evaluation: Its rows: "implied_class_accuracy" by "read_by" and
        "images", see qup/augmentation/templates.py, and by the Delta that should
        be given, "delta_of_true_label"; of clean images, and with the
        columns of the attack of attacked ones. Also templates.npz:
        "templates" float32 [num_classes, height, width, channels].
      attack: The group `attack` of the settings, see qup/robustness/evaluation.py.
      num_images: How many images; None for all.
      split: The images to measure on.
      seed: Of random starts.
    """
    data, pairs = example_files.read(examples.path), Pairs.open(deltas.path)
    classifier = artifacts.load_network(model.path)
    templates = augmentation_templates.compute_class_means(
        pairs, augmentation_templates.load_labels_by_id(data), data.info.num_classes
    )
    np.savez(evaluation.path / _TEMPLATES_FILE, templates=templates)
    translator_network = artifacts.load_network(translator.path)
    label_readers = _build_label_readers(classifier, translator_network, pairs, templates)
    options = robustness_evaluation.build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    clean = data.evaluation_batches(split, size, max_images=num_images)
    attacked_batches = _iterate_attacked_batches(
        artifacts.load_network(augmented.path),
        clean,
        robustness_evaluation.bind_attack(options, seed=seed),
    )
    model_info = artifacts.load_model_info(augmented.path).with_parameters(split=split)
    rows = []
    for batches, attack_options in ((clean, None), (attacked_batches, options)):
        accuracies = augmentation_templates.evaluate_label_readers(
            label_readers, classifier, batches
        )
        for (reader, images), accuracy in accuracies.items():
            reader_info = model_info.with_parameters(read_by=reader, images=images)
            row = reader_info.build_row("implied_class_accuracy", accuracy, attack_options)
            rows.append(dataclasses.replace(row, artifact=_TEMPLATES_FILE))
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_label_readers(
    classifier: keras.Model, translator: keras.Model, pairs: Pairs, templates: np.ndarray
) -> dict[str, LabelReader]:
    compute_target = augmentation_translator.build_target_fn(classifier, pairs, templates)
    return {
        **augmentation_templates.build_label_readers(classifier, translator, templates),
        "delta_of_true_label": lambda batch: augmentation_templates.find_nearest_template(
            compute_target(batch), templates
        ),
    }


def _iterate_attacked_batches(
    augmented_classifier: keras.Model, batches: Iterable[Batch], attack: Attack
) -> Iterator[Batch]:
    for batch in batches:
        attacked_images = attack(
            augmented_classifier, batch["image"], batch["label"], ids=batch["id"]
        )
        yield {**batch, "image": attacked_images}


# A control: what is made to break a classifier, shown to its pair.


@component
def TransferAnalyzer(
    examples: In[Examples],
    model: In[Model],
    augmented: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    seed: int = 0,
) -> None:
    """Attacks a classifier and its pair, and shows the images to each.

    Args:
      examples: The images.
      model: The classifier, CL.
      augmented: The classifier behind a translator, ACL.
      evaluation: Its rows of each network: "robust_accuracy",
        "robust_accuracy_strict" and "broken_by_transfer_alone", with
        "made_on" "CL" or "ACL". Rows of CL have the parameters of ACL, too.
      attack: The group `attack` of the settings, see qup/robustness/evaluation.py.
      num_images: How many images; None for all.
      split: The images to attack.
      seed: Of random starts.
    """
    data = example_files.read(examples.path)
    model_paths = {"CL": model.path, "ACL": augmented.path}
    model_infos = {name: artifacts.load_model_info(path) for name, path in model_paths.items()}
    networks = {name: artifacts.load_network(path) for name, path in model_paths.items()}
    options = robustness_evaluation.build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    transfer_results = evaluate_transfer(
        networks,
        data.evaluation_batches(split, size, max_images=num_images),
        robustness_evaluation.bind_attack(options, seed=seed),
    )
    augmented_parameters = {**model_infos["ACL"].parameters, "split": split}
    rows = []
    for (made_on, evaluated_on), values in transfer_results.items():
        model_info = model_infos[evaluated_on].with_parameters(
            **augmented_parameters, made_on=made_on
        )
        rows += [
            model_info.build_row(measure, value, options)
            for measure, value in values._asdict().items()
        ]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


# A control: how much of Delta a translator gives, of images it never saw.


@component
def TranslatorMeter(
    examples: In[Examples],
    model: In[Model],
    translator: In[Model],
    deltas: In[Deltas],
    evaluation: Out[ModelEvaluation],
    *,
    row_parameters: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 500,
) -> None:
    """Measures the L1 error of a translator, beside that of no translator.

    Args:
      examples: The images, with true labels.
      model: The classifier.
      translator: Image to Delta.
      deltas: What it learnt: a walk, or the templates of one.
      evaluation: Its rows: "translator_l1_error", in units of [0, 1], and
        "translator_l1_error_relative", its share of the mean |Delta|, each
        of a "predictor": the "translator", the "class_template" of the true
        class, and "zero".
      row_parameters: What its rows tell beside the classifier's.
      num_images: How many images; None for all.
      split: The images to measure on.
      batch_size: Images at a time.
    """
    data, pairs = example_files.read(examples.path), Pairs.open(deltas.path)
    translator_network = artifacts.load_network(translator.path)
    templates = augmentation_templates.compute_class_means(
        pairs, augmentation_templates.load_labels_by_id(data), data.info.num_classes
    )
    translator_l1_errors = augmentation_translator.compute_l1_errors(
        {
            "translator": lambda batch: compilation.predict(translator_network, batch["image"]),
            "class_template": lambda batch: tf.gather(templates, batch["label"]),
            "zero": lambda batch: tf.zeros_like(batch["image"]),
        },
        data.evaluation_batches(split, batch_size, max_images=num_images),
        augmentation_translator.build_target_fn(
            artifacts.load_network(model.path), pairs, templates
        ),
    )
    model_info = artifacts.load_model_info(model.path).with_parameters(
        **row_parameters, split=split, translator_parameters=translator_network.count_params()
    )
    rows = _build_translator_rows(
        dataclasses.replace(model_info, classifier="ACL"), translator_l1_errors
    )
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_translator_rows(
    model_info: ModelInfo, translator_l1_errors: dict[str, augmentation_translator.L1Error]
) -> list[Row]:
    """Returns the rows; where every Delta is zero there is no share."""
    rows = []
    for name, error in translator_l1_errors.items():
        predictor_info = model_info.with_parameters(predictor=name)
        rows.append(predictor_info.build_row("translator_l1_error", error.pixels))
        if np.isfinite(error.relative.value):
            rows.append(predictor_info.build_row("translator_l1_error_relative", error.relative))
    return rows


# A control: opposite FGSM on images that no translator was taught with.


@component
def WalkEvaluator(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    walk: dict[str, Any],
    attack: dict[str, Any],
    walked_with: list[str],
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 500,
    seed: int = 0,
) -> None:
    """Gives TA and RA of images walked with true and with predicted labels.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows: "test_accuracy" of X_n, and "robust_accuracy" of
        X_n ("attacked_image":"X_n") and of an attacked X_0 that was walked
        ("X_0"), each with "step" and "walked_with".
      walk: As DeltaGen takes it; of it "points", the n to measure at, and
        "step_size", "bounds" and "loss" are used.
      attack: The group `attack` of the settings, see qup/robustness/evaluation.py.
      walked_with: "true", "predicted" or both.
      num_images: How many images; None for all.
      split: The images to walk.
      batch_size: Images at a time.
      seed: Of random starts.
    """
    data = example_files.read(examples.path)
    classifier = artifacts.load_network(model.path)
    steps = {name: walk[name] for name in ("step_size", "bounds", "loss")}
    clip = steps["bounds"] is not None
    options = {
        "X_n": robustness_evaluation.build_trajectory_options(attack, pixel_clip=clip),
        "X_0": robustness_evaluation.build_attack_options(attack),
    }
    bound_attacks = {
        key: robustness_evaluation.bind_attack(o, seed=seed) for key, o in options.items()
    }
    model_info = artifacts.load_model_info(model.path).with_parameters(
        images="X_n",
        split=split,
        augmentation_step_size=steps["step_size"],
        augmentation_pixel_clip=clip,
        augmentation_loss=steps["loss"],
    )
    rows = []
    for labels in walked_with:
        points = evaluate_trajectory(
            classifier,
            data.evaluation_batches(split, batch_size, max_images=num_images),
            bound_attacks["X_n"],
            attack_before=bound_attacks["X_0"],
            points=walk["points"],
            label_source=labels,
            **steps,
        )
        for point in points:
            rows += _build_walk_rows(model_info.with_parameters(walked_with=labels), point, options)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_walk_rows(
    model_info: ModelInfo, point: TrajectoryPoint, options: dict[str, dict[str, Any]]
) -> list[Row]:
    model_info = model_info.with_parameters(step=point.step)
    robust_accuracies = {"X_n": point.attacked_after, "X_0": point.attacked_before}
    return [
        model_info.build_row("test_accuracy", point.test_accuracy),
        *(
            model_info.with_parameters(attacked_image=image).build_row(
                "robust_accuracy", accuracy, options[image]
            )
            for image, accuracy in robust_accuracies.items()
        ),
    ]


# Supplement, Fig. 2: TA and RA of the walked training images alone.


@component
def WalkMeter(
    model: In[Model],
    trajectory: In[Trajectory],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    row_parameters: dict[str, Any],
) -> None:
    """Gives the numbers of a walk that no translator has learnt.

    Args:
      model: The classifier.
      trajectory: What was counted.
      evaluation: Its rows: those of `Analyzer`, with "figure":"supp_fig2".
      attack: Options of the attack on X_n.
      row_parameters: What its rows tell beside the classifier's.
    """
    model_info = artifacts.load_model_info(model.path).with_parameters(
        figure="supp_fig2", **row_parameters
    )
    trajectory_counts = json.loads((trajectory.path / "trajectory.json").read_text())
    rows = trajectories.build_trajectory_rows(model_info, trajectory_counts, attack)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
