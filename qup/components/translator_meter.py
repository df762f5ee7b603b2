"""A control: what a translator knows of Delta, and what of the class."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup import (
    class_templates,
    compilation,
    implied_classes,
    looks,
    measurements,
    opposite_fgsm,
)
from qup.components import artifacts, plugins
from qup.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.deltas import Deltas as Pairs
from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import Subject
from qup.translator_errors import DeltaFn, Error, l1_errors
from qup.types import Attack, Batch

_TEMPLATES = "templates.npz"


@component(
    plugins=lambda given: (
        plugins.attack(given) if given["attack"] else plugins.none(given)
    )
)
def TranslatorMeter(
    examples: In[Examples],
    model: In[Model],
    translator: In[Model],
    deltas: In[Deltas],
    evaluation: Out[ModelEvaluation],
    augmented: In[Model] = None,
    *,
    row_parameters: dict[str, Any],
    attack: dict[str, Any] | None = None,
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 500,
    seed: int = 0,
) -> None:
    """Measures a translator's error of Delta and its implied classes.

    Args:
      examples: The images, with true labels.
      model: The classifier.
      translator: Image to Delta.
      deltas: What it learnt: a walk, or the templates of one.
      evaluation: Its rows: "translator_l1_error", in units of [0, 1], and
        "translator_l1_error_relative" of each "predictor": "translator",
        "class_template" (the true class's) and "zero"; and
        "implied_class_accuracy" by "read_by" and "images", see
        qup/implied_classes.py, of clean images and, with an attack, of
        images attacked on `augmented`. Also templates.npz: "templates"
        float32 [num_classes, height, width, channels].
      augmented: The pair, which the attack is made on.
      row_parameters: What its rows tell beside the classifier's.
      attack: The group `attack` of the settings, see qup/looks.py; None
        looks at clean images alone.
      num_images: How many images; None for all.
      split: The images to measure on.
      batch_size: Images at a time.
      seed: Of random starts.
    """
    data, pairs = files_of_examples.read(examples.path), Pairs.open(deltas.path)
    classifier = artifacts.load_network(model.path)
    network = artifacts.load_network(translator.path)
    templates = class_templates.class_means(
        pairs, class_templates.known_labels(data), data.info.num_classes
    )
    np.savez(evaluation.path / _TEMPLATES, templates=templates)
    target = _target(classifier, pairs, templates)
    batches = data.evaluation_batches(split, batch_size, limit=num_images)
    subject = artifacts.subject(model.path).such(
        **row_parameters,
        split=split,
        translator_parameters=network.count_params(),
    )
    subject = dataclasses.replace(subject, classifier="ACL")

    rows = []
    predictors = _predictors(network, templates)
    for name, error in l1_errors(predictors, batches, target).items():
        rows += _error_rows(subject.such(predictor=name), error)
    readers = implied_classes.readers(classifier, network, templates)
    readers["delta_of_true_label"] = lambda batch: class_templates.nearest(
        target(batch), templates
    )
    found = implied_classes.implied_accuracies(readers, classifier, batches)
    rows += _implied_rows(subject, found)
    if attack and augmented:
        options = looks.options(attack)
        moved = _attacked(
            artifacts.load_network(augmented.path), batches,
            looks.bound(options, seed=seed),
        )  # fmt: skip
        found = implied_classes.implied_accuracies(readers, classifier, moved)
        rows += _implied_rows(subject, found, options)
    measurements.write(evaluation.path / "measurements.csv", rows)


def _target(
    classifier: keras.Model, pairs: Pairs, templates: np.ndarray
) -> DeltaFn:
    """Returns what the translator should give for an image."""
    if pairs.settings.get(class_templates.KEY) == class_templates.REPLACED:
        return lambda batch: tf.gather(templates, batch["label"])

    def walked(batch: Batch) -> tf.Tensor:
        start, labels = batch["image"], batch["label"]
        end = opposite_fgsm.walk(classifier, start, labels, **pairs.walk)
        return end - start

    return walked


def _predictors(
    network: keras.Model, templates: np.ndarray
) -> dict[str, DeltaFn]:
    return {
        "translator": lambda batch: compilation.predict(
            network, batch["image"]
        ),
        "class_template": lambda batch: tf.gather(templates, batch["label"]),
        "zero": lambda batch: tf.zeros_like(batch["image"]),
    }


def _attacked(
    pair: keras.Model, batches: Iterable[Batch], attack: Attack
) -> Iterator[Batch]:
    for batch in batches:
        moved = attack(pair, batch["image"], batch["label"], ids=batch["id"])
        yield {**batch, "image": moved}


def _error_rows(subject: Subject, error: Error) -> list[Row]:
    """Returns the rows of one predictor; where all Delta are 0, no share."""
    rows = [subject.row("translator_l1_error", error.pixels)]
    if np.isfinite(error.relative.value):
        rows.append(subject.row("translator_l1_error_relative", error.relative))
    return rows


def _implied_rows(
    subject: Subject,
    found: Mapping[tuple[str, str], Accuracy],
    options: dict[str, Any] | None = None,
) -> list[Row]:
    rows = [
        subject.such(read_by=reader, images=images).row(
            "implied_class_accuracy", accuracy, options
        )
        for (reader, images), accuracy in found.items()
    ]
    return [dataclasses.replace(row, artifact=_TEMPLATES) for row in rows]
