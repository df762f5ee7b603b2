"""The roles that travel between the parts of `qup`, named once.

Shapes are written [batch, height, width, channels]. Images are float32 in
[0, 1], so every epsilon is in units of that range.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

# {"image": float32 [batch, height, width, channels] in [0, 1],
#  "label": int32 [batch], "weight": float32 [batch] of 0 or 1 (0 marks a
#  row that only pads the batch), "id": int64 [batch]}.
Batch: TypeAlias = Mapping[str, tf.Tensor]
# float32 [batch, ...] -> float32 [batch, num_classes]; a Keras classifier is
# one, and so is any function of a tensor.
LogitsFn: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
# attack(logits_fn, images, labels, *, ...) -> images.
Attack: TypeAlias = Callable[..., tf.Tensor]
# The box the pixels live in, (lowest, highest); None switches it off.
Bounds: TypeAlias = tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What a model needs to know of a dataset.

    Attributes:
      name: The registered name.
      image_shape: (height, width, channels).
      class_names: One name a class, in the order of the labels.
      sizes: Number of images of each split.
      origin: Source and licence, one line.
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    origin: str = ""

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def monitor_split(self) -> str:
        """The split that the curves of a training show.

        Images held out; where none are, the test split, on which no
        decision of a training looks.
        """
        return "validation" if "validation" in self.sizes else "test"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a classifier is trained where the configuration says nothing.

    Attributes:
      optimizer: "adam", "sgd" or "rmsprop".
      learning_rate: Constant unless `plateau`.
      batch_size: Images a step.
      optimizer_options: Further keyword arguments of the Keras optimizer.
      plateau: Halve the learning rate when accuracy has not risen for 3
        epochs, down to 1e-5 (Keras's ReduceLROnPlateau).
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    plateau: bool = False
