"""A control: the class that a translator tells by its Delta."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from qup import class_templates, implied_classes, looks, measurements, translator_errors
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.deltas import DeltaDataset as Pairs
from qup.implied_classes import LabelReader
from qup.orchestration import In, Out, component
from qup.types import Attack, Batch

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
    templates = class_templates.compute_class_means(
        pairs, class_templates.load_labels_by_id(data), data.info.num_classes
    )
    np.savez(evaluation.path / _TEMPLATES_FILE, templates=templates)
    translator_network = artifacts.load_network(translator.path)
    label_readers = _build_label_readers(classifier, translator_network, pairs, templates)
    options = looks.build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    clean = data.evaluation_batches(split, size, max_images=num_images)
    attacked_batches = _iterate_attacked_batches(
        artifacts.load_network(augmented.path), clean, looks.bind_attack(options, seed=seed)
    )
    model_info = artifacts.load_model_info(augmented.path).with_parameters(split=split)
    rows = []
    for batches, attack_options in ((clean, None), (attacked_batches, options)):
        accuracies = implied_classes.evaluate_label_readers(label_readers, classifier, batches)
        for (reader, images), accuracy in accuracies.items():
            reader_info = model_info.with_parameters(read_by=reader, images=images)
            row = reader_info.build_row("implied_class_accuracy", accuracy, attack_options)
            rows.append(dataclasses.replace(row, artifact=_TEMPLATES_FILE))
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_label_readers(
    classifier: keras.Model, translator: keras.Model, pairs: Pairs, templates: np.ndarray
) -> dict[str, LabelReader]:
    compute_target = translator_errors.build_target_fn(classifier, pairs, templates)
    return {
        **implied_classes.build_label_readers(classifier, translator, templates),
        "delta_of_true_label": lambda batch: class_templates.find_nearest_template(
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
