"""Random images with a learnable pattern for each class, for tests."""

import numpy as np

from qup import datasets
from qup.datasets import source

_NUM_CLASSES = 4


@datasets.register
def synthetic(
    *,
    image_size: tuple[int, int] | None = None,
    channels: int = 1,
    train_size: int = 256,
    test_size: int = 64,
    seed: int = 0,
) -> source.Source:
    """Returns images that are a class's pattern under uniform noise.

    Args:
      image_size: (height, width), (8, 8) by default.
      channels: 1 or 3.
      train_size: Training images to draw.
      test_size: Test images to draw.
      seed: Of the patterns, the labels and the noise.

    Returns:
      4 classes in equal proportion, shuffled.
    """
    height, width = source.check_image_size(image_size or (8, 8))
    shape = (height, width, channels)
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 256, (_NUM_CLASSES, *shape))

    def sample_split(size: int) -> source.Split:
        labels = rng.permutation(np.arange(size) % _NUM_CLASSES)
        noise = rng.integers(0, 256, (size, *shape))
        return source.build_split((patterns[labels] + noise) // 2, labels)

    return source.Source(
        image_shape=shape,
        class_names=tuple(f"pattern {i}" for i in range(_NUM_CLASSES)),
        origin=f"drawn with seed {seed}, no real images",
        splits={"train": sample_split(train_size), "test": sample_split(test_size)},
    )
