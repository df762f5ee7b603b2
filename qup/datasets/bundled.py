"""Two small datasets that need no files: `digits` of scikit-learn, and `synthetic` for tests."""

import numpy as np

from qup import datasets
from qup.core import extras
from qup.datasets import dataset

_DIGITS_TEST_SIZE = 360
_DIGITS_SPLIT_SEED = 0
_NUM_SYNTHETIC_CLASSES = 4


@datasets.register
def digits() -> dataset.Source:
    """Returns 1797 handwritten digits, enlarged from 8x8 to 28x28 pixels and rounded.

    A small substitute for MNIST, with the same classes and shape. The split into 1437 training and
    360 test images is fixed and stratified by class.

    Reference:
      Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
      Repository, 1998.
    """
    # Imported here: it takes a second, and only this dataset needs it.
    with extras.explain_missing("The dataset digits"):
        from sklearn import datasets as sklearn_datasets
        from sklearn import model_selection

    bunch = sklearn_datasets.load_digits()
    # Pixels are integers from 0 to 16.
    images = dataset.resize(bunch.images[..., None] * (255 / 16), (28, 28)).numpy()
    train, test = model_selection.train_test_split(
        np.arange(len(bunch.target)),
        test_size=_DIGITS_TEST_SIZE,
        stratify=bunch.target,
        random_state=_DIGITS_SPLIT_SEED,
    )
    return dataset.Source(
        image_shape=(28, 28, 1),
        class_names=tuple(str(name) for name in bunch.target_names),
        origin="UCI Optical Recognition of Handwritten Digits (CC BY 4.0), "
        "as shipped with scikit-learn, resized to 28x28",
        splits={
            "train": dataset.build_split(images[train], bunch.target[train]),
            "test": dataset.build_split(images[test], bunch.target[test]),
        },
    )


@datasets.register
def synthetic(
    *,
    image_size: tuple[int, int] | None = None,
    channels: int = 1,
    train_size: int = 256,
    test_size: int = 64,
    seed: int = 0,
) -> dataset.Source:
    """Returns random images: the pattern of a class plus uniform noise.

    Args:
      image_size: (height, width), (8, 8) by default.
      channels: 1 or 3.
      train_size: Number of training images.
      test_size: Number of test images.
      seed: Seed of patterns, labels and noise.

    Returns:
      4 classes in equal proportion, shuffled.
    """
    dataset.check_choice("channels", channels, (1, 3))
    height, width = dataset.check_image_size((8, 8) if image_size is None else image_size)
    shape = (height, width, channels)
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 256, (_NUM_SYNTHETIC_CLASSES, *shape))

    def sample_split(size: int) -> dataset.Split:
        labels = rng.permutation(np.arange(size) % _NUM_SYNTHETIC_CLASSES)
        noise = rng.integers(0, 256, (size, *shape))
        return dataset.build_split((patterns[labels] + noise) // 2, labels)

    return dataset.Source(
        image_shape=shape,
        class_names=tuple(f"pattern {i}" for i in range(_NUM_SYNTHETIC_CLASSES)),
        origin=f"drawn with seed {seed}, no real images",
        splits={"train": sample_split(train_size), "test": sample_split(test_size)},
    )
