"""Supplement, Fig. 1: two classes of points under FGSM and its opposite."""

import dataclasses

import numpy as np

from qup import binary_toy, measurements
from qup.binary_toy import movements
from qup.binary_toy import rows as toy_rows
from qup.components.artifacts import ModelEvaluation
from qup.evaluation import binomial
from qup.measurements import Row
from qup.orchestration import Out, component
from qup.subjects import Subject

_FILE = "movements.npz"


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
      evaluation: Its rows, see `_rows`, and movements.npz: what
        `movements.moved` gives of the most trained network.
      epochs: When the network is looked at, growing.
      train: Training points.
      test: Points that are moved.
      epsilon: Length of each step in units of the square's side.
      num_steps: Number of opposite steps.
      shown: The first points, that the file holds.
      seed: Of data, weights and order.
    """
    given = {"epsilon": epsilon, "num_steps": num_steps}
    rows = []
    for number, network in binary_toy.train(seed, epochs, train).items():
        held = movements.moved(
            network, *binary_toy.held_out(seed, test), **given
        )
        of = toy_rows.subject(number, seed).such(
            figure="supp_fig1", split="test"
        )
        rows += _rows(of, held["right"], **given)
    for key in (*movements.STAGES, "labels"):
        held[key] = held[key][:shown]
    held["right"] = held["right"][:, :shown]
    np.savez_compressed(
        evaluation.path / _FILE, **held, epochs=np.array(number)
    )
    measurements.write(evaluation.path / "measurements.csv", rows)


def _rows(
    of: Subject, right: np.ndarray, *, epsilon: float, num_steps: int
) -> list[Row]:
    """Returns TA, RA under FGSM, and TA after the opposite steps."""
    clean, attacked, walked = (
        binomial(float(own.sum()), own.size) for own in right
    )
    attack = {"name": "fgsm", "epsilon": epsilon, "norm": "linf"}
    end = of.such(images="X_n", step=num_steps, augmentation_step_size=epsilon)
    rows = [
        of.row("test_accuracy", clean),
        of.row("robust_accuracy", attacked, attack),
        end.row("test_accuracy", walked),
    ]
    return [dataclasses.replace(row, artifact=_FILE) for row in rows]
