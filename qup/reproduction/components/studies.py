"""Fig. 2 of the paper: packets of two classes in the unit square."""

import dataclasses
import logging
from typing import Any

import numpy as np

from qup.core import measurements
from qup.core.errors import InputError
from qup.core.measurements import ModelInfo, Row, compute_accuracy
from qup.orchestration import Location, Out, component
from qup.pipelines.components.artifacts import ModelEvaluation
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import figures, packets
from qup.reproduction.imagenet import distortions as imagenet_distortions
from qup.reproduction.imagenet import folder, models

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
      evaluation: Its rows, see qup/reproduction/binary_toy/packets.py, with "figure":"fig2",
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
    rows = [dataclasses.replace(row, artifact=_PACKETS_FILE) for row in rows]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


# Supplement, Fig. 1: two classes of points under FGSM and its opposite.


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


# Fig. 3: accuracy and distortions of one ImageNet model of Keras.


_log = logging.getLogger("qup")
_DISTORTIONS_FILE = "distortions.npz"


@component
def ImageNetAnalyzer(
    evaluation: Out[ModelEvaluation],
    *,
    network: str,
    images: str,
    weights: str,
    images_dir: Location[str],
    weights_dir: Location[str | None] = None,
    measuring: dict[str, Any] | None = None,
    dataset: str = "imagenet",
    num_images: int = 1000,
    image_size: int | None = None,
    seed: int = 0,
) -> None:
    """Measures one of the 13 models that Keras has.

    Args:
      evaluation: Its rows, see `imagenet_rows.rows_of`, and
        distortions.npz, see `imagenet_distortions.Distortions.arrays`.
      network: One of `networks.names(available=True)`.
      images: `imagenet_folder.digest(images_dir, limit=num_images)`: other
        files are another measurement.
      weights: `building.weights_digest(network, weights_dir)`.
      images_dir: Folder of validation images, a folder a class.
      weights_dir: Folder of Keras's files of weights; None for random ones.
      measuring: Attributes of `imagenet_distortions.Asked` but for the seed:
        how many are attacked, and how; what is left out is as Su et al. did.
      dataset: What the images are called in rows.
      num_images: How many are read, for the accuracy.
      image_size: Pixels a side; None for what Su et al. took.
      seed: Of random weights, targets and samples.
    """
    measurement_options = imagenet_distortions.parse_options(measuring or {}, seed)
    classifier = models.build_model(
        network, weights_dir=weights_dir, image_size=image_size, seed=seed
    )
    size = classifier.input_shape[1]
    image_set = folder.read(images_dir, image_size=size, max_images=num_images)
    actual_weights = models.compute_weights_digest(network, weights_dir)
    if (image_set.digest, actual_weights) != (images, weights):
        raise InputError(
            f"The images in {images_dir}, or the weights of {network}, are "
            "not those that were asked for. If files are still being copied, "
            "wait, and start again."
        )
    distortions = imagenet_distortions.measure_distortions(
        classifier, image_set, measurement_options
    )
    model_info = _describe_imagenet_model(network, dataset, size, weights, seed)
    rows = imagenet_distortions.build_distortion_rows(
        model_info.with_parameters(num_images=len(image_set.ids), image_files=images[:12]),
        distortions,
        measurement_options,
    )
    np.savez(evaluation.path / _DISTORTIONS_FILE, **distortions.to_arrays(image_set))
    rows = [dataclasses.replace(row, artifact=_DISTORTIONS_FILE) for row in rows]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
    _log.info(
        "%s: top-1 %.2f of %d, %d attacked",
        network,
        distortions.accuracy.value,
        distortions.accuracy.n,
        len(distortions.chosen),
    )


def _describe_imagenet_model(
    name: str, dataset: str, size: int, weights: str, seed: int
) -> ModelInfo:
    """Returns the network; a pre-trained one's epochs are not known: 0."""
    model_entry = models.get_model(name)
    return ModelInfo(
        dataset=dataset,
        model=name,
        classifier="CL",
        epochs=0,
        seed=seed,
        parameters={
            "split": "validation",
            "family": model_entry.family,
            "num_parameters": model_entry.parameters,
            "image_size": size,
            "weights": weights[:12],
        },
    )
