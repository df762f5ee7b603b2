"""Controls of Iterative FGSM Augmentation: the contribution of a translator, and its causes."""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup import uncertainty
from qup.augmentation import opposite_fgsm
from qup.augmentation.deltas import DeltaDataset
from qup.augmentation.templates import (
    build_label_readers,
    compute_class_means,
    evaluate_label_readers,
    find_nearest_template,
    load_labels_by_id,
    write_template_deltas,
)
from qup.augmentation.trajectories import build_trajectory_rows, evaluate_trajectory
from qup.augmentation.translator import build_target_fn, compute_l1_errors
from qup.core import compilation, errors
from qup.core.classifier import predict_logits
from qup.core.types import Attack, Batch
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.orchestration import In, Out, StatefulDir, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Deltas,
    Examples,
    Model,
    ModelEvaluation,
    Trajectory,
    UncertaintyMap,
)
from qup.robustness.evaluation import bind_attack, build_attack_options, build_trajectory_options
from qup.robustness.transfer import evaluate_transfer
from qup.uncertainty import estimation
from qup.uncertainty import measurements as uncertainty_measurements
from qup.uncertainty.estimation import EstimationTask, PacketLocation

_PREDICTION_BATCH_SIZE = 500
_TEMPLATES_FILE = "templates.npz"
_TRANSLATOR_ESTIMATOR = "importance"


@component
def TemplateDeltaGen(
    examples: In[Examples], deltas: In[Deltas], templates: Out[Deltas], shards: StatefulDir
) -> None:
    """Replaces every Delta_N by the mean Delta_N of its class.

    Args:
      examples: The images of `deltas`, with the labels that define the classes.
      deltas: The pairs (X_0, Delta_N).
      templates: The pairs (X_0, class mean).
      shards: State of an interrupted replacement.
    """
    data = example_files.read(examples.path)
    pairs, labels = DeltaDataset.open(deltas.path), load_labels_by_id(data)
    means = compute_class_means(pairs, labels, data.info.num_classes)
    write_template_deltas(pairs, means, labels, shards).link(templates.path)


@component
def LabelPredictor(examples: In[Examples], model: In[Model], predicted: Out[Examples]) -> None:
    """Replaces the labels of the training images by the classifier's predictions.

    Opposite-FGSM iterates of these images contain no information on the true labels beyond the
    predictions.

    Args:
      predicted: The same images; the labels of the other splits do not change.
    """
    classifier = artifacts.load_network(model.path)
    data = example_files.read(examples.path)
    classes = np.concatenate(
        [
            tf.argmax(predict_logits(classifier, batch["image"]), -1)
            for batch in data.evaluation_batches("train", _PREDICTION_BATCH_SIZE)
        ]
    )
    shutil.copytree(examples.path, predicted.path, dirs_exist_ok=True)
    path = predicted.path / "Split-train" / "labels.npy"
    np.save(path, classes[: data.info.sizes["train"]].astype(np.int32))
    example_files.share_images(predicted.path)
    predicted.properties.update(examples.properties)


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
    """Measures the TA and the RA of a translator as a classifier of its own.

    Args:
      augmented: The network that is attacked.
      evaluation: "implied_class_accuracy" by "read_by" and "images", see
        qup/augmentation/templates.py, and by the correct Delta_N, "delta_of_true_label"; of clean
        images, and with the columns of the attack of attacked images. templates.npz: "templates"
        float32 [num_classes, height, width, channels].
    """
    data, pairs = example_files.read(examples.path), DeltaDataset.open(deltas.path)
    classifier = artifacts.load_network(model.path)
    translator_network = artifacts.load_network(translator.path)
    class_means = compute_class_means(pairs, load_labels_by_id(data), data.info.num_classes)
    np.savez(evaluation.path / _TEMPLATES_FILE, templates=class_means)
    compute_target = build_target_fn(classifier, pairs, class_means)
    label_readers = {
        **build_label_readers(classifier, translator_network, class_means),
        "delta_of_true_label": lambda batch: find_nearest_template(
            compute_target(batch), class_means
        ),
    }
    options = build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    clean_batches = data.evaluation_batches(split, size, max_images=num_images)
    attacked_batches = _iterate_attacked_batches(
        artifacts.load_network(augmented.path), clean_batches, bind_attack(options, seed=seed)
    )
    model_info = artifacts.load_model_info(augmented.path).with_parameters(split=split)
    rows = []
    for batches, attack_options in ((clean_batches, None), (attacked_batches, options)):
        accuracies = evaluate_label_readers(label_readers, classifier, batches)
        for (reader, images), accuracy in accuracies.items():
            reader_info = model_info.with_parameters(read_by=reader, images=images)
            rows.append(reader_info.build_row("implied_class_accuracy", accuracy, attack_options))
    artifacts.write_rows(evaluation, rows, arrays_file=_TEMPLATES_FILE)


