"""Networks to compare a trained one with: one that knows nothing."""

from typing import Any

import keras

from qup import models
from qup.components import artifacts
from qup.components.artifacts import Examples, Model
from qup.datasets import examples as files_of_examples
from qup.errors import make_unknown_error
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo
from qup.types import DatasetInfo

CONTROL_KINDS = ("untrained", "constant")


@component
def ControlBuilder(
    examples: In[Examples],
    model: Out[Model],
    *,
    kind: str,
    model_name: str,
    model_options: dict[str, Any],
    seed: int = 0,
    row_parameters: dict[str, Any],
) -> None:
    """Builds a network that no image has shaped.

    Args:
      examples: What the images are.
      model: The network, of 0 epochs.
      kind: "untrained", the network as its training starts, or "constant",
        with the same logits at every image.
      model_name: The architecture's registered name.
      model_options: Its keyword arguments.
      seed: Of its initialisation.
      row_parameters: What its rows tell beside all that.
    """
    if kind not in CONTROL_KINDS:
        raise make_unknown_error("kind of control", kind, CONTROL_KINDS)
    info = files_of_examples.read(examples.path).info
    network = models.build(model_name, info, seed=seed, **model_options)
    if kind == "constant":
        network = _build_constant_classifier(info)
    model_info = ModelInfo(info.name, model_name, "CL", 0, seed, row_parameters)
    artifacts.save_unexported_classifier(network, model_info, model)


def _build_constant_classifier(info: DatasetInfo) -> keras.Model:
    image = keras.Input(info.image_shape, name="image")
    logits = keras.layers.Dense(info.num_classes, kernel_initializer="zeros", name="logits")(
        keras.layers.Flatten()(image)
    )
    return keras.Model(image, logits, name="constant")
