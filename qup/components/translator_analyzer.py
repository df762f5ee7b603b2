"""Step 8: the uncertainty relation of a translator's own loss.

The supplement (section 3) extends the paper's theorem to generators: "the
uncertainty principle should be a common result for general neural networks".
A translator's loss is the L1 distance to Delta_N, so its packet is
psi(X) ~ mean |G(X) - Delta_N(x)|, x one image that it never saw.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from qup import errors, measurements, opposite_fgsm, uncertainty_rows
from qup.components import artifacts, uncertainty_case, uncertainty_places, uncertainty_saving
from qup.components.artifacts import Deltas, Examples, Model, ModelEvaluation, UncertaintyMap
from qup.components.uncertainty_case import EstimationTask
from qup.components.uncertainty_places import PacketLocation
from qup.datasets import Dataset
from qup.datasets import examples as files_of_examples
from qup.deltas import DeltaDataset as Pairs
from qup.measures import uncertainty
from qup.orchestration import In, Out, component

_TRANSLATOR_ESTIMATOR = "importance"


@component
def TranslatorAnalyzer(
    examples: In[Examples],
    model: In[Model],
    translator: In[Model],
    deltas: In[Deltas],
    evaluation: Out[ModelEvaluation],
    relations: Out[UncertaintyMap],
    *,
    domain: str,
    image: int,
    sizes: dict[str, int],
    row_parameters: dict[str, Any],
    seed: int = 0,
) -> None:
    """Measures both sides of the relation for a translator.

    Args:
      examples: The images.
      model: The classifier whose walk was taught.
      translator: G, image to Delta.
      deltas: The walk.
      evaluation: Its rows, see `uncertainty_rows.of_relation`.
      relations: All axes; see `UncertaintyMap`.
      domain: "box", "sine" or "window:0.1", a window round the image.
      image: The test image x whose Delta_N is the target.
      sizes: See `uncertainty_case.Case`.
      row_parameters: What its rows tell beside the classifier's.
      seed: Of everything random.

    Raises:
      InputError: There is no such image, or the packet cannot be measured.
    """
    data = files_of_examples.read(examples.path)
    network = artifacts.load_network(translator.path)
    target, location = _compute_delta_target(data, image, model, Pairs.open(deltas.path))
    case = EstimationTask(
        data.info.image_shape,
        uncertainty.of_translator(network, target),
        location,
        uncertainty_case.parse_domain(domain, location.centre),
        sizes,
        seed,
    )
    directions, row_names = uncertainty_places.choose_axes(
        case.packet, location, {}, directions_file=None, seed=seed
    )
    relation = case.estimate(_TRANSLATOR_ESTIMATOR, directions)
    setting = {
        "packet": "l1",
        "domain": domain,
        "centre": f"image:{image}",
        "control": "translator",
    }
    model_info = artifacts.load_model_info(model.path).with_parameters(**row_parameters, **setting)
    model_info = dataclasses.replace(model_info, classifier="ACL", seed=seed)
    uncertainty_saving.save_relations(
        case, {_TRANSLATOR_ESTIMATOR: relation}, model_info, setting, relations.path
    )
    rows = uncertainty_rows.build_relation_rows(
        model_info, relation, named_axes=row_names, artifact=f"{_TRANSLATOR_ESTIMATOR}.npz"
    )
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _compute_delta_target(
    data: Dataset, image: int, model: Model, deltas: Pairs
) -> tuple[tf.Tensor, PacketLocation]:
    """Returns Delta_N of a test image, float32, and the image's place."""
    images, labels, _ = data.get_arrays("test")
    if not 0 <= image < len(labels):
        raise errors.InputError(
            f"image must be one of the {len(labels)} test images, from 0; got {image}."
        )
    label = labels[image]
    clean_images = images[image][None] / np.float32(255)
    walked_images = opposite_fgsm.iterate(
        artifacts.load_network(model.path), clean_images, label[None], **deltas.iterate_options
    )
    location = uncertainty_places.build_location(data, int(label), f"image:{image}")
    return (walked_images - clean_images)[0], location