def _iterate_attacked_batches(
    augmented_classifier: keras.Model, batches: Iterable[Batch], attack: Attack
) -> Iterator[Batch]:
    for batch in batches:
        attacked_images = attack(
            augmented_classifier, batch["image"], batch["label"], ids=batch["id"]
        )
        yield {**batch, "image": attacked_images}


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
    """Attacks CL and ACL, and evaluates each on the adversarial images of both.

    Args:
      evaluation: Of each network "robust_accuracy", "robust_accuracy_strict" and
        "broken_by_transfer_alone", with "made_on" "CL" or "ACL". Rows of CL have the parameters
        of ACL, too.
    """
    data = example_files.read(examples.path)
    model_paths = {"CL": model.path, "ACL": augmented.path}
    model_infos = {name: artifacts.load_model_info(path) for name, path in model_paths.items()}
    networks = {name: artifacts.load_network(path) for name, path in model_paths.items()}
    options = build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    batches = data.evaluation_batches(split, size, max_images=num_images)
    transfer_results = evaluate_transfer(networks, batches, bind_attack(options, seed=seed))
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
    artifacts.write_rows(evaluation, rows)


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
    """Measures the L1 error of a translator, and of two baselines, on held-out images.

    Args:
      evaluation: "translator_l1_error", in units of [0, 1], and "translator_l1_error_relative",
        its ratio to the mean |Delta_N|, each of a "predictor": the "translator", the
        "class_template" of the true class, and "zero". The ratio has no row where every Delta_N
        is zero.
    """
    network = artifacts.load_network(translator.path)
    data, classifier, model_info = artifacts.load_inputs(
        examples, model, **row_parameters, split=split, translator_parameters=network.count_params()
    )
    pairs = DeltaDataset.open(deltas.path)
    class_means = compute_class_means(pairs, load_labels_by_id(data), data.info.num_classes)
    l1_errors = compute_l1_errors(
        {
            "translator": lambda batch: compilation.predict(network, batch["image"]),
            "class_template": lambda batch: tf.gather(class_means, batch["label"]),
            "zero": lambda batch: tf.zeros_like(batch["image"]),
        },
        data.evaluation_batches(split, batch_size, max_images=num_images),
        build_target_fn(classifier, pairs, class_means),
    )
    model_info = dataclasses.replace(model_info, classifier="ACL")
    rows = []
    for name, error in l1_errors.items():
        predictor_info = model_info.with_parameters(predictor=name)
        rows.append(predictor_info.build_row("translator_l1_error", error.pixels))
        if np.isfinite(error.relative.value):
            rows.append(predictor_info.build_row("translator_l1_error_relative", error.relative))
    artifacts.write_rows(evaluation, rows)


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
    """Measures TA and RA of opposite-FGSM iterates X_n of held-out images.

    Args:
      evaluation: "test_accuracy" of X_n, and "robust_accuracy" of X_n ("attacked_image":"X_n")
        and of opposite FGSM after an attack on X_0 ("X_0"), each with "step" and "walked_with".
      walk: See `DeltaGen`; only "points" (the n that are measured), "step_size", "bounds" and
        "loss" are used.
      walked_with: Labels of opposite FGSM: "true", "predicted" or both.
    """
    steps = {name: walk[name] for name in ("step_size", "bounds", "loss")}
    clip = steps["bounds"] is not None
    options = {
        "X_n": build_trajectory_options(attack, pixel_clip=clip),
        "X_0": build_attack_options(attack),
    }
    bound_attacks = {key: bind_attack(o, seed=seed) for key, o in options.items()}
    data, classifier, model_info = artifacts.load_inputs(
        examples,
        model,
        images="X_n",
        split=split,
        augmentation_step_size=steps["step_size"],
        augmentation_pixel_clip=clip,
        augmentation_loss=steps["loss"],
    )
    rows = []
    for label_source in walked_with:
        points = evaluate_trajectory(
            classifier,
            data.evaluation_batches(split, batch_size, max_images=num_images),
            bound_attacks["X_n"],
            attack_before=bound_attacks["X_0"],
            points=walk["points"],
            label_source=label_source,
            **steps,
        )
        for point in points:
            point_info = model_info.with_parameters(walked_with=label_source, step=point.step)
            rows.append(point_info.build_row("test_accuracy", point.test_accuracy))
            for image, accuracy in (("X_n", point.attacked_after), ("X_0", point.attacked_before)):
                image_info = point_info.with_parameters(attacked_image=image)
                rows.append(image_info.build_row("robust_accuracy", accuracy, options[image]))
    artifacts.write_rows(evaluation, rows)


