"""Fig. 2 of the paper: packets of two classes in the unit square."""

import dataclasses

import numpy as np

from qup import binary_toy, measurements
from qup.binary_toy import networks as toy_networks
from qup.binary_toy import portraits
from qup.binary_toy import rows as toy_rows
from qup.components.artifacts import ModelEvaluation
from qup.orchestration import Out, component

_PACKETS_FILE = "packets.npz"


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
    networks = binary_toy.train_networks(seed, epochs, train)
    model_info = toy_rows.build_model_info(0, seed).with_parameters(figure="fig2")
    rows = toy_networks.measure_networks(
        networks, model_info, count=test, grids=toy_rows.Grids(**grids)
    )
    rows += toy_networks.average_rows(rows)
    points, labels = binary_toy.sample_held_out(seed, shown)
    arrays = {
        "epochs": np.array(epochs),
        "points": points,
        "labels": labels,
        "drawn": np.array(drawn),
    }
    for number, network in networks.items():
        for domain in drawn:
            for key, value in portraits.compute_panel_arrays(network, domain).items():
                arrays[f"{number}_{domain}_{key}"] = value
    np.savez_compressed(evaluation.path / _PACKETS_FILE, **arrays)
    rows = [dataclasses.replace(row, artifact=_PACKETS_FILE) for row in rows]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
