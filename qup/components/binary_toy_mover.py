"""Supplement, Fig. 1: two classes of points under FGSM and its opposite."""

import dataclasses

import numpy as np

from qup import binary_toy, measurements
from qup.binary_toy import movements
from qup.binary_toy import rows as toy_rows
from qup.components.artifacts import ModelEvaluation
from qup.evaluation import compute_accuracy
from qup.measurements import Row
from qup.orchestration import Out, component
from qup.subjects import ModelInfo

_TRAJECTORIES_FILE = "movements.npz"


@component
def BinaryToyMover(
    evaluation: Out[ModelEvaluation],
    *,
    epochs: list[int],
    train: int,
    test: int,
    epsilon: float,
    num_steps: int,
    shown: int,
    seed: int = 0,
) -> None:
    """Trains a network, and moves points that it has not seen.

    Args:
      evaluation: Its rows, see `_build_trajectory_rows`, and movements.npz: what
        `movements.moved` gives of the most trained network.
      epochs: When the network is looked at, growing.
      train: Training points.
      test: Points that are moved.
      epsilon: Length of each step in units of the square's side.
      num_steps: Number of opposite steps.
      shown: The first points, that the file holds.
      seed: Of data, weights and order.
    """
    step_options = {"epsilon": epsilon, "num_steps": num_steps}
    rows = []
    for number, network in binary_toy.train_networks(seed, epochs, train).items():
        trajectories = movements.compute_trajectories(
            network, *binary_toy.sample_held_out(seed, test), **step_options
        )
        model_info = toy_rows.build_model_info(number, seed).with_parameters(
            figure="supp_fig1", split="test"
        )
        rows += _build_trajectory_rows(model_info, trajectories["right"], **step_options)
    for key in (*movements.STAGES, "labels"):
        trajectories[key] = trajectories[key][:shown]
    trajectories["right"] = trajectories["right"][:, :shown]
    np.savez_compressed(
        evaluation.path / _TRAJECTORIES_FILE, **trajectories, epochs=np.array(number)
    )
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_trajectory_rows(
    model_info: ModelInfo, is_correct: np.ndarray, *, epsilon: float, num_steps: int
) -> list[Row]:
    """Returns TA, RA under FGSM, and TA after the opposite steps."""
    clean, attacked, after_steps = (
        compute_accuracy(float(stage_correct.sum()), stage_correct.size)
        for stage_correct in is_correct
    )
    attack = {"name": "fgsm", "epsilon": epsilon, "norm": "linf"}
    end_info = model_info.with_parameters(
        images="X_n", step=num_steps, augmentation_step_size=epsilon
    )
    rows = [
        model_info.build_row("test_accuracy", clean),
        model_info.build_row("robust_accuracy", attacked, attack),
        end_info.build_row("test_accuracy", after_steps),
    ]
    return [dataclasses.replace(row, artifact=_TRAJECTORIES_FILE) for row in rows]