@component
def WalkMeter(
    model: In[Model],
    trajectory: In[Trajectory],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    row_parameters: dict[str, Any],
) -> None:
    """Writes TA and RA of the opposite-FGSM iterates of training images (supplement, Fig. 2).

    Args:
      trajectory: Counts of correctly classified iterates X_n.
      evaluation: The rows of `Analyzer`, with "figure":"supp_fig2".
      attack: Options of the attack on X_n.
    """
    model_info = artifacts.load_model_info(model.path).with_parameters(
        figure="supp_fig2", **row_parameters
    )
    trajectory_counts = json.loads((trajectory.path / "trajectory.json").read_text())
    rows = build_trajectory_rows(model_info, trajectory_counts, attack)
    artifacts.write_rows(evaluation, rows)


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
    """Measures the uncertainty relation of a translator's loss.

    The supplement (section 3) extends the theorem to generators: "the uncertainty principle
    should be a common result for general neural networks". A translator's loss is the L1 distance
    to Delta_N, so its packet is psi(X) ~ mean |G(X) - Delta_N(x)| for one test image x.

    Args:
      evaluation: See `uncertainty_measurements.build_relation_rows`.
      relations: All axes.
      domain: "box", "sine" or "window:0.1", a window around the image.
      image: Index of the test image x.
      sizes: See `EstimationTask`.

    Raises:
      InputError: There is no such image, or the packet cannot be measured.
    """
    data = example_files.read(examples.path)
    network = artifacts.load_network(translator.path)
    target, location = _compute_delta_target(data, image, model, DeltaDataset.open(deltas.path))
    task = EstimationTask(
        data.info.image_shape,
        uncertainty.of_translator(network, target),
        location,
        estimation.parse_domain(domain, location.centre),
        sizes,
        seed,
    )
    directions, row_names = estimation.choose_axes(
        task.packet, location, {}, directions_file=None, seed=seed
    )
    relation = task.estimate(_TRANSLATOR_ESTIMATOR, directions)
    setting = {
        "packet": "l1",
        "domain": domain,
        "centre": f"image:{image}",
        "control": "translator",
    }
    model_info = artifacts.load_model_info(model.path).with_parameters(**row_parameters, **setting)
    model_info = dataclasses.replace(model_info, classifier="ACL", seed=seed)
    estimation.save_relations(
        task, {_TRANSLATOR_ESTIMATOR: relation}, model_info, setting, relations.path
    )
    rows = uncertainty_measurements.build_relation_rows(
        model_info, relation, named_axes=row_names, artifact=f"{_TRANSLATOR_ESTIMATOR}.npz"
    )
    artifacts.write_rows(evaluation, rows)


def _compute_delta_target(
    data: Dataset, image: int, model: Model, deltas: DeltaDataset
) -> tuple[tf.Tensor, PacketLocation]:
    """Returns Delta_N of a test image, float32, and the location of the image."""
    images, labels, _ = data.get_arrays("test")
    if not 0 <= image < len(labels):
        raise errors.InputError(f"image must be from 0 to {len(labels) - 1}; got {image}.")
    label = labels[image]
    clean_images = images[image][None] / np.float32(255)
    iterates = opposite_fgsm.iterate(
        artifacts.load_network(model.path), clean_images, label[None], **deltas.iterate_options
    )
    location = estimation.build_location(data, int(label), f"image:{image}")
    return (iterates - clean_images)[0], location
