"""A control: the class that a translator tells by its Delta."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from qup import (
    class_templates,
    implied_classes,
    looks,
    measurements,
    translator_errors,
)
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.deltas import Deltas as Pairs
from qup.implied_classes import Reader
from qup.orchestration import In, Out, component
from qup.types import Attack, Batch

_TEMPLATES = "templates.npz"


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
        "images", see qup/implied_classes.py, and by the Delta that should
        be given, "delta_of_true_label"; of clean images, and with the
        columns of the attack of attacked ones. Also templates.npz:
        "templates" float32 [num_classes, height, width, channels].
      attack: The group `attack` of the settings, see qup/looks.py.
      num_images: How many images; None for all.
      split: The images to measure on.
      seed: Of random starts.
    """
    data, pairs = files_of_examples.read(examples.path), Pairs.open(deltas.path)
    classifier = artifacts.load_network(model.path)
    templates = class_templates.class_means(
        pairs, class_templates.known_labels(data), data.info.num_classes
    )
    np.savez(evaluation.path / _TEMPLATES, templates=templates)
    network = artifacts.load_network(translator.path)
    readers = _readers(classifier, network, pairs, templates)
    options = looks.options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    clean = data.evaluation_batches(split, size, limit=num_images)
    attacked = _attacked(
        artifacts.load_network(augmented.path),
        clean,
        looks.bound(options, seed=seed),
    )
    subject = artifacts.subject(augmented.path).such(split=split)
    rows = []
    for batches, how in ((clean, None), (attacked, options)):
        found = implied_classes.implied_accuracies(readers, classifier, batches)
        for (reader, images), accuracy in found.items():
            one = subject.such(read_by=reader, images=images)
            row = one.row("implied_class_accuracy", accuracy, how)
            rows.append(dataclasses.replace(row, artifact=_TEMPLATES))
    measurements.write(evaluation.path / "measurements.csv", rows)


def _readers(
    classifier: keras.Model,
    translator: keras.Model,
    pairs: Pairs,
    templates: np.ndarray,
) -> dict[str, Reader]:
    target = translator_errors.taught(classifier, pairs, templates)
    return {
        **implied_classes.readers(classifier, translator, templates),
        "delta_of_true_label": lambda batch: class_templates.nearest(
            target(batch), templates
        ),
    }


def _attacked(
    pair: keras.Model, batches: Iterable[Batch], attack: Attack
) -> Iterator[Batch]:
    for batch in batches:
        moved = attack(pair, batch["image"], batch["label"], ids=batch["id"])
        yield {**batch, "image": moved}
