"""A control: how much of Delta a translator gives, of images it never saw."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from qup import class_templates, compilation, measurements, translator_errors
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.deltas import Deltas as Pairs
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import Subject


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
    data, pairs = files_of_examples.read(examples.path), Pairs.open(deltas.path)
    network = artifacts.load_network(translator.path)
    templates = class_templates.class_means(
        pairs, class_templates.known_labels(data), data.info.num_classes
    )
    found = translator_errors.l1_errors(
        {
            "translator": lambda batch: compilation.predict(
                network, batch["image"]
            ),
            "class_template": lambda batch: tf.gather(
                templates, batch["label"]
            ),
            "zero": lambda batch: tf.zeros_like(batch["image"]),
        },
        data.evaluation_batches(split, batch_size, limit=num_images),
        translator_errors.taught(
            artifacts.load_network(model.path), pairs, templates
        ),
    )
    subject = artifacts.subject(model.path).such(
        **row_parameters,
        split=split,
        translator_parameters=network.count_params(),
    )
    rows = _rows(dataclasses.replace(subject, classifier="ACL"), found)
    measurements.write(evaluation.path / "measurements.csv", rows)


def _rows(
    subject: Subject, found: dict[str, translator_errors.Error]
) -> list[Row]:
    """Returns the rows; where every Delta is zero there is no share."""
    rows = []
    for name, error in found.items():
        one = subject.such(predictor=name)
        rows.append(one.row("translator_l1_error", error.pixels))
        if np.isfinite(error.relative.value):
            rows.append(one.row("translator_l1_error_relative", error.relative))
    return rows
