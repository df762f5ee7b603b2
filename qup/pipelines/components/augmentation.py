"""Iterative FGSM Augmentation: opposite FGSM, the translator and the augmented classifier."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qup import training
from qup.augmentation import generation, opposite_fgsm, trajectories
from qup.augmentation.deltas import DeltaDataset
from qup.augmentation.translator import combine, fit_translator
from qup.core.parts import WHOLE
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.orchestration import DoPart, In, Location, Out, StatefulDir, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Deltas,
    Examples,
    Model,
    ModelAnalysis,
    ModelRun,
    Trajectory,
)
from qup.robustness.evaluation import bind_attack
from qup.training import history as training_history

# Images in the translator's monitored error and in the figure of an Analyzer.
_MONITOR_BATCH_SIZE = 500
_NUM_SHOWN_IMAGES = 8


@component
def DeltaGen(
    examples: In[Examples],
    model: In[Model],
    deltas: Out[Deltas],
    trajectory: Out[Trajectory],
    shards: StatefulDir,
    part: DoPart = WHOLE,
    *,
    walk: dict[str, Any],
    attack: dict[str, Any],
    seed: int = 0,
) -> None:
    """Computes X_N of the training images by opposite FGSM, supplement Eqs. 1 and 2.

    Args:
      deltas: Delta_N, which depends on `walk` alone.
      trajectory: The number of correctly classified X_n at the points of `walk`.
      shards: Finished parts of an unfinished computation.
      part: The part of the training images to compute.
      walk: Keyword arguments of `generation.compute_deltas`.
      attack: Options of the attack on X_n, see `evaluation.build_trajectory_options`.
    """
    computed_deltas = generation.compute_deltas(
        artifacts.load_network(model.path),
        example_files.read(examples.path),
        shards,
        attack=bind_attack(attack, seed=seed),
        part=part,
        **walk,
    )
    if not part.is_whole:
        return
    computed_deltas.link(deltas.path)
    trajectory_counts = {
        "images": computed_deltas.num_images,
        "points": computed_deltas.trajectory_counts,
    }
    (trajectory.path / "trajectory.json").write_text(json.dumps(trajectory_counts))


@component
def TranslatorTrainer(
    examples: In[Examples],
    model: In[Model],
    deltas: In[Deltas],
    translator: Out[Model],
    run: Out[ModelRun],
    state: StatefulDir,
    *,
    options: dict[str, Any],
    seed: int = 0,
    log_dir: Location[str | None] = None,
    strategy: str = "none",
) -> None:
    """Trains a Pix2Pix network to predict Delta_N from an image.

    Args:
      examples: Their monitor split measures the error on unseen images.
      deltas: Delta_N of `model`.
      translator: The network, image -> Delta.
      run: The training.
      state: Checkpoints of an unfinished training.
      options: Keyword arguments of `fit_translator`.
      strategy: See `training.build_strategy`.
    """
    pairs = DeltaDataset.open(deltas.path)
    classifier = artifacts.load_network(model.path)
    curve_name = f"translator/epoch-{artifacts.load_model_info(model.path).epochs}"
    history = training.History(state / "history.json")

    network = fit_translator(
        pairs,
        seed=seed,
        directory=state / "checkpoints",
        validate=_build_l1_monitor(classifier, example_files.read(examples.path), pairs),
        hook=training_history.build_epoch_hook(curve_name, history, log_dir),
        strategy=training.build_strategy(strategy),
        **options,
    )
    artifacts.save_network(network, translator)
    # The only part of its function that is not a weight.
    translator.properties["scale"] = pairs.scale
    shutil.copy2(state / "history.json", run.path)
    run.properties["content"] = translator.properties["content"]


def _build_l1_monitor(
    classifier: keras.Model, data: Dataset, pairs: DeltaDataset
) -> Callable[[keras.Model], dict[str, float]]:
    """Returns a function of the L1 error of Delta on images outside the training set.

    Their Delta_N depends on their labels: it is monitored, and never trained on.
    """
    split = data.info.monitor_split
    batch = next(iter(data.evaluation_batches(split, _MONITOR_BATCH_SIZE)))
    clean_images = batch["image"]
    final_images = opposite_fgsm.iterate(
        classifier, clean_images, batch["label"], **pairs.iterate_options
    )

    def compute_l1_error(translator: keras.Model) -> dict[str, float]:
        error = tf.abs(translator(clean_images, training=False) - (final_images - clean_images))
        error = tf.reduce_mean(error, [1, 2, 3]) * batch["weight"]
        mean = tf.reduce_sum(error) / tf.reduce_sum(batch["weight"])
        return {f"{split}_l1_in_pixels": float(mean)}

    return compute_l1_error


@component
def Combiner(
    classifier: In[Model],
    translator: In[Model],
    model: Out[Model],
    *,
    through: str = "both",
    row_parameters: dict[str, Any],
) -> None:
    """Builds the augmented classifier X -> f(X + G(X)), and exports it as a SavedModel.

    Args:
      classifier: f, image -> logits.
      translator: G, image -> Delta.
      model: The augmented classifier.
      through: Which networks an attack differentiates, see `combine`.
    """
    translator_network = artifacts.load_network(translator.path)
    augmented = combine(
        artifacts.load_network(classifier.path), translator_network, attack_gradient_through=through
    )
    model_info = artifacts.load_model_info(classifier.path).with_parameters(
        **row_parameters, through=through, translator_parameters=translator_network.count_params()
    )
    model_info = dataclasses.replace(model_info, classifier="ACL")
    artifacts.save_classifier(augmented, model_info, model)


@component
def Analyzer(
    examples: In[Examples],
    model: In[Model],
    translator: In[Model],
    deltas: In[Deltas],
    trajectory: In[Trajectory],
    analysis: Out[ModelAnalysis],
    *,
    attack: dict[str, Any],
    split: str = "test",
    seed: int = 0,
    row_parameters: dict[str, Any],
) -> None:
    """Writes TA and RA of training images X_n, supplement Fig. 2, and example images.

    Args:
      analysis: measurements.csv, rows with the parameter "images": "X_n"; and
        images.npz: x_0, x_n, translated (float32 Delta) and attacked of the
        first images of `split`.
      attack: Options of the attack on X_n, see `evaluation.build_trajectory_options`.
    """
    data, classifier, model_info = artifacts.load_inputs(examples, model, **row_parameters)
    trajectory_counts = json.loads((trajectory.path / "trajectory.json").read_text())
    rows = trajectories.build_trajectory_rows(model_info, trajectory_counts, attack)
    artifacts.write_rows(analysis, rows, arrays_file="images.npz")

    batch = next(iter(data.evaluation_batches(split, _NUM_SHOWN_IMAGES)))
    clean_images, labels = batch["image"], batch["label"]
    iterate_options = DeltaDataset.open(deltas.path).iterate_options
    network = artifacts.load_network(translator.path)
    np.savez(
        analysis.path / "images.npz",
        x_0=clean_images,
        x_n=opposite_fgsm.iterate(classifier, clean_images, labels, **iterate_options),
        translated=network(clean_images, training=False),
        attacked=bind_attack(attack, seed=seed)(classifier, clean_images, labels, ids=batch["id"]),
    )
