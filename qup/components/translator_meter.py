"""A control: how much of Delta a translator gives, of images it never saw."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from qup import class_templates, compilation, measurements, translator_errors
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.deltas import DeltaDataset as Pairs
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo


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
    translator_network = artifacts.load_network(translator.path)
    templates = class_templates.compute_class_means(
        pairs, class_templates.load_labels_by_id(data), data.info.num_classes
    )
    translator_l1_errors = translator_errors.compute_l1_errors(
        {
            "translator": lambda batch: compilation.predict(translator_network, batch["image"]),
            "class_template": lambda batch: tf.gather(templates, batch["label"]),
            "zero": lambda batch: tf.zeros_like(batch["image"]),
        },
        data.evaluation_batches(split, batch_size, max_images=num_images),
        translator_errors.build_target_fn(artifacts.load_network(model.path), pairs, templates),
    )
    model_info = artifacts.load_model_info(model.path).with_parameters(
        **row_parameters, split=split, translator_parameters=translator_network.count_params()
    )
    rows = _build_translator_rows(
        dataclasses.replace(model_info, classifier="ACL"), translator_l1_errors
    )
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_translator_rows(
    model_info: ModelInfo, translator_l1_errors: dict[str, translator_errors.L1Error]
) -> list[Row]:
    """Returns the rows; where every Delta is zero there is no share."""
    rows = []
    for name, error in translator_l1_errors.items():
        predictor_info = model_info.with_parameters(predictor=name)
        rows.append(predictor_info.build_row("translator_l1_error", error.pixels))
        if np.isfinite(error.relative.value):
            rows.append(predictor_info.build_row("translator_l1_error_relative", error.relative))
    return rows
