"""Step 4: every training image walked down the loss, supplement Eqs. 1, 2."""

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
from qup.augmentation import translator as augmentation_translator
from qup.augmentation.deltas import DeltaDataset as Pairs
from qup.core import measurements
from qup.datasets import Dataset
from qup.datasets import examples as example_files
from qup.orchestration import In, Location, Out, StatefulDir, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import (
    Deltas,
    Examples,
    Model,
    ModelAnalysis,
    ModelRun,
    Trajectory,
)
from qup.robustness import evaluation
from qup.training import history as training_history


@component
def DeltaGen(
    examples: In[Examples],
    model: In[Model],
    deltas: Out[Deltas],
    trajectory: Out[Trajectory],
    shards: StatefulDir,
    *,
    walk: dict[str, Any],
    attack: dict[str, Any],
    seed: int = 0,
) -> None:
    """Walks the training images, and counts on the way.

    Args:
      examples: The images.
      model: The classifier.
      deltas: Delta_N; it depends on the walk alone.
      trajectory: What was counted at the points of the walk.
      shards: Of an unfinished walk.
      walk: Keyword arguments of `augmentation.opposite_deltas`.
      attack: Options of the attack on X_n, see `looks.on_trajectory`.
      seed: Of random starts.
    """
    computed_deltas = generation.compute_deltas(
        artifacts.load_network(model.path),
        example_files.read(examples.path),
        shards,
        attack=evaluation.bind_attack(attack, seed=seed),
        **walk,
    )
    computed_deltas.link(deltas.path)
    trajectory_counts = {
        "images": computed_deltas.num_images,
        "points": computed_deltas.trajectory_counts,
    }
    (trajectory.path / "trajectory.json").write_text(json.dumps(trajectory_counts))


# Step 5: a Pix2Pix network that learns image -> Delta_N.


_MONITOR_BATCH_SIZE = 500


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
) -> None:
    """Trains a translator on the walk of a classifier.

    Args:
      examples: Images to watch its error on that it never saw.
      model: The classifier.
      deltas: The walk.
      translator: Image to Delta.
      run: Its training.
      state: Checkpoints of an unfinished training.
      options: Keyword arguments of `translation.fit_translator`.
      seed: Of initialisation and order.
      log_dir: TensorBoard's folder.
    """
    pairs = Pairs.open(deltas.path)
    classifier = artifacts.load_network(model.path)
    curve_name = f"translator/epoch-{artifacts.load_model_info(model.path).epochs}"
    history = training.History(state / "history.json")

    network = augmentation_translator.fit_translator(
        pairs,
        seed=seed,
        directory=state / "checkpoints",
        validate=_build_l1_monitor(classifier, example_files.read(examples.path), pairs),
        hook=training_history.build_epoch_hook(curve_name, history, log_dir),
        **options,
    )
    artifacts.save_network(network, translator)
    # The one thing that shapes its answers and is no weight.
    translator.properties["scale"] = pairs.scale
    shutil.copy2(state / "history.json", run.path)
    run.properties["content"] = translator.properties["content"]


def _build_l1_monitor(
    classifier: keras.Model, data: Dataset, pairs: Pairs
) -> Callable[[keras.Model], dict[str, float]]:
    """Returns the L1 error of Delta on images the translator never saw.

    Their Delta_N needs their labels; it is looked at, never trained on.
    """
    split = data.info.monitor_split
    batch = next(iter(data.evaluation_batches(split, _MONITOR_BATCH_SIZE)))
    clean_images = batch["image"]
    walked_images = opposite_fgsm.iterate(
        classifier, clean_images, batch["label"], **pairs.iterate_options
    )

    def compute_l1_error(translator: keras.Model) -> dict[str, float]:
        error = tf.abs(translator(clean_images, training=False) - (walked_images - clean_images))
        error = tf.reduce_mean(error, [1, 2, 3]) * batch["weight"]
        mean = tf.reduce_sum(error) / tf.reduce_sum(batch["weight"])
        return {f"{split}_l1_in_pixels": float(mean)}

    return compute_l1_error


# Step 6: the translator before the classifier, X -> f(X + G(X)).


@component
def Combiner(
    classifier: In[Model],
    translator: In[Model],
    model: Out[Model],
    *,
    through: str = "both",
    row_parameters: dict[str, Any],
) -> None:
    """Makes the augmented classifier, and ships it as a SavedModel.

    Args:
      classifier: Image to logits.
      translator: Image to Delta.
      model: Image to logits, through both.
      through: What an attack differentiates, see `augmentation.combine`.
      row_parameters: What its rows tell beside the classifier's.
    """
    translator_network = artifacts.load_network(translator.path)
    augmented = augmentation_translator.combine(
        artifacts.load_network(classifier.path), translator_network, attack_gradient_through=through
    )
    model_info = artifacts.load_model_info(classifier.path).with_parameters(
        **row_parameters, through=through, translator_parameters=translator_network.count_params()
    )
    model_info = dataclasses.replace(model_info, classifier="ACL")
    artifacts.save_classifier(augmented, model_info, model)


# Step 8: what the walk did to the images, in numbers and in pictures.


_NUM_SHOWN_IMAGES = 8


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
    """Gives TA and RA of the walked training images, supplement Fig. 2.

    Args:
      examples: Images to show.
      model: The classifier.
      translator: What learnt its walk.
      deltas: How it was walked.
      trajectory: What was counted.
      analysis: measurements.csv, rows whose parameters hold "images":"X_n";
        and images.npz: x_0, x_n, translated (float32 Delta) and attacked of
        the first images of `split`.
      attack: Options of the attack on X_n.
      split: The images to show.
      seed: Of random starts.
      row_parameters: What its rows tell beside the classifier's.
    """
    model_info = artifacts.load_model_info(model.path).with_parameters(**row_parameters)
    trajectory_counts = json.loads((trajectory.path / "trajectory.json").read_text())
    rows = trajectories.build_trajectory_rows(model_info, trajectory_counts, attack)
    rows = [dataclasses.replace(row, artifact="images.npz") for row in rows]
    measurements.write_rows(analysis.path / "measurements.csv", rows)

    data = example_files.read(examples.path)
    classifier = artifacts.load_network(model.path)
    batch = next(iter(data.evaluation_batches(split, _NUM_SHOWN_IMAGES)))
    clean_images, labels = batch["image"], batch["label"]
    walk = Pairs.open(deltas.path).iterate_options
    network = artifacts.load_network(translator.path)
    np.savez(
        analysis.path / "images.npz",
        x_0=clean_images,
        x_n=opposite_fgsm.iterate(classifier, clean_images, labels, **walk),
        translated=network(clean_images, training=False),
        attacked=evaluation.bind_attack(attack, seed=seed)(
            classifier, clean_images, labels, ids=batch["id"]
        ),
    )
