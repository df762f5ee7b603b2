"""Fig. 2 of the paper: packets of two classes in the unit square."""

import dataclasses

import numpy as np

from qup import binary_toy, measurements
from qup.binary_toy import networks as toy_networks
from qup.binary_toy import portraits
from qup.binary_toy import rows as toy_rows
from qup.components.artifacts import ModelEvaluation
from qup.orchestration import Out, component

_FILE = "packets.npz"


@component
def BinaryToyAnalyzer(
    evaluation: Out[ModelEvaluation],
    *,
    epochs: list[int],
    train: int,
    test: int,
    grids: dict[str, int],
    drawn: list[str],
    shown: int,
    seed: int = 0,
) -> None:
    """Trains a network, and measures its packets by quadrature.

    Args:
      evaluation: Its rows, see qup/binary_toy/rows.py, with "figure":"fig2",
        and their means over labels and axes; and packets.npz: "epochs",
        "points" and "labels" held out, and of each number of epochs and
        each domain what `portraits.arrays` gives, as 50_sine_psi.
      epochs: When the network is looked at, growing.
      train: Training points.
      test: Points held out, for accuracies.
      grids: See `toy_rows.Grids`.
      drawn: Names of `binary_toy.SPANS` whose packets the file holds.
      shown: Points that the file holds.
      seed: Of data, weights and order.
    """
    networks = binary_toy.train(seed, epochs, train)
    of = toy_rows.subject(0, seed).such(figure="fig2")
    rows = toy_networks.of_networks(
        networks, of, count=test, grids=toy_rows.Grids(**grids)
    )
    rows += toy_networks.means(rows)
    points, labels = binary_toy.held_out(seed, shown)
    arrays = {
        "epochs": np.array(epochs), "points": points, "labels": labels,
        "drawn": np.array(drawn),
    }  # fmt: skip
    for number, network in networks.items():
        for domain in drawn:
            for key, value in portraits.arrays(network, domain).items():
                arrays[f"{number}_{domain}_{key}"] = value
    np.savez_compressed(evaluation.path / _FILE, **arrays)
    rows = [dataclasses.replace(row, artifact=_FILE) for row in rows]
    measurements.write(evaluation.path / "measurements.csv", rows)
