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
from qup.components import (
    artifacts,
    uncertainty_case,
    uncertainty_places,
    uncertainty_saving,
)
from qup.components.artifacts import (
    Deltas,
    Examples,
    Model,
    ModelEvaluation,
    UncertaintyMap,
)
from qup.components.uncertainty_case import Case
from qup.components.uncertainty_places import Place
from qup.datasets import Dataset
from qup.datasets import examples as files_of_examples
from qup.deltas import Deltas as Pairs
from qup.measures import uncertainty
from qup.orchestration import In, Out, component

_ESTIMATOR = "importance"


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
    target, place = _target(data, image, model, Pairs.open(deltas.path))
    case = Case(
        data.info.image_shape,
        uncertainty.of_translator(network, target),
        place,
        uncertainty_case.domain_of(domain, place.middle),
        sizes,
        seed,
    )
    axes, named = uncertainty_places.lines(
        case.packet, place, {}, file=None, seed=seed
    )
    found = case.estimate(_ESTIMATOR, axes)
    setting = {
        "packet": "l1", "domain": domain, "centre": f"image:{image}",
        "control": "translator",
    }  # fmt: skip
    subject = artifacts.subject(model.path).such(**row_parameters, **setting)
    subject = dataclasses.replace(subject, classifier="ACL", seed=seed)
    uncertainty_saving.save(
        case, {_ESTIMATOR: found}, subject, setting, relations.path
    )
    rows = uncertainty_rows.of_relation(
        subject, found, named=named, artifact=f"{_ESTIMATOR}.npz"
    )
    measurements.write(evaluation.path / "measurements.csv", rows)


def _target(
    data: Dataset, image: int, model: Model, deltas: Pairs
) -> tuple[tf.Tensor, Place]:
    """Returns Delta_N of a test image, float32, and the image's place."""
    images, labels, _ = data.arrays("test")
    if not 0 <= image < len(labels):
        raise errors.InputError(
            f"image must be one of the {len(labels)} test images, from 0; got "
            f"{image}."
        )
    label = labels[image]
    start = images[image][None] / np.float32(255)
    end = opposite_fgsm.walk(
        artifacts.load_network(model.path), start, label[None], **deltas.walk
    )
    place = uncertainty_places.place(data, int(label), f"image:{image}")
    return (end - start)[0], place
