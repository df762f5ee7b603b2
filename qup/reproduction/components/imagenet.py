"""Fig. 3: accuracy and distortions of one ImageNet model of Keras."""

import logging
from typing import Any

import numpy as np

from qup.core.errors import InputError
from qup.core.measurements import ModelInfo
from qup.orchestration import Location, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import ModelEvaluation
from qup.reproduction.imagenet import distortions, folder, models

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
      evaluation: See `distortions.build_distortion_rows`. distortions.npz: see
        `Distortions.to_arrays`.
      network: One of `models.list_names(available=True)`.
      images: `folder.compute_digest(images_dir, max_images=num_images)`. It identifies the files.
      weights: `models.compute_weights_digest(network, weights_dir)`.
      images_dir: Folder of validation images, with one folder per class.
      weights_dir: Folder of Keras's files of weights; None for random weights.
      measuring: Attributes of `DistortionOptions` without the seed.
      dataset: Name of the images in rows.
      num_images: Number of images for the accuracy.
      image_size: Pixels per side; None for the size in Su et al.
      seed: Of random weights, targets and samples.
    """
    options = distortions.DistortionOptions.from_json(measuring or {}, seed)
    classifier = models.build_model(
        network, weights_dir=weights_dir, image_size=image_size, seed=seed
    )
    size = classifier.input_shape[1]
    image_set = folder.read(images_dir, image_size=size, max_images=num_images)
    actual_weights = models.compute_weights_digest(network, weights_dir)
    if (image_set.digest, actual_weights) != (images, weights):
        raise InputError(
            f"The images in {images_dir}, or the weights of {network}, are not those that were "
            "requested. If files are still being copied, wait, and start again."
        )
    result = distortions.measure_distortions(
        classifier, image_set.pixels, image_set.labels, image_set.ids, options
    )
    model = models.get_model(network)
    # The number of epochs of pre-trained weights is unknown: 0.
    model_info = ModelInfo(
        dataset=dataset,
        model=network,
        classifier="CL",
        epochs=0,
        seed=seed,
        parameters={
            "split": "validation",
            "family": model.family,
            "num_parameters": model.parameters,
            "image_size": size,
            "weights": weights[:12],
            "num_images": len(image_set.ids),
            "image_files": images[:12],
        },
    )
    rows = distortions.build_distortion_rows(model_info, result, options)
    np.savez(evaluation.path / _DISTORTIONS_FILE, **result.to_arrays())
    artifacts.write_rows(evaluation, rows, arrays_file=_DISTORTIONS_FILE)
    _log.info(
        "%s: top-1 accuracy %.2f %% of %d images, %d attacked",
        network,
        result.accuracy.value,
        result.accuracy.n,
        len(result.chosen),
    )
