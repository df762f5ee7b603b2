"""Step 8: what the walk did to the images, in numbers and in pictures."""

import dataclasses
import json
from typing import Any

import numpy as np

from qup import looks, measurements, opposite_fgsm, walk_rows
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, ModelAnalysis, Trajectory
from qup.datasets import examples as files_of_examples
from qup.deltas import DeltaDataset as Pairs
from qup.orchestration import In, Out, component

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
    rows = walk_rows.build_trajectory_rows(model_info, trajectory_counts, attack)
    rows = [dataclasses.replace(row, artifact="images.npz") for row in rows]
    measurements.write_rows(analysis.path / "measurements.csv", rows)

    data = files_of_examples.read(examples.path)
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
        attacked=looks.bind_attack(attack, seed=seed)(
            classifier, clean_images, labels, ids=batch["id"]
        ),
    )
