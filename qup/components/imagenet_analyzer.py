"""Fig. 3: accuracy and distortions of one ImageNet model of Keras."""

import dataclasses
import logging
from typing import Any

import numpy as np

from qup import imagenet_distortions, imagenet_folder, imagenet_rows, measurements
from qup.components.artifacts import ModelEvaluation
from qup.errors import InputError
from qup.imagenet import building, networks
from qup.orchestration import Location, Out, component
from qup.subjects import ModelInfo

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
    classifier = building.build_model(
        network, weights_dir=weights_dir, image_size=image_size, seed=seed
    )
    size = classifier.input_shape[1]
    image_set = imagenet_folder.read(images_dir, image_size=size, max_images=num_images)
    actual_weights = building.compute_weights_digest(network, weights_dir)
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
    rows = imagenet_rows.build_distortion_rows(
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
    model_entry = networks.get_model(name)
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
