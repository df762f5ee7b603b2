"""Types that all parts of `qup` share.

Shapes are written [batch, height, width, channels]. Images are float32 in [0, 1], so epsilon is in
units of that range.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

# {"image": float32 [batch, height, width, channels] in [0, 1], "label": int32 [batch],
#  "weight": float32 [batch], 1 for an image and 0 for padding, "id": int64 [batch]}.
Batch: TypeAlias = Mapping[str, tf.Tensor]
# float32 [batch, ...] -> float32 [batch, num_classes]: a Keras model or a function of a tensor.
LogitsFn: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
# attack(logits_fn, images, labels, *, ...) -> images.
Attack: TypeAlias = Callable[..., tf.Tensor]
# (lowest, highest) pixel value; None: no limits.
Bounds: TypeAlias = tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Properties of a dataset that a model needs.

    Attributes:
      name: The registered name.
      image_shape: (height, width, channels).
      class_names: One name per class, in the order of the labels.
      sizes: Split to its number of images.
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
        """The split of the training curves: "validation", or "test" if there is none.

        Training takes no decision from the test split.
        """
        return "validation" if "validation" in self.sizes else "test"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Default training settings of a classifier.

    Attributes:
      optimizer: The name of a Keras optimizer in lower case: "adam", "sgd", "adamw", "lion", ...
      learning_rate: Constant unless `plateau`.
      batch_size: Images per step.
      optimizer_options: Further keyword arguments of the Keras optimizer.
      plateau: Halve the learning rate after 3 epochs without higher accuracy, down to 1e-5
        (Keras's ReduceLROnPlateau).
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    plateau: bool = False
