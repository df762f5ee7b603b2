"""The binary toy: packets of two classes in the unit square, and trajectories of points."""

import numpy as np

from qup.core.measurements import ModelInfo, Row, compute_accuracy
from qup.orchestration import Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import ModelEvaluation
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import figures, packets

_PACKETS_FILE = "packets.npz"
_TRAJECTORIES_FILE = "movements.npz"


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
    """Trains a network, and measures its packets by quadrature (Fig. 2).

    Args:
      evaluation: See qup/reproduction/binary_toy/packets.py, with "figure":"fig2", and means over
        labels and axes. packets.npz: "epochs", "points" and "labels" of test points, and the arrays
        of `packets.compute_panel_arrays` for each number of epochs and domain, as 50_sine_psi.
      epochs: Numbers of epochs at which the network is measured, ascending.
      train: Number of training points.
      test: Number of test points.
      grids: See `packets.Grids`.
      drawn: Names of `binary_toy.SPANS` whose packets are in the file.
      shown: Number of test points in the file.
      seed: Of data, weights and order.
    """
    networks = binary_toy.train_networks(seed, epochs, train)
    model_info = packets.build_model_info(0, seed).with_parameters(figure="fig2")
    rows = packets.measure_networks(networks, model_info, count=test, grids=packets.Grids(**grids))
    rows += packets.average_rows(rows)
    points, labels = binary_toy.sample_held_out(seed, shown)
    arrays = {
        "epochs": np.array(epochs),
        "points": points,
        "labels": labels,
        "drawn": np.array(drawn),
    }
    for number, network in networks.items():
        for domain in drawn:
            for key, value in packets.compute_panel_arrays(network, domain).items():
                arrays[f"{number}_{domain}_{key}"] = value
    np.savez_compressed(evaluation.path / _PACKETS_FILE, **arrays)
    artifacts.write_rows(evaluation, rows, arrays_file=_PACKETS_FILE)


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
    """Applies FGSM and opposite FGSM to test points (supplement, Fig. 1).

    Args:
      evaluation: TA, RA under FGSM, and TA after the opposite steps. movements.npz: the arrays of
        `figures.compute_trajectories` for the largest number of epochs.
      epochs: Numbers of epochs at which the network is measured, ascending.
      train: Number of training points.
      test: Number of test points.
      epsilon: Length of each step in units of the square's side.
      num_steps: Number of opposite steps.
      shown: Number of points in the file.
      seed: Of data, weights and order.
    """
    step_options = {"epsilon": epsilon, "num_steps": num_steps}
    rows = []
    for number, network in binary_toy.train_networks(seed, epochs, train).items():
        trajectories = figures.compute_trajectories(
            network, *binary_toy.sample_held_out(seed, test), **step_options
        )
        model_info = packets.build_model_info(number, seed).with_parameters(
            figure="supp_fig1", split="test"
        )
        rows += _build_trajectory_rows(model_info, trajectories["right"], **step_options)
    for key in (*figures.STAGES, "labels"):
        trajectories[key] = trajectories[key][:shown]
    trajectories["right"] = trajectories["right"][:, :shown]
    np.savez_compressed(
        evaluation.path / _TRAJECTORIES_FILE, **trajectories, epochs=np.array(number)
    )
    artifacts.write_rows(evaluation, rows, arrays_file=_TRAJECTORIES_FILE)


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
    return [
        model_info.build_row("test_accuracy", clean),
        model_info.build_row("robust_accuracy", attacked, attack),
        end_info.build_row("test_accuracy", after_steps),
    ]
