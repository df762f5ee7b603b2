"""1797 handwritten digits that come with scikit-learn: nothing to download.

The small stand-in for the paper's MNIST: the same classes and shape.
"""

import numpy as np

from qup import datasets
from qup.datasets import dataset

_TEST_SIZE = 360
_SPLIT_SEED = 0


@datasets.register
def digits() -> dataset.Source:
    """Returns the digits, enlarged from 8x8 to 28x28 and rounded.

    The split into 1437 training and 360 test images is fixed and holds each
    class in the same proportion.

    Reference:
      Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI
      Machine Learning Repository, 1998.
    """
    # Imported here: a second that only this dataset has to pay.
    from sklearn import datasets as bundled
    from sklearn import model_selection

    bunch = bundled.load_digits()
    # Pixels are whole numbers from 0 to 16.
    images = dataset.resize(bunch.images[..., None] * (255 / 16), (28, 28))
    train, test = model_selection.train_test_split(
        np.arange(len(bunch.target)),
        test_size=_TEST_SIZE,
        stratify=bunch.target,
        random_state=_SPLIT_SEED,
    )
    images, labels = images.numpy(), bunch.target
    return dataset.Source(
        image_shape=(28, 28, 1),
        class_names=tuple(str(name) for name in bunch.target_names),
        origin="UCI Optical Recognition of Handwritten Digits (CC BY 4.0), "
        "as shipped with scikit-learn, resized to 28x28",
        splits={
            "train": dataset.build_split(images[train], labels[train]),
            "test": dataset.build_split(images[test], labels[test]),
        },
    )


# Random images with a learnable pattern for each class, for tests.


_NUM_CLASSES = 4


@datasets.register
def synthetic(
    *,
    image_size: tuple[int, int] | None = None,
    channels: int = 1,
    train_size: int = 256,
    test_size: int = 64,
    seed: int = 0,
) -> dataset.Source:
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
    height, width = dataset.check_image_size(image_size or (8, 8))
    shape = (height, width, channels)
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 256, (_NUM_CLASSES, *shape))

    def sample_split(size: int) -> dataset.Split:
        labels = rng.permutation(np.arange(size) % _NUM_CLASSES)
        noise = rng.integers(0, 256, (size, *shape))
        return dataset.build_split((patterns[labels] + noise) // 2, labels)

    return dataset.Source(
        image_shape=shape,
        class_names=tuple(f"pattern {i}" for i in range(_NUM_CLASSES)),
        origin=f"drawn with seed {seed}, no real images",
        splits={"train": sample_split(train_size), "test": sample_split(test_size)},
    )
